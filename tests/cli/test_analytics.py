"""`analytics` shows what happened by period, with bars."""

from __future__ import annotations

import csv
import io

import pytest

from curio_persistence import Persistence
from tests.cli.program import Program

UTC = ("--timezone", "UTC")


def test_the_numbers_are_those_of_the_persistence(
    program: Program, recorded: str, persistence: Persistence
) -> None:
    told = program("analytics", "--url", recorded, "--group-by", "agent", *UTC).json()
    known = persistence.analytics(group_by="agent", timezone="UTC").to_dicts()
    assert [row["agent_id"] for row in told] == ["planner", "researcher"]
    assert [row["runs"] for row in told] == [row["runs"] for row in known] == [2, 3]
    assert told[1]["cost_usd"] == str(known[1]["cost_usd"]) == "0.008100000005"
    assert told[0]["latency_p95_ms"] is None
    assert "session_id" not in told[0]
    assert "tag" not in told[0]


def test_a_person_sees_a_bar_chart(program: Program, recorded: str) -> None:
    shown = program.on_terminal(
        *("analytics", "--url", recorded, "--bucket", "hour", "--fill", *UTC),
        *("--until", "2026-11-20T13:00Z"),
        columns=80,
    )
    assert shown.lines == [
        "HOUR                    RUNS  ERRORS  TOOLS  CALLS  TOKENS     COST  RUNS",
        "2026-11-20 10:00+00:00     3       1      2      3  14,700  $0.0081  ━━━━━━━━━━━",
        "2026-11-20 11:00+00:00     2       0      0      0       0  $0.0000  ━━━━━━━",
        "2026-11-20 12:00+00:00     0       0      0      0       0  $0.0000",
    ]


@pytest.mark.parametrize(
    ("how", "heading"),
    [
        (["--group-by", "agent,session"], "DAY AGENT SESSION RUNS ERRORS TOKENS COST RUNS"),
        (["--percentiles"], "DAY RUNS ERRORS P50 MS P95 MS COST RUNS"),
        (
            ["--bar", "latency_p95_ms"],
            "DAY RUNS ERRORS TOOLS CALLS TOKENS COST P95 MS P95 MS",
        ),
        (["--bar", "cost_usd"], "DAY RUNS ERRORS TOOLS CALLS TOKENS COST COST"),
        (["--bar", "tokens"], "DAY RUNS ERRORS TOOLS CALLS TOKENS COST TOKENS"),
    ],
)
def test_each_number_can_be_drawn(
    program: Program, recorded: str, how: list[str], heading: str
) -> None:
    shown = program.on_terminal("analytics", "--url", recorded, *how, *UTC, columns=100)
    assert " ".join(shown.lines[0].split()) == heading
    assert shown.lines[-1].endswith("━")


def test_rows_are_written_as_csv(program: Program, recorded: str) -> None:
    told = program("analytics", "--url", recorded, "--csv", "--percentiles", *UTC).out
    [row] = csv.DictReader(io.StringIO(told))
    assert (row["period"], row["runs"], row["errors"]) == ("2026-11-20", "5", "1")
    assert (row["cost_usd"], row["latency_p50_ms"]) == ("0.008100000005", "640.0")


def test_a_person_sees_that_there_are_no_records(program: Program, recorded: str) -> None:
    shown = program.on_terminal("analytics", "--url", recorded, "--agent", "nobody")
    assert "No records." in shown.out
    assert program("analytics", "--url", recorded, "--agent", "nobody").json() == []
    assert program("analytics", "--url", recorded, "--agent", "nobody", "--csv").out == "\n"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (["--bucket", "minute"], "hour, day, week, month"),
        (["--group-by", "model"], "agent, session, user, tag"),
        (["--timezone", "Mars"], "Europe/Paris"),
        (["--bar", "beer"], "invalid choice: 'beer'"),
        (["--since", "soon"], "how long ago"),
        (["--since", "2000-01-01", "--bucket", "hour"], "more than 10,000 hours"),
    ],
)
def test_what_makes_no_sense_is_explained(
    program: Program, recorded: str, how: list[str], said: str
) -> None:
    ended = program("analytics", "--url", recorded, *how)
    assert ended.code == 2
    assert said in ended.said
