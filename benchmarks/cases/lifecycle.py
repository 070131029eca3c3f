"""Half of the runs of a database expire: the time, the space, and the writers beside it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, perf_counter_ns

import psycopg2

from benchmarks.cases.sides import Case, check
from benchmarks.support import fill
from benchmarks.support.report import Goal, Line, megabytes, rows_per_second
from benchmarks.support.timing import Timing, interleave
from benchmarks.support.workspace import Workspace
from curio_persistence import PostgresPersistence, SQLitePersistence, connect

_AGE = "90d"
_SECONDS = 10.0
"""For how long the writes of another process are timed."""
WRITER = """
import sys, time
from curio_persistence import connect
with connect(sys.argv[1]) as persistence:
    until, taken = time.monotonic() + float(sys.argv[2]), []
    while time.monotonic() < until:
        begin = time.perf_counter_ns()
        persistence.append_event("run-of-the-writer", "agent", "log", payload="words")
        taken.append(time.perf_counter_ns() - begin)
        time.sleep(0.002)
print(sorted(taken)[len(taken) * 95 // 100])
"""
"""A process that writes an event every 2 ms, and prints the p95 of the time of a write."""


def sqlite_expiry(work: Workspace) -> list[Line]:
    sizes: list[tuple[int, int]] = []

    def theirs() -> int:
        with _half_old(work) as path, closing(sqlite3.connect(path, isolation_level=None)) as raw:
            raw.execute("PRAGMA foreign_keys = ON")
            begin = perf_counter_ns()
            raw.execute("DELETE FROM agent_run_events WHERE run_id IN (SELECT run_id FROM old)")
            raw.execute("DELETE FROM agent_runs WHERE run_id IN (SELECT run_id FROM old)")
            raw.execute("VACUUM")
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return perf_counter_ns() - begin

    def mine() -> int:
        with _half_old(work) as path:
            full = path.stat().st_size
            begin = perf_counter_ns()
            with SQLitePersistence(path) as ours:
                ours.lifecycle.expire(_AGE, pace=1, check_clock=False)
            taken = perf_counter_ns() - begin
            sizes.append((full, path.stat().st_size))
            return taken

    timing = interleave(
        theirs, mine, chunks=1, repetitions=work.sizes.slow_repetitions, warm_up=False
    )
    count = work.sizes.runs * 500
    return [
        Line(
            f"SQLite, {count:,} of twice as many events expired without pauses, against one "
            "DELETE and VACUUM",
            Goal(3, 1.7),
            timing,
        ),
        Line(
            "SQLite, size of the file when half of it has expired",
            Goal(0.58, 0.55),
            Timing([float(full) for full, _ in sizes], [float(half) for _, half in sizes]),
            unit=megabytes,
        ),
    ]


def sqlite_expiry_beside_a_writer(work: Workspace) -> list[Line]:
    def idle() -> float:
        with _half_old(work) as path:
            return _writes(path)

    def busy() -> float:
        with _half_old(work) as path:
            return _writes(path, expiring=True)

    rounds = [(idle(), busy()) for _ in range(work.sizes.slow_repetitions)]
    return [
        Line(
            "SQLite, another process's write while runs expire, p95, against p95 without",
            Goal(2, 1.3),
            Timing([alone for alone, _ in rounds], [beside for _, beside in rounds]),
        )
    ]


def postgres_expiry(work: Workspace) -> list[Line]:
    events = max(work.sizes.runs // 2, 1) * 1_000

    def theirs() -> int:
        with _half_old_schema(work) as schema, closing(psycopg2.connect(work.dsn)) as raw:
            raw.autocommit = True
            cursor = raw.cursor()
            begin = perf_counter_ns()
            cursor.execute(
                f"DELETE FROM {schema}.agent_runs WHERE run_id IN (SELECT run_id FROM {schema}.old)"
            )
            return (perf_counter_ns() - begin) // events

    def mine() -> int:
        with _half_old_schema(work) as schema:
            begin = perf_counter_ns()
            with PostgresPersistence(dsn=work.dsn, schema=schema) as ours:
                check(ours.lifecycle.expire(_AGE, check_clock=False).events, events)
            return (perf_counter_ns() - begin) // events

    timing = interleave(
        theirs, mine, chunks=1, repetitions=work.sizes.slow_repetitions, warm_up=False
    )
    return [
        Line(
            f"PostgreSQL, {events:,} of twice as many events expired, against one DELETE",
            Goal(None, None),
            timing,
            unit=rows_per_second,
            at_most=1e9 / 30_000,
        )
    ]


def postgres_expiry_beside_a_writer(work: Workspace) -> list[Line]:
    def measure(*, expiring: bool) -> float:
        with _half_old_schema(work) as schema:
            url = f"{work.dsn}{'&' if '?' in work.dsn else '?'}schema={schema}"
            return _writes_to(url, _SECONDS / 5, expiring=expiring)

    rounds = [
        (measure(expiring=False), measure(expiring=True))
        for _ in range(work.sizes.slow_repetitions)
    ]
    return [
        Line(
            "PostgreSQL, another process's write while runs expire, p95, against p95 without",
            Goal(2, 1.3),
            Timing([alone for alone, _ in rounds], [beside for _, beside in rounds]),
        )
    ]


CASES: dict[str, Case] = {
    "sqlite-expiry": sqlite_expiry,
    "sqlite-expiry-beside-a-writer": sqlite_expiry_beside_a_writer,
    "postgres-expiry": postgres_expiry,
    "postgres-expiry-beside-a-writer": postgres_expiry_beside_a_writer,
}


@contextmanager
def _half_old(work: Workspace) -> Iterator[Path]:
    """Return a file of finished runs, of which the first half ended long ago.

    The table `old` has their ids.
    """
    half = max(work.sizes.runs // 2, 1)
    with tempfile.TemporaryDirectory(dir=work.directory) as folder:
        path = Path(folder, "runs.db")
        # One after the other, as time fills a table: old events share no page with new ones.
        first, second = fill.events(half, 1_000), fill.events(half, 1_000, first=half)
        fill.sqlite_file(path, [*first, *second])
        with closing(sqlite3.connect(path, isolation_level=None)) as raw:
            raw.execute(
                "CREATE TABLE old AS SELECT run_id FROM agent_runs ORDER BY id LIMIT ?", (half,)
            )
            for days, which in ((200, "IN"), (1, "NOT IN")):
                end = datetime.now(UTC) - timedelta(days=days)
                raw.execute(
                    "UPDATE agent_runs SET status = 'completed', finished_at = ? "
                    f"WHERE run_id {which} (SELECT run_id FROM old)",
                    (end.isoformat(timespec="microseconds"),),
                )
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        yield path


@contextmanager
def _half_old_schema(work: Workspace) -> Iterator[str]:
    """Return a schema of finished runs, as `_half_old` does."""
    half = max(work.sizes.runs // 2, 1)
    schema = "half_old"
    first, second = fill.events(half, 1_000), fill.events(half, 1_000, first=half)
    fill.postgres_schema(work.dsn, schema, [*first, *second])
    with closing(psycopg2.connect(work.dsn)) as raw:
        raw.autocommit = True
        cursor = raw.cursor()
        cursor.execute(
            f"CREATE TABLE {schema}.old AS SELECT run_id FROM {schema}.agent_runs "
            "ORDER BY id LIMIT %s",
            (half,),
        )
        for days, which in ((200, "IN"), (1, "NOT IN")):
            cursor.execute(
                f"UPDATE {schema}.agent_runs SET status = 'completed', finished_at = %s "
                f"WHERE run_id {which} (SELECT run_id FROM {schema}.old)",
                (datetime.now(UTC) - timedelta(days=days),),
            )
        cursor.execute("VACUUM ANALYZE")
    try:
        yield schema
    finally:
        fill.drop_schema(work.dsn, schema)


def _writes(path: Path, *, expiring: bool = False) -> float:
    """Return the p95 of single writes of another process, in nanoseconds."""
    seconds = min(_SECONDS, 1.0 if path.stat().st_size < 20_000_000 else _SECONDS)
    return _writes_to(f"sqlite:///{path}", seconds, expiring=expiring)


def _writes_to(url: str, seconds: float, *, expiring: bool) -> float:
    command = [sys.executable, "-c", WRITER, url, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        if expiring:
            _expire_for(url, seconds)
        said, _ = writer.communicate()
    check(writer.returncode, 0)
    return float(said)


class _EnoughError(Exception):
    """The writer has ended."""


def _expire_for(url: str, seconds: float) -> None:
    until = monotonic() + seconds

    def stop(done: int, total: int | None) -> None:
        if monotonic() > until:
            raise _EnoughError

    with connect(url) as ours, suppress(_EnoughError):
        ours.lifecycle.expire(_AGE, check_clock=False, progress=stop)
