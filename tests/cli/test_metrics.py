"""`metrics` aggregates what agents measured."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from curio_persistence import connect
from curio_persistence.payloads import Metric
from tests.cli.history import BEGIN, EVIL
from tests.cli.program import Program

HOUR = timedelta(hours=1)


@pytest.fixture
def measured(recorded: str) -> str:
    """The small history with a metric value each half hour, of two agents in turn."""
    with connect(recorded) as persistence:
        for number, value in enumerate((0.5, 0.25, 0.75, 1)):
            persistence.append_event(
                f"run-4{number % 2}",
                ("researcher", "planner")[number % 2],
                "metric",
                timestamp=BEGIN + number * HOUR / 2,
                session_id="monday" if number else None,
                payload=Metric("accuracy", value, tags={"split": "ab"[number // 2]}),
            )
        payload = Metric("documents", 1200)
        persistence.append_event("run-40", "researcher", "metric", timestamp=BEGIN, payload=payload)
    return recorded


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ([], [(None, None, 0.625, 4)]),
        (["--aggregation", "sum"], [(None, None, 2.5, 4)]),
        (["--aggregation", "p50", "--agent", "planner"], [(None, None, 0.625, 2)]),
        (["--run", "run-40"], [(None, None, 0.625, 2)]),
        (["--session", "monday", "--aggregation", "min"], [(None, None, 0.25, 3)]),
        (["--since", "2026-11-20T11:30Z"], [(None, None, 0.875, 2)]),
        (["--until", "2026-11-20T11:00Z"], [(None, None, 0.5, 1)]),
        (["--group-by", "tags.split"], [(None, "a", 0.375, 2), (None, "b", 0.875, 2)]),
        (
            ["--bucket", "1h"],
            [
                ("2026-11-20T10:00:00+00:00", None, 0.5, 1),
                ("2026-11-20T11:00:00+00:00", None, 0.5, 2),
                ("2026-11-20T12:00:00+00:00", None, 1.0, 1),
            ],
        ),
        (["--run", "run-44"], []),
    ],
)
def test_a_metric_is_aggregated(
    program: Program, measured: str, how: list[str], expected: list[tuple[Any, ...]]
) -> None:
    points = program("metrics", "accuracy", "--url", measured, *how).json()
    assert [tuple(point.values()) for point in points] == expected


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], {"accuracy": 4, "documents": 1}),
        (["--agent", "planner"], {"accuracy": 2}),
        (["--agent", "nobody"], {}),
        (["--until", "2026-11-20T11:00Z"], {"accuracy": 1, "documents": 1}),
    ],
)
def test_without_a_name_the_metrics_are_listed(
    program: Program, measured: str, filters: list[str], expected: dict[str, int]
) -> None:
    names = program("metrics", "--url", measured, *filters).json()
    assert {each["name"]: each["count"] for each in names} == expected


def test_a_person_sees_the_metrics(program: Program, measured: str) -> None:
    assert program.on_terminal("metrics", "--url", measured).lines == [
        "METRIC     VALUES",
        "accuracy        4",
        "documents       1",
    ]


def test_a_person_sees_how_a_metric_goes_up_and_down(program: Program, measured: str) -> None:
    shown = program.on_terminal("metrics", "accuracy", "--bucket", "1h", "--url", measured)
    assert shown.lines == [
        "BEGIN (UTC)         AVG  COUNT",
        "2026-11-20 10:00  0.500      1  ━━━━━━━━━━━━",
        "2026-11-20 11:00  0.500      2  ━━━━━━━━━━━━",
        "2026-11-20 12:00  1.000      1  ━━━━━━━━━━━━━━━━━━━━━━━━",
    ]


def test_a_person_sees_groups(program: Program, measured: str) -> None:
    how = ("--bucket", "1w", "--group-by", "agent_id", "--aggregation", "p95")
    assert program.on_terminal("metrics", "accuracy", *how, "--url", measured).lines == [
        "BEGIN (UTC)  AGENT          P95  COUNT",
        "2026-11-16   planner     0.9625      2",
        "2026-11-16   researcher  0.7375      2",
    ]


def test_a_person_sees_the_values_without_a_group(program: Program, measured: str) -> None:
    how = ("--group-by", "session_id", "--aggregation", "count")
    assert program.on_terminal("metrics", "accuracy", *how, "--url", measured).lines == [
        "SESSION  COUNT",
        "monday       3",
        "–            1",
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1200, -3), ["1,200", "-3"]),
        ((0.0001, 0.00025), ["0.0001000", "0.0002500"]),
        ((1234567.891, 0), ["1,234,567.89", "0.00"]),
        ((-0.5, 0.25), ["-0.5000", "0.2500"]),
        ((0, 0), ["0", "0"]),
        ((1e300, 1), ["1e+300", "1"]),
        ((5e-324, 0), ["4.94066e-324", "0"]),
    ],
)
def test_numbers_have_only_significant_digits(
    program: Program, agents_db: str, values: tuple[float, float], expected: list[str]
) -> None:
    with connect(f"sqlite:///{program.folder / agents_db}") as persistence:
        for number, value in enumerate(values):
            persistence.append_event(f"r{number}", "a", "metric", payload=Metric("m", value))
    _, *lines = program.on_terminal("metrics", "m", "--group-by", "run_id").lines
    assert [line.split()[1] for line in lines] == expected


def test_a_sum_may_be_infinite(program: Program, agents_db: str) -> None:
    with connect(f"sqlite:///{program.folder / agents_db}") as persistence:
        for _ in range(2):
            persistence.append_event("run", "agent", "metric", payload=Metric("m", 1.7e308))
    shown = program.on_terminal("metrics", "m", "--aggregation", "sum")
    assert shown.lines == ["SUM  COUNT", "inf      2"]


def test_values_below_zero_have_no_bars(program: Program, agents_db: str) -> None:
    with connect(f"sqlite:///{program.folder / agents_db}") as persistence:
        for value in (-1, 2):
            payload = Metric("m", value)
            persistence.append_event("run", "agent", "metric", timestamp=BEGIN, payload=payload)
    shown = program.on_terminal("metrics", "m", "--bucket", "1d", "--aggregation", "min")
    assert shown.lines == ["BEGIN (UTC)  MIN  COUNT", "2026-11-20    -1      2"]


def test_a_narrow_terminal_shows_everything(program: Program, measured: str) -> None:
    shown = program.on_terminal(
        "metrics", "accuracy", "--bucket", "1h", "--url", measured, columns=40
    )
    assert max(map(len, shown.lines)) <= 40
    assert sum("2026-11-20" in line for line in shown.lines) == 3


@pytest.mark.parametrize("metric", [[], ["unheard of"]], ids=str)
def test_a_person_sees_that_there_are_no_metrics(
    program: Program, recorded: str, metric: list[str]
) -> None:
    code, shown, _ = program.on_terminal("metrics", *metric, "--url", recorded)
    assert code == 0
    assert " has no such " in shown
    assert program("metrics", *metric, "--url", recorded).json() == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--bucket", "1h"], "need a METRIC."),
        (["m", "--bucket", "7m"], "not '7m'."),
        (["m", "--aggregation", "mean"], "not 'mean'."),
        (["m", "--group-by", "tags"], "not 'tags'."),
        (["m", "--since", "yesterday"], "not 'yesterday'."),
    ],
)
def test_wrong_usage_says_what_to_use(
    program: Program, agents_db: str, wrong: list[str], said: str
) -> None:
    ended = program("metrics", *wrong)
    assert (ended.code, ended.out) == (2, "")
    assert ended.said.endswith(f"{said}\n")
    assert ended.said.count("\n") == 1


@pytest.mark.parametrize("option", [[], ["--json"]], ids=["table", "json"])
def test_a_name_cannot_control_the_terminal(
    program: Program, agents_db: str, option: list[str]
) -> None:
    with connect(f"sqlite:///{program.folder / agents_db}") as persistence:
        payload = Metric(EVIL, 1, tags={EVIL: EVIL})
        persistence.append_event("run", "agent", "metric", payload=payload)
    for question in ([], [EVIL, "--group-by", f"tags.{EVIL}"], [f"no {EVIL}"]):
        shown = program.on_terminal("metrics", *question, *option)
        assert shown.code == 0
        assert not set(shown.out.replace("\n", "")) & set("\x1b\x07\x9b\u202e\r"), shown


def test_times_and_bars_are_dimmed(program: Program, measured: str) -> None:
    shown = program.in_colour("metrics", "accuracy", "--bucket", "1d", "--url", measured).out
    assert "\x1b[2m2026-11-20" in shown
    assert "\x1b[2m━" in shown
