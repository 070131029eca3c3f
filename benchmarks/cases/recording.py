"""A run with ten spans through the recorder, against the same records by the ten methods."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count

from benchmarks.cases.sides import Case
from benchmarks.support.report import Goal, Line
from benchmarks.support.timing import interleave, timed
from benchmarks.support.workspace import Workspace
from curio_persistence import AgentRun, AgentRunEvent, Persistence, SQLitePersistence

_SPANS = 10
_RECORDS = 2 * _SPANS + 4
"""The run itself, stored and updated, the events of its begin and end, and two for each span."""
_RUNS_IN_A_ROW = 10

_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_RUN_SPAN, _SPAN = "a3ce929d0e0e4736", "00f067aa0ba902b7"
_NOW = datetime.now(UTC)


def sqlite_recorder(work: Workspace) -> list[Line]:
    with (
        work.sqlite_copies(2) as (first, second),
        SQLitePersistence(first) as direct,
        SQLitePersistence(second) as recorded,
    ):
        numbers = count()

        def by_hand() -> int:
            runs = [f"{_TRACE}-{next(numbers):03}" for _ in range(_RUNS_IN_A_ROW)]
            return timed(lambda run_id: _by_hand(direct, run_id), runs)

        def by_recorder() -> int:
            return timed(lambda _: _recorded(recorded), range(_RUNS_IN_A_ROW))

        timing = interleave(
            by_hand,
            by_recorder,
            calls=_RUNS_IN_A_ROW * _RECORDS,
            chunks=max(work.sizes.writes // (_RUNS_IN_A_ROW * _RECORDS), 1),
            repetitions=work.sizes.repetitions,
        )
        assert direct.count_events(event_type="span") == recorded.count_events(event_type="span")
        return [
            Line(
                f"SQLite, a record of a run with {_SPANS} spans, against the same by hand",
                Goal(15e3, 10e3, "over"),
                timing,
            )
        ]


CASES: dict[str, Case] = {"sqlite-recorder": sqlite_recorder}


def _by_hand(persistence: Persistence, run_id: str) -> None:
    """Store what the recorder stores, with ids, times and statuses that are at hand."""
    run = AgentRun("planner", run_id, status="running", started_at=_NOW)
    persistence.create_agent_run(run)
    _append(persistence, run_id, "run_started", {"objective": ""}, _RUN_SPAN, None)
    given = {"name": "retrieve", "kind": ""}
    for number in range(_SPANS):
        begun = {**given, "input": number}
        _append(persistence, run_id, "span_started", begun, _SPAN, _RUN_SPAN)
        ended = {**begun, "output": number, "latency_ms": 0.125, "error": None}
        _append(persistence, run_id, "span", ended, _SPAN, _RUN_SPAN)
    ended = {"status": "completed", "error": None}
    _append(persistence, run_id, "run_completed", ended, _RUN_SPAN, None)
    run.status, run.finished_at = "completed", _NOW
    persistence.update_agent_run(run_id, run)


def _append(
    persistence: Persistence,
    run_id: str,
    event_type: str,
    data: dict[str, object],
    span_id: str,
    parent_span_id: str | None,
) -> None:
    persistence.log_agent_run_event(
        AgentRunEvent(
            "planner",
            run_id,
            event_type=event_type,
            data=data,
            trace_id=_TRACE,
            span_id=span_id,
            parent_span_id=parent_span_id,
        )
    )


def _recorded(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="planner") as run:
        for number in range(_SPANS):
            with run.span("retrieve", input=number) as span:
                span.output = number
