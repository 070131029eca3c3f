"""Awaited calls: the switch to a thread and back, and the longest block of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from time import perf_counter_ns
from typing import Any, TypeVar

from benchmarks.cases.sides import Case, apart, check, check_written, events_to_write
from benchmarks.support import rows
from benchmarks.support.report import Goal, Line, rows_per_second
from benchmarks.support.timing import Timing, interleave, timed
from benchmarks.support.workspace import Workspace
from curio_persistence import Persistence, PostgresPersistence, SQLitePersistence
from curio_persistence.aio import AsyncPersistence, export_records

T = TypeVar("T")

_SPEED = Goal(None, None, "speed")
_TIME = Goal(None, None)
_STAND = Goal(50e6, 25e6, "alone")
_TASKS = (1, 16)
_PAGE = 10_000


def sqlite_awaited(work: Workspace) -> list[Line]:
    with (
        work.sqlite_copies(2) as (first, second),
        SQLitePersistence(first) as blocking,
        SQLitePersistence(second) as awaited,
    ):
        lines = [_writing("SQLite", work, blocking, awaited, tasks) for tasks in _TASKS]
    with SQLitePersistence(work.sqlite_history) as history:
        return [*lines, *_reading("SQLite", work, history)]


def postgres_awaited(work: Workspace) -> list[Line]:
    with (
        work.postgres_copies(2) as (first, second),
        PostgresPersistence(dsn=work.dsn, schema=first) as blocking,
        PostgresPersistence(dsn=work.dsn, schema=second) as awaited,
        apart(work),
    ):
        lines = [_writing("PostgreSQL", work, blocking, awaited, tasks) for tasks in _TASKS]
    with PostgresPersistence(dsn=work.dsn, schema=work.postgres_history) as history:
        return [*lines, *_reading("PostgreSQL", work, history)]


CASES: dict[str, Case] = {"sqlite-awaited": sqlite_awaited, "postgres-awaited": postgres_awaited}


def _writing(
    name: str, work: Workspace, blocking: Persistence, other: Persistence, tasks: int
) -> Line:
    """Measure writing the same events, one by one or by several tasks at a time."""
    awaited = AsyncPersistence(other)
    theirs, mine = events_to_write(work), events_to_write(work)
    count = work.sizes.writes // tasks * tasks

    async def write(events: Iterable[Any]) -> None:
        for event in events:
            await awaited.log_agent_run_event(event)

    async def together(events: list[Any]) -> int:
        begin = perf_counter_ns()
        await asyncio.gather(*(write(events[n::tasks]) for n in range(tasks)))
        return perf_counter_ns() - begin

    timing = interleave(
        lambda: timed(blocking.log_agent_run_event, theirs.take(count)),
        lambda: asyncio.run(together(mine.take(count))),
        calls=count,
        chunks=1,
        repetitions=work.sizes.repetitions,
    )
    check_written(work, blocking, other)
    title = f"{name}, single events awaited, {tasks} at a time, against blocking calls"
    return Line(title, _SPEED, timing, unit=rows_per_second)


def _reading(name: str, work: Workspace, persistence: Persistence) -> list[Line]:
    """Measure reading all events by `async for`, and the blocks of the loop meanwhile."""
    awaited = AsyncPersistence(persistence)
    count = work.sizes.history_runs * rows.EVENTS_OF_A_RUN
    stood: list[float] = []
    stood_exporting: list[float] = []

    async def walk() -> int:
        begin = perf_counter_ns()
        number = 0
        async for _ in awaited.iter_agent_run_events():
            number += 1
        check(number, count)
        return perf_counter_ns() - begin

    async def read() -> int:
        taken = await walk()
        await awaited.query_events(limit=_PAGE)
        return taken

    async def export() -> None:
        path = work.directory / "awaited.jsonl"
        report = await export_records(awaited, path, tables="events", overwrite=True)
        check(report.events, count)

    timing = interleave(
        lambda: timed(
            lambda _: check(sum(1 for _ in persistence.iter_agent_run_events()), count), [0]
        ),
        lambda: asyncio.run(_watched(read(), stood)),
        chunks=1,
        repetitions=work.sizes.slow_repetitions,
        warm_up=False,
    )
    for _ in range(work.sizes.slow_repetitions):
        asyncio.run(_watched(export(), stood_exporting))
    return [
        Line(f"{name}, {count:,} events by `async for`, against `for`", _TIME, timing),
        Line(
            f"{name}, longest block of the event loop while they are read, and a page of {_PAGE:,}",
            _STAND,
            Timing(stood, stood),
        ),
        Line(
            f"{name}, longest block of the event loop while they are exported",
            _STAND,
            Timing(stood_exporting, stood_exporting),
        ),
    ]


async def _watched(work: Coroutine[Any, Any, T], stood: list[float]) -> T:
    watching = asyncio.create_task(_longest_stand(stood))
    done = await work
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    return done


async def _longest_stand(stood: list[float]) -> None:
    """Append the longest time, in nanoseconds, for which the loop was blocked, when cancelled."""
    longest, before = 0, perf_counter_ns()
    try:
        while True:
            await asyncio.sleep(0.001)
            now = perf_counter_ns()
            longest, before = max(longest, now - before), now
    finally:
        stood.append(longest)
