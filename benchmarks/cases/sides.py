"""The two sides of a measurement, and checks that their results agree."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.raw import RawPostgres, RawSQLite
from benchmarks.support import fill, rows
from benchmarks.support.report import Line
from benchmarks.support.timing import Timing, interleave, timed
from benchmarks.support.workspace import Workspace
from curio_persistence import Persistence, PostgresPersistence, SQLitePersistence

Case = Callable[[Workspace], Iterable[Line]]
Raw = RawSQLite | RawPostgres


@contextmanager
def sqlite(theirs: Path, mine: Path | None = None) -> Iterator[tuple[RawSQLite, Persistence]]:
    """Open raw and ours on one file, for reading only."""
    with closing(RawSQLite(theirs)) as raw, SQLitePersistence(mine or theirs) as ours:
        yield raw, ours


@contextmanager
def postgres(
    work: Workspace, theirs: str, mine: str | None = None
) -> Iterator[tuple[RawPostgres, Persistence]]:
    """Open raw and ours in one schema, for reading only."""
    with (
        closing(RawPostgres(work.dsn, theirs)) as raw,
        PostgresPersistence(dsn=work.dsn, schema=mine or theirs) as ours,
        apart(work),
    ):
        yield raw, ours


@contextmanager
def apart(work: Workspace) -> Iterator[None]:
    """Pin this process to one processor, and our server's processes to the others.

    Otherwise they share a processor or not by chance, which costs a round trip more than
    all differences between the sides.
    """
    if not work.own_server or not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    mine = {min(allowed)}
    _put_server_on(work.dsn, allowed - mine or mine)
    os.sched_setaffinity(0, mine)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
        _put_server_on(work.dsn, allowed)


def _put_server_on(dsn: str, processors: set[int]) -> None:
    for process in fill.server_processes(dsn):
        with suppress(ProcessLookupError):  # The session that listed the sessions has ended.
            os.sched_setaffinity(process, processors)


def events_to_write(
    work: Workspace, *, seed: int = 1, named: rows.Names | None = None
) -> rows.EventStream:
    """Yield events with the current time, otherwise the same ones for the same seed."""
    return rows.EventStream(
        work.written_runs, now=lambda: datetime.now(UTC), seed=seed, named=named
    )


def asking(
    work: Workspace,
    raw: Callable[[Any], object],
    ours: Callable[[Any], object],
    arguments: Sequence[Any],
    times: int,
) -> Timing:
    """Measure both sides answering the same queries in turn."""

    def chunk(ask: Callable[[Any], object]) -> Callable[[], int]:
        following = cycle(arguments)
        return lambda: timed(ask, [next(following)])

    return interleave(
        chunk(raw), chunk(ours), chunks=work.rounds(times), repetitions=work.sizes.repetitions
    )


def check(ours: object, raw: object) -> None:
    """Assert that both returned the same."""
    if ours != raw:
        raise RuntimeError(f"The two sides do not do the same:\nours {ours}\nraw  {raw}")


def check_written(work: Workspace, *sides: Raw | Persistence) -> None:
    """Assert that all have stored the same events of a run, in any order."""
    first, *others = (_stored(side, rows.run_id(work.written_runs[0])) for side in sides)
    for other in others:
        check(first, other)


def _stored(side: Raw | Persistence, run_id: str) -> list[tuple[str, str]]:
    if isinstance(side, Persistence):
        return sorted((e.event_type, e.data) for e in side.get_agent_run_events(run_id))
    return sorted((kind, data) for _, _, _, _, kind, data, *_ in side.events(run_id))
