"""Many events for each call, committed together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing

from benchmarks.cases.sides import (
    Case,
    apart,
    check,
    check_written,
    events_to_write,
)
from benchmarks.raw import RawPostgres, RawSQLite
from benchmarks.support.report import Goal, Line, factor, rows_per_second
from benchmarks.support.rows import Names
from benchmarks.support.timing import (
    Chunk,
    Samples,
    Timing,
    each,
    mean,
    median,
    sample,
    tail,
    timed,
)
from benchmarks.support.workspace import Workspace
from curio_persistence import AgentRunEvent, Persistence, PostgresPersistence, SQLitePersistence

SIZES = (100, 1_000)
_SQLITES_OWN = 1_000
"""Pages after which SQLite makes a checkpoint by default."""

Write = Callable[[list[AgentRunEvent]], object]

_AGAINST_COPY = Goal(0.8, 0.92, "speed")
_EACH_ONCE = Goal(0.6, 0.75, "speed")
_FOR_SQLITE = {100: Goal(0.8, 0.9, "speed"), 1_000: Goal(0.72, 0.85, "speed")}


def sqlite_batches(work: Workspace) -> list[Line]:
    """The column *raw* has the fastest way of writing by hand."""
    with (
        work.sqlite_copies(4) as paths,
        closing(RawSQLite(paths[0])) as one_by_one,
        closing(RawSQLite(paths[1])) as at_once,
        SQLitePersistence(paths[2]) as ours,
        closing(RawSQLite(paths[3], autocheckpoint=_SQLITES_OWN)) as eager,
    ):
        ways = {
            "`executemany`": one_by_one.log_events,
            "one statement": at_once.log_events_at_once,
            "`executemany` with SQLite's own `wal_autocheckpoint`": eager.log_events,
        }
        lines = []
        for size in SIZES:
            theirs, mine = _sampled(work, size, ways, ours)
            lines.append(
                _line(f"SQLite, batches of {size:,}", _FOR_SQLITE[size], size, theirs, mine)
            )
            if size == 100:
                default = theirs["`executemany` with SQLite's own `wal_autocheckpoint`"]
                lines.append(
                    Line(
                        "SQLite, batches of 100: p95 / p50",
                        Goal(3, 1.5, "alone"),
                        Timing(each(default, tail), each(mine, tail)),
                        unit=factor,
                        remark="raw with SQLite's own `wal_autocheckpoint`",
                    )
                )
        check_written(work, ours, one_by_one, at_once, eager)
        return lines


def postgres_batches(work: Workspace) -> list[Line]:
    with (
        work.postgres_copies(3) as schemas,
        closing(RawPostgres(work.dsn, schemas[0])) as raw,
        closing(RawPostgres(work.dsn, schemas[1])) as numbered,
        PostgresPersistence(dsn=work.dsn, schema=schemas[2]) as ours,
        apart(work),
    ):
        ways = {
            "`COPY`, without ids": raw.log_events,
            "`COPY` with ids from the sequence": numbered.log_numbered_events,
        }
        lines = [
            _line(
                f"PostgreSQL, batches of {size:,}",
                _AGAINST_COPY,
                size,
                *_sampled(work, size, ways, ours),
            )
            for size in SIZES
        ]
        check_written(work, ours, raw, numbered)
        return lines


def sqlite_event_ids(work: Workspace) -> list[Line]:
    with (
        work.sqlite_copies(2) as (first, second),
        SQLitePersistence(first) as nameless,
        SQLitePersistence(second) as named,
    ):
        return _each_once("SQLite", work, nameless, named)


def sqlite_random_event_ids(work: Workspace) -> list[Line]:
    """Each id is at another place of the index, so that almost every row writes a page."""
    size = SIZES[-1]
    with (
        work.sqlite_copies(3) as paths,
        closing(RawSQLite(paths[0])) as raw,
        closing(RawSQLite(paths[1])) as nameless,
        SQLitePersistence(paths[2]) as ours,
    ):
        random: list[Chunk] = [
            _batch(work, size, raw.log_named_events, named="random"),
            _batch(work, size, ours.log_agent_run_events, named="random"),
        ]
        theirs, mine, plain = (
            each(samples, mean, size)
            for samples in _rounds(work, size, *random, _batch(work, size, nameless.log_events))
        )
    without = rows_per_second(median(plain))
    return [
        Line(
            f"SQLite, batches of {size:,} with random event ids",
            Goal(None, None, "speed"),
            Timing(theirs, mine),
            unit=rows_per_second,
            remark=f"raw by `executemany`, which without event ids makes {without}",
        )
    ]


def postgres_event_ids(work: Workspace) -> list[Line]:
    with (
        work.postgres_copies(2) as (first, second),
        PostgresPersistence(dsn=work.dsn, schema=first) as nameless,
        PostgresPersistence(dsn=work.dsn, schema=second) as named,
        apart(work),
    ):
        return _each_once("PostgreSQL", work, nameless, named)


CASES: dict[str, Case] = {
    "sqlite-batches": sqlite_batches,
    "postgres-batches": postgres_batches,
    "sqlite-event-ids": sqlite_event_ids,
    "sqlite-random-event-ids": sqlite_random_event_ids,
    "postgres-event-ids": postgres_event_ids,
}


def _sampled(
    work: Workspace, size: int, ways: Mapping[str, Write], ours: Persistence
) -> tuple[dict[str, Samples], Samples]:
    """Return the times of batches by each way and by ours, in tables that grow alike."""
    writers = (*ways.values(), ours.log_agent_run_events)
    *theirs, mine = _rounds(work, size, *(_batch(work, size, write) for write in writers))
    return dict(zip(ways, theirs, strict=True)), mine


def _rounds(work: Workspace, size: int, *sides: Chunk) -> list[Samples]:
    chunks = max(work.sizes.batched // size, 1)
    return sample(*sides, chunks=chunks, repetitions=work.sizes.repetitions)


def _batch(work: Workspace, size: int, write: Write, *, named: Names | None = None) -> Chunk:
    events = events_to_write(work, named=named)
    return lambda: timed(write, [events.take(size)])


def _line(title: str, goal: Goal, size: int, theirs: Mapping[str, Samples], mine: Samples) -> Line:
    """Return a line with the fastest of their ways, and the others as a remark."""
    times = {way: each(samples, mean, size) for way, samples in theirs.items()}
    fastest = min(times, key=lambda way: median(times[way]))
    others = [f"{way} {rows_per_second(median(t))}" for way, t in times.items() if way != fastest]
    return Line(
        title,
        goal,
        Timing(times[fastest], each(mine, mean, size)),
        unit=rows_per_second,
        remark="; ".join((f"raw by {fastest}", *others)),
    )


def _each_once(name: str, work: Workspace, nameless: Persistence, named: Persistence) -> list[Line]:
    """Compare batches with event ids, and the same ones sent again, with batches without."""
    return [line for size in SIZES for line in _sent_twice(name, work, size, nameless, named)]


def _sent_twice(
    name: str, work: Workspace, size: int, nameless: Persistence, named: Persistence
) -> list[Line]:
    events = events_to_write(work, seed=size, named="growing")
    last: list[AgentRunEvent] = []

    def write(new: int) -> None:
        check(named.log_agent_run_events(last), new)

    def send() -> int:
        last[:] = events.take(size)
        return timed(write, [size])

    def send_again() -> int:
        return timed(write, [0])

    plain, first, again = (
        each(samples, mean, size)
        for samples in _rounds(
            work, size, _batch(work, size, nameless.log_agent_run_events), send, send_again
        )
    )
    return [
        Line(
            f"{name}, batches of {size:,} with event ids, against without",
            _EACH_ONCE,
            Timing(plain, first),
            unit=rows_per_second,
        ),
        Line(
            f"{name}, the same batches of {size:,} again, against without event ids",
            Goal(None, None, "speed"),
            Timing(plain, again),
            unit=rows_per_second,
        ),
    ]
