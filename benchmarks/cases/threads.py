"""Many threads write to one file, an event per call."""

from __future__ import annotations

from contextlib import closing
from threading import Barrier, Thread
from time import perf_counter_ns
from typing import Literal

from benchmarks.cases.sides import Case, check_written, events_to_write
from benchmarks.raw import RawSQLite
from benchmarks.support.report import Goal, Line, rows_per_second
from benchmarks.support.timing import Chunk, interleave, timed
from benchmarks.support.workspace import Workspace
from curio_persistence import AgentRunEvent, Persistence, SQLitePersistence

_THREADS = 16
_NO_GOAL = Goal(None, None, "times")


def sqlite_threads_full(work: Workspace) -> list[Line]:
    return [_crowd(work, "full", Goal(2, 3, "times"))]


def sqlite_threads_normal(work: Workspace) -> list[Line]:
    return [_crowd(work, "normal", _NO_GOAL)]


def sqlite_busy_thread(work: Workspace) -> list[Line]:
    """`executemany` yields to other threads at every row, and waits five milliseconds for them."""
    size = 100
    with (
        work.sqlite_copies(2) as (theirs, mine),
        closing(RawSQLite(theirs)) as raw,
        SQLitePersistence(mine) as ours,
    ):
        sides = raw.log_events, ours.log_agent_run_events
        streams = events_to_write(work), events_to_write(work)
        chunks = [
            lambda write=write, events=events: timed(write, [events.take(size)])
            for write, events in zip(sides, streams, strict=True)
        ]
        with _Computing():
            timing = interleave(*chunks, calls=size, chunks=1, repetitions=work.sizes.repetitions)
        check_written(work, ours, raw)
        return [
            Line(
                f"SQLite, batches of {size} while another thread computes",
                _NO_GOAL,
                timing,
                unit=rows_per_second,
                remark="raw by `executemany`",
            )
        ]


CASES: dict[str, Case] = {
    "sqlite-threads-full": sqlite_threads_full,
    "sqlite-threads-normal": sqlite_threads_normal,
    "sqlite-busy-thread": sqlite_busy_thread,
}


def _crowd(work: Workspace, durability: Literal["normal", "full"], goal: Goal) -> Line:
    """Measure the same number of events written by many threads and by one."""
    each = max(work.sizes.writes // _THREADS, 1)
    with (
        work.sqlite_copies(2) as (first, second),
        SQLitePersistence(first, durability=durability) as lonely,
        SQLitePersistence(second, durability=durability) as crowded,
    ):
        timing = interleave(
            _threads(work, lonely, 1, each * _THREADS),
            _threads(work, crowded, _THREADS, each),
            calls=each * _THREADS,
            chunks=1,
            repetitions=work.sizes.repetitions,
        )
        check_written(work, lonely, crowded)
    return Line(
        f"SQLite, {_THREADS} threads, one event per call, `durability={durability!r}`, "
        "against one thread",
        goal,
        timing,
        unit=rows_per_second,
    )


def _threads(work: Workspace, persistence: Persistence, count: int, each: int) -> Chunk:
    """Time threads that write so many events each, from when all are ready until all are done."""
    events = events_to_write(work)

    def chunk() -> int:
        ready = Barrier(count + 1)
        shares = [events.take(each) for _ in range(count)]

        def write(share: list[AgentRunEvent]) -> None:
            ready.wait()
            for event in share:
                persistence.log_agent_run_event(event)

        threads = [Thread(target=write, args=(share,)) for share in shares]
        for thread in threads:
            thread.start()
        ready.wait()
        begin = perf_counter_ns()
        for thread in threads:
            thread.join()
        return perf_counter_ns() - begin

    return chunk


class _Computing:
    """Another thread that computes without end."""

    def __enter__(self) -> None:
        self._stop = False
        self._thread = Thread(target=self._compute)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self._thread.join()

    def _compute(self) -> None:
        while not self._stop:
            sum(range(1_000))
