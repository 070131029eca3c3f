"""A whole file is backed up: the time, and the writers beside it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic, perf_counter_ns

from benchmarks.cases.lifecycle import WRITER
from benchmarks.cases.sides import Case, check
from benchmarks.support import fill
from benchmarks.support.report import Goal, Line
from benchmarks.support.timing import Timing, interleave
from benchmarks.support.workspace import Workspace
from curio_persistence import SQLitePersistence

_SECONDS = 10.0
"""For how long the writes of another process are timed."""


def sqlite_backup(work: Workspace) -> list[Line]:
    with _filled(work) as path, SQLitePersistence(path) as ours:

        def theirs() -> int:
            copy = path.with_name("raw.db")
            begin = perf_counter_ns()
            with closing(sqlite3.connect(path)) as raw, closing(sqlite3.connect(copy)) as other:
                raw.backup(other)
            taken = perf_counter_ns() - begin
            check(copy.stat().st_size, path.stat().st_size)
            copy.unlink()
            return taken

        def mine() -> int:
            begin = perf_counter_ns()
            report = ours.backup(path.with_name("ours.db"))
            taken = perf_counter_ns() - begin
            check(report.size, path.stat().st_size)
            _forget(path)
            return taken

        timing = interleave(theirs, mine, chunks=1, repetitions=work.sizes.slow_repetitions)
        megabytes = path.stat().st_size / 1e6
    return [
        Line(
            f"SQLite, a backup of {megabytes:,.0f} MB, checked, hashed and read back, against "
            "sqlite3's backup alone",
            Goal(4, 3),
            timing,
        )
    ]


def sqlite_backup_beside_a_writer(work: Workspace) -> list[Line]:
    with _filled(work) as path:
        rounds = [
            (_writes(path), _writes(path, backing_up=True))
            for _ in range(work.sizes.slow_repetitions)
        ]
    return [
        Line(
            "SQLite, another process's write during backups, p95, against p95 without",
            Goal(2, 1.3),
            Timing([alone for alone, _ in rounds], [beside for _, beside in rounds]),
        )
    ]


CASES: dict[str, Case] = {
    "sqlite-backup": sqlite_backup,
    "sqlite-backup-beside-a-writer": sqlite_backup_beside_a_writer,
}


@contextmanager
def _filled(work: Workspace) -> Iterator[Path]:
    """Return a file with some hundred MB of events."""
    with tempfile.TemporaryDirectory(dir=work.directory) as folder:
        path = Path(folder, "runs.db")
        fill.sqlite_file(path, fill.events(4 * work.sizes.runs, 1_000))
        with closing(sqlite3.connect(path)) as raw:
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        yield path


def _forget(path: Path) -> None:
    """Delete our backup, for the next one."""
    for name in ("ours.db", "ours.db.sha256"):
        path.with_name(name).unlink()


def _writes(path: Path, *, backing_up: bool = False) -> float:
    """Return the p95 of single writes of another process, in nanoseconds."""
    seconds = min(_SECONDS, 1.0 if path.stat().st_size < 20_000_000 else _SECONDS)
    command = [sys.executable, "-c", WRITER, f"sqlite:///{path}", str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        until = monotonic() + seconds
        with SQLitePersistence(path) as ours:
            while backing_up and monotonic() < until:
                ours.backup(path.with_name("ours.db"))
                _forget(path)
        said, _ = writer.communicate()
    check(writer.returncode, 0)
    return float(said)
