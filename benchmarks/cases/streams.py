"""A whole history, one event after the other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.cases.sides import Case, Raw, check, postgres, sqlite
from benchmarks.support import memory, rows
from benchmarks.support.report import Goal, Line, megabytes
from benchmarks.support.timing import Chunk, Timing, interleave, timed
from benchmarks.support.workspace import Workspace
from curio_persistence import Persistence

_TIME = Goal(1.5, 1.3)
_MEMORY = Goal(50e6, 50e6, "alone")


def sqlite_stream(work: Workspace) -> list[Line]:
    with sqlite(work.sqlite_history) as (raw, ours):
        lines = [_time("SQLite", work, raw, ours)]
    return [*lines, *_memory("SQLite", "sqlite", str(work.sqlite_history))]


def postgres_stream(work: Workspace) -> list[Line]:
    with postgres(work, work.postgres_history) as (raw, ours):
        lines = [_time("PostgreSQL", work, raw, ours)]
    return [*lines, *_memory("PostgreSQL", "postgres", work.postgres_history, work.dsn)]


CASES: dict[str, Case] = {"sqlite-stream": sqlite_stream, "postgres-stream": postgres_stream}


def _time(name: str, work: Workspace, raw: Raw, ours: Persistence) -> Line:
    beginning = list(islice(ours.iter_agent_run_events(order="oldest"), 1_000))
    check(
        [(event.run_id, event.id) for event in beginning],
        [(event[1], event[6]) for event in islice(raw.all_events(), len(beginning))],
    )
    count = work.sizes.history_runs * rows.EVENTS_OF_A_RUN
    return Line(
        f"{name}, {count:,} events one by one as dataclasses, against bare tuples",
        _TIME,
        interleave(
            _walk(raw.all_events, count),
            _walk(partial(ours.iter_agent_run_events, order="oldest"), count),
            chunks=1,
            repetitions=work.sizes.slow_repetitions,
            warm_up=False,
        ),
    )


def _walk(events: Callable[[], Iterable[Any]], count: int) -> Chunk:
    def walk(_: object) -> None:
        check(sum(1 for _ in events()), count)

    return lambda: timed(walk, [None])


def _memory(name: str, *where: str) -> list[Line]:
    """Return the growth in memory of a process that does nothing else."""
    if not memory.CAN_BE_MEASURED:
        return []
    raw, ours = (_growth(side, *where) for side in ("raw", "ours"))
    return [
        Line(
            f"{name}, maximum of memory for it",
            _MEMORY,
            Timing([raw], [ours]),
            unit=megabytes,
        )
    ]


def _growth(*arguments: str) -> float:
    done = subprocess.run(
        [sys.executable, "-m", memory.__name__, *arguments],
        check=True,
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(done.stdout)
