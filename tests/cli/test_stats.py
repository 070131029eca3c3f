"""`stats` aggregates runs, model calls and tools."""

from __future__ import annotations

import pytest

from curio_persistence import Persistence
from tests.cli.program import Program


@pytest.mark.parametrize("agent", [None, "researcher", "planner", "nobody"])
def test_the_numbers_are_those_of_the_persistence(
    program: Program, recorded: str, persistence: Persistence, agent: str | None
) -> None:
    filters = [] if agent is None else ["--agent", agent]
    told = program("stats", "--url", recorded, *filters).json()
    known = persistence.get_agent_run_stats(agent)
    assert set(told) == set(known)
    costs = known.pop("total_cost_usd"), [m.pop("cost_usd") for m in known["by_model"].values()]
    told_costs = told.pop("total_cost_usd"), [m.pop("cost_usd") for m in told["by_model"].values()]
    assert told == known
    assert told_costs == (_text(costs[0]), [_text(cost) for cost in costs[1]])


def _text(cost: object) -> str | None:
    return None if cost is None else str(cost)


def test_costs_are_exact(program: Program, recorded: str) -> None:
    stats = program("stats", "--url", recorded).json()
    assert stats["total_cost_usd"] == "0.008100000005"
    assert stats["by_model"]["acme-large"]["cost_usd"] == "0.008100000005"


def test_a_person_sees_tables(program: Program, recorded: str) -> None:
    shown = program.on_terminal("stats", "--url", recorded, columns=80)
    assert shown.lines == [
        "Runs: 5",
        "CANCELLED  COMPLETED  ERROR  RUNNING  ITERATIONS PER RUN",
        "        1          2      1        1                3.20",
        "",
        "Model calls: 3",
        "MODEL       CALLS  ERRORS  INPUT TOKENS  OUTPUT TOKENS             COST",
        "acme-large      2       0         2,100            550  $0.008100000005",
        "acme-small      1       1        12,000             50          unknown",
        "all models      3       1        14,100            600  $0.008100000005",
        "",
        "INPUT TOKENS PER CALL  OUTPUT TOKENS PER CALL  OUTPUT PER INPUT TOKEN",
        "             4,700.00                  200.00                  0.0426",
        "",
        "LATENCY     P50     P75     P90     P95     P99",
        "     ms  640.00  726.00  777.60  794.80  808.56",
        "",
        "Tool calls: 2",
        "TOOL        CALLS  ERRORS  AVERAGE MS  TOTAL MS",
        "calculator      1       1        0.25      0.25",
        "search          1       0      120.50    120.50",
    ]


def test_a_person_sees_that_there_are_no_records(program: Program, recorded: str) -> None:
    shown = program.on_terminal("stats", "--url", recorded, "--agent", "nobody")
    assert shown.lines == ["Runs: 0", "", "Model calls: 0", "", "Tool calls: 0"]


def test_model_calls_are_aggregated_by_group(program: Program, recorded: str) -> None:
    told = program("stats", "--url", recorded, "--group-by", "model,day").json()
    assert {row["model"] for row in told} == set(
        program("stats", "--url", recorded).json()["by_model"]
    )
    assert set(told[0]) >= {"model", "period", "calls", "errors", "cost_usd", "unpriced"}
    assert "agent_id" not in told[0]
    shown = program.on_terminal("stats", "--url", recorded, "--group-by", "day", columns=80)
    headings = " ".join(shown.lines[0].split())
    assert headings == "DAY CALLS ERRORS IN OUT AVG MS COST"


def test_an_unknown_group_is_named(program: Program, recorded: str) -> None:
    ended = program("stats", "--url", recorded, "--group-by", "colour")
    assert ended.code == 2
    assert "agent, session, user, model" in ended.said


def test_statistics_of_a_window(program: Program, recorded: str) -> None:
    told = program("stats", "--url", recorded, "--until", "2000-01-01").json()
    assert told["total_runs"] == told["total_llm_calls"] == 0
