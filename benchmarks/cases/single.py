"""One record for each call, committed when it returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.cases.sides import Case, check_written, events_to_write, postgres, sqlite
from benchmarks.support import rows
from benchmarks.support.report import Goal, Line
from benchmarks.support.timing import WRITES_IN_A_ROW, Chunk, Timing, interleave, timed
from benchmarks.support.workspace import Workspace
from curio_persistence import AgentRun, InMemoryPersistence, SQLitePersistence


def sqlite_write(work: Workspace) -> list[Line]:
    with work.sqlite_copies(2) as (theirs, mine), sqlite(theirs, mine) as (raw, ours):
        timing = _writing(work, raw.log_event, ours.log_agent_run_event)
        check_written(work, ours, raw)
        return [Line("SQLite, one event per call, committed", Goal(0.85, 0.92, "speed"), timing)]


def postgres_write(work: Workspace) -> list[Line]:
    with work.postgres_copies(2) as (theirs, mine), postgres(work, theirs, mine) as (raw, ours):
        timing = _writing(work, raw.log_event, ours.log_agent_run_event)
        check_written(work, ours, raw)
        return [
            Line("PostgreSQL, one event per call, committed", Goal(0.88, 0.95, "speed"), timing)
        ]


def memory_write(work: Workspace) -> list[Line]:
    with (
        work.sqlite_copies(1) as (beside,),
        SQLitePersistence(beside) as sqlite,
        InMemoryPersistence() as memory,
    ):
        for number in work.written_runs:
            memory.create_agent_run(AgentRun(rows.agent_of(number), rows.run_id(number)))
        return [
            Line(
                "memory, one event per call, against ours on SQLite",
                Goal(0.3, 0.15),
                _writing(work, sqlite.log_agent_run_event, memory.log_agent_run_event),
            )
        ]


CASES: dict[str, Case] = {
    "sqlite-write": sqlite_write,
    "postgres-write": postgres_write,
    "memory-write": memory_write,
}


def _writing(
    work: Workspace, raw: Callable[[Any], object], ours: Callable[[Any], object]
) -> Timing:
    """Measure both sides writing the same events, each to its own tables."""

    def chunk(write: Callable[[Any], object]) -> Chunk:
        events = events_to_write(work)
        return lambda: timed(write, events.take(WRITES_IN_A_ROW))

    return interleave(
        chunk(raw),
        chunk(ours),
        calls=WRITES_IN_A_ROW,
        chunks=max(work.sizes.writes // WRITES_IN_A_ROW, 1),
        repetitions=work.sizes.repetitions,
    )
