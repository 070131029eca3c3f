"""What is measured: one function for each line of the table."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks import fill, rows
from benchmarks.raw import RawPostgres, RawSQLite
from benchmarks.report import Goal, Line
from benchmarks.timing import WRITES_IN_A_ROW, Chunk, Timing, interleave, timed
from benchmarks.workspace import Workspace
from curio_persistence import (
    AgentRun,
    InMemoryPersistence,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
)

ROOT = Path(__file__).resolve().parents[1]

_READS_IN_A_REPETITION = 20
_NEWEST = 100
_NO_AGENT_IN_PARTICULAR = ""

_READING = Goal(floor=1.35, aim=1.2)
_STATISTICS = Goal(floor=1.5, aim=1.1)


def sqlite_write(work: Workspace) -> Line:
    with _sqlite(work.sqlite_copy("write-raw"), work.sqlite_copy("write-ours")) as (raw, ours):
        return Line(
            "SQLite, one event per call, committed",
            Goal(0.85, 0.92, "speed"),
            _writing(work, raw.log_event, ours.log_agent_run_event),
        )


def sqlite_read(work: Workspace) -> Line:
    with _sqlite(work.sqlite_events) as (raw, ours):
        return Line(
            "SQLite, a run's 1,000 events as dataclasses, against bare tuples",
            _READING,
            _reading(work, raw.events, ours.get_agent_run_events, work.full_runs),
        )


def sqlite_usage(work: Workspace) -> Line:
    with _sqlite(work.sqlite_usage) as (raw, ours):
        return Line(
            f"SQLite, newest 100 of {work.sizes.usage_rows:,} usage rows of an agent",
            Goal(1.5, 1.2),
            _reading(
                work,
                lambda agent_id: raw.newest_usage(agent_id, _NEWEST),
                lambda agent_id: ours.get_llm_usage(agent_id, limit=_NEWEST),
                rows.AGENTS,
            ),
        )


def sqlite_stats_of_one(work: Workspace) -> Line:
    with _sqlite(work.sqlite_usage) as (raw, ours):
        return _stats_of_one("SQLite", work, raw, ours)


def sqlite_stats_of_all(work: Workspace) -> Line:
    with _sqlite(work.sqlite_usage) as (raw, ours):
        return _stats_of_all("SQLite", work, raw, ours)


def postgres_write(work: Workspace) -> Line:
    with _postgres(work, work.postgres_events("raw"), work.postgres_events("ours")) as (raw, ours):
        return Line(
            "PostgreSQL, one event per call, committed",
            Goal(0.88, 0.95, "speed"),
            _writing(work, raw.log_event, ours.log_agent_run_event),
        )


def postgres_read(work: Workspace) -> Line:
    with _postgres(work, work.postgres_events("read")) as (raw, ours):
        return Line(
            "PostgreSQL, a run's 1,000 events as dataclasses, against bare tuples",
            _READING,
            _reading(work, raw.events, ours.get_agent_run_events, work.full_runs),
        )


def postgres_stats_of_one(work: Workspace) -> Line:
    with _postgres(work, work.postgres_usage) as (raw, ours):
        return _stats_of_one("PostgreSQL", work, raw, ours)


def postgres_stats_of_all(work: Workspace) -> Line:
    with _postgres(work, work.postgres_usage) as (raw, ours):
        return _stats_of_all("PostgreSQL", work, raw, ours)


def memory_write(work: Workspace) -> Line:
    with (
        SQLitePersistence(work.sqlite_copy("write-beside-memory")) as sqlite,
        InMemoryPersistence() as memory,
    ):
        for number in work.written_runs:
            memory.create_agent_run(AgentRun(rows.agent_of(number), rows.run_id(number)))
        return Line(
            "memory, one event per call, against ours on SQLite",
            Goal(0.3, 0.15),
            _writing(work, sqlite.log_agent_run_event, memory.log_agent_run_event),
        )


def import_time(work: Workspace) -> Line:
    ours = "import curio_persistence"
    bytecode = work.directory / "bytecode"

    def chunk(statement: str) -> Chunk:
        return lambda: timed(lambda text: _interpret(text, bytecode), [statement])

    return Line(
        f"`{ours}`, against `python -c pass`",
        Goal(60, 30, "added"),
        interleave(chunk("pass"), chunk(ours), chunks=2, repetitions=work.sizes.repetitions),
        remark=_foreign_modules(ours, bytecode),
    )


CASES: dict[str, Callable[[Workspace], Line]] = {
    "sqlite-write": sqlite_write,
    "sqlite-read": sqlite_read,
    "sqlite-usage": sqlite_usage,
    "sqlite-stats-of-one": sqlite_stats_of_one,
    "sqlite-stats-of-all": sqlite_stats_of_all,
    "postgres-write": postgres_write,
    "postgres-read": postgres_read,
    "postgres-stats-of-one": postgres_stats_of_one,
    "postgres-stats-of-all": postgres_stats_of_all,
    "memory-write": memory_write,
    "import": import_time,
}


@contextmanager
def _sqlite(theirs: Path, mine: Path | None = None) -> Iterator[tuple[RawSQLite, Persistence]]:
    """Raw and ours, on one file where nothing is written."""
    raw = RawSQLite(theirs)
    try:
        with SQLitePersistence(mine or theirs) as ours:
            yield raw, ours
    finally:
        raw.close()


@contextmanager
def _postgres(
    work: Workspace, theirs: str, mine: str | None = None
) -> Iterator[tuple[RawPostgres, Persistence]]:
    """Raw and ours, in one schema where nothing is written."""
    raw = RawPostgres(work.dsn, theirs)
    try:
        with PostgresPersistence(dsn=work.dsn, schema=mine or theirs) as ours, _apart(work):
            yield raw, ours
    finally:
        raw.close()


def _writing(
    work: Workspace, raw: Callable[[Any], object], ours: Callable[[Any], object]
) -> Timing:
    """Both write the same events, each to tables of its own."""

    def chunk(write: Callable[[Any], object]) -> Chunk:
        events = rows.EventStream(work.written_runs, now=lambda: datetime.now(UTC))
        return lambda: timed(write, events.take(WRITES_IN_A_ROW))

    return interleave(
        chunk(raw),
        chunk(ours),
        calls=WRITES_IN_A_ROW,
        chunks=max(work.sizes.writes // WRITES_IN_A_ROW, 1),
        repetitions=work.sizes.repetitions,
    )


def _reading(
    work: Workspace,
    raw: Callable[[str], Sequence[tuple[Any, ...]]],
    ours: Callable[[str], Sequence[Any]],
    arguments: Sequence[str],
) -> Timing:
    """Both read the same rows of the same tables."""
    records, tuples = ours(arguments[0]), raw(arguments[0])
    position = [field.name for field in fields(records[0])].index("id")
    _check([record.id for record in records], [values[position] for values in tuples])
    return _asking(work, raw, ours, arguments, _READS_IN_A_REPETITION)


def _stats_of_one(
    name: str, work: Workspace, raw: RawSQLite | RawPostgres, ours: Persistence
) -> Line:
    for agent_id in rows.AGENTS[:3]:
        _check(ours.get_agent_run_stats(agent_id), raw.stats_of_one(agent_id))
    return Line(
        f"{name}, statistics of one agent, {work.sizes.usage_rows:,} usage rows in all",
        _STATISTICS,
        _asking(
            work, raw.stats_of_one, ours.get_agent_run_stats, rows.AGENTS, _READS_IN_A_REPETITION
        ),
    )


def _stats_of_all(
    name: str, work: Workspace, raw: RawSQLite | RawPostgres, ours: Persistence
) -> Line:
    _check(ours.get_agent_run_stats(), raw.stats_of_all())
    return Line(
        f"{name}, statistics of all {len(rows.AGENTS)} agents",
        _STATISTICS,
        _asking(
            work,
            lambda _: raw.stats_of_all(),
            ours.get_agent_run_stats,
            [_NO_AGENT_IN_PARTICULAR],
            1,
        ),
    )


def _asking(
    work: Workspace,
    raw: Callable[[str], object],
    ours: Callable[[str], object],
    arguments: Sequence[str],
    times: int,
) -> Timing:
    def chunk(ask: Callable[[str], object]) -> Chunk:
        following = cycle(arguments)
        return lambda: timed(ask, [next(following)])

    return interleave(chunk(raw), chunk(ours), chunks=times, repetitions=work.sizes.repetitions)


def _check(ours: object, raw: object) -> None:
    if ours != raw:
        raise RuntimeError(f"The two sides do not do the same:\nours {ours}\nraw  {raw}")


def _interpret(statement: str, bytecode: Path) -> str:
    """What a new interpreter prints, in the checkout but with bytecode, as if it were installed."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run(
        [sys.executable, "-c", statement],
        check=True,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def _foreign_modules(statement: str, bytecode: Path) -> str:
    """A remark on the packages of others that it imports, if any."""
    loaded = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    before, after = (
        set(_interpret(f"{first}; {loaded}", bytecode).split()) for first in ("pass", statement)
    )
    foreign = after - before - sys.stdlib_module_names - {"curio_persistence"}
    return f"imports {', '.join(sorted(foreign))}" if foreign else ""


@contextmanager
def _apart(work: Workspace) -> Iterator[None]:
    """This process on one processor, the sessions of our own server on the others.

    Left to themselves they meet or miss each other by chance, which costs a round trip more than
    all that differs between the sides.
    """
    if not work.own_server or not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    mine = {min(allowed)}
    for session in fill.sessions(work.dsn):
        with suppress(ProcessLookupError):  # The one that told of the sessions has ended.
            os.sched_setaffinity(session, allowed - mine or mine)
    os.sched_setaffinity(0, mine)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
