"""Write-behind: the wait of the caller, and the overall throughput."""

from __future__ import annotations

from benchmarks.cases.sides import Case, apart, check_written, events_to_write
from benchmarks.support.report import Goal, Line, rows_per_second
from benchmarks.support.timing import Timing, each, interleave, quantile, sample, timed, timed_each
from benchmarks.support.workspace import Workspace
from curio_persistence import (
    BufferedPersistence,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
)

_MOST_APPENDS = 5_000
"""Half of the queue's size: beyond that a caller must wait for the writer."""
_BATCH = 1_000
_SUSTAINED = Goal(0.85, 0.95, "speed")
_WAITS = {0.5: Goal(8_000, 4_000, "alone"), 0.99: Goal(50_000, 20_000, "alone")}


def sqlite_buffered(work: Workspace) -> list[Line]:
    with (
        work.sqlite_copies(2) as (first, second),
        SQLitePersistence(first) as direct,
        SQLitePersistence(second).buffered() as buffered,
    ):
        return _lines("SQLite", work, direct, buffered)


def postgres_buffered(work: Workspace) -> list[Line]:
    with (
        work.postgres_copies(2) as (first, second),
        PostgresPersistence(dsn=work.dsn, schema=first) as direct,
        PostgresPersistence(dsn=work.dsn, schema=second).buffered() as buffered,
        apart(work),
    ):
        return _lines("PostgreSQL", work, direct, buffered)


CASES: dict[str, Case] = {
    "sqlite-buffered": sqlite_buffered,
    "postgres-buffered": postgres_buffered,
}


def _lines(
    name: str, work: Workspace, direct: Persistence, buffered: BufferedPersistence
) -> list[Line]:
    """Yield the lines; batches come first, in tables that have grown alike."""
    return [_lasting(name, work, direct, buffered), *_waiting(name, work, direct, buffered)]


def _lasting(
    name: str, work: Workspace, direct: Persistence, buffered: BufferedPersistence
) -> Line:
    """Write several queues of events, one by one until all are stored, or in batches."""
    count = max(work.sizes.batched // _BATCH, 1) * _BATCH
    for_batches, for_queue = events_to_write(work), events_to_write(work)

    def batches() -> int:
        events = for_batches.take(count)
        parts = [events[begin : begin + _BATCH] for begin in range(0, count, _BATCH)]
        return timed(direct.log_agent_run_events, parts)

    def queued() -> int:
        events = for_queue.take(count)
        return timed(buffered.log_agent_run_event, events) + timed(lambda _: buffered.flush(), [0])

    timing = interleave(batches, queued, calls=count, chunks=1, repetitions=work.sizes.repetitions)
    check_written(work, direct, buffered)
    return Line(
        f"{name}, buffered events until they are stored, against batches of {_BATCH:,}",
        _SUSTAINED,
        timing,
        unit=rows_per_second,
    )


def _waiting(
    name: str, work: Workspace, direct: Persistence, buffered: BufferedPersistence
) -> list[Line]:
    """Time single appends, one after the other without a pause."""
    to_store, to_queue = events_to_write(work), events_to_write(work)
    appends = min(work.sizes.batched, _MOST_APPENDS)

    def stored() -> list[int]:
        return timed_each(direct.log_agent_run_event, to_store.take(appends // 10))

    def queued() -> list[int]:
        taken = timed_each(buffered.log_agent_run_event, to_queue.take(appends))
        buffered.flush()
        return taken

    theirs, mine = (
        [calls for [calls] in side]
        for side in sample(stored, queued, chunks=1, repetitions=work.sizes.repetitions)
    )
    return [
        Line(
            f"{name}, a buffered append, p{q * 100:.0f}, against a stored event",
            goal,
            Timing(each(theirs, quantile(q)), each(mine, quantile(q))),
        )
        for q, goal in _WAITS.items()
    ]
