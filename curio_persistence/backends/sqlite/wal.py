"""Keep a SQLite file's write-ahead log short, with little work.

When a commit leaves more than a number of pages in the log, SQLite copies them into the file (a
checkpoint). The next commit then restarts the log, if no connection reads from it. With readers
that take turns one always does: left alone, the log then grows for ever.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from curio_persistence.backends.sql import health
from curio_persistence.store.base import HealthCheck

PAGES = 8_000
"""After how many pages to make a checkpoint. SQLite's own choice is 1,000."""
SMALL = 1_000 * 4096
"""The most bytes of log that a long job leaves behind each of its transactions."""
CHANGES_OF_JOBS = 4_000
"""The rows that a long job changes between two checkpoints of its own."""
LIMIT = PAGES * 4096 * 9 // 8
"""The bytes that the log may have: those pages, and the rest of the last commit."""
_CHANGES = 64
"""After how many changed rows to look how long it is: often enough for large ones."""
_REMARKABLE = 4
"""From how many times that length on the user is told."""
_ADVICE = (
    "End that reader, or let it read with snapshot=False; further writing then makes the log short."
)
_PATIENCE = 250
"""The milliseconds to wait for readers. All writers wait meanwhile."""


def configure(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA wal_autocheckpoint = {PAGES}")
    # SQLite truncates it to this size at a restart, after a reader or a large commit.
    connection.execute(f"PRAGMA journal_size_limit = {LIMIT}")


def length(path: str) -> int:
    """Return the bytes of a file; 0 if it does not exist."""
    try:
        return os.stat(path).st_size  # a fifth of what a Path takes  # noqa: PTH116
    except OSError:
        return 0


class WriteAheadLog:
    """The log of one file; `oldest_snapshot` tells which reader of this process needs it most."""

    def __init__(self, file: Path, oldest_snapshot: Callable[[], str]) -> None:
        self._oldest_snapshot = oldest_snapshot
        # SQLite puts it beside the target of a symbolic link.
        self._path = f"{file.resolve()}-wal"
        self._tolerated = LIMIT
        self._warned = False
        self.next_look = 0
        """When the writer's `total_changes` comes to this, it is time for `look_after`."""

    def size(self) -> int:
        """Return its length on the disk."""
        return length(self._path)

    def look_after(self, writer: sqlite3.Connection) -> None:
        """Restart a log that is too long, between two transactions.

        This never raises: the write before is committed.
        """
        self.next_look = writer.total_changes + _CHANGES
        size = self.size()
        if size > self._tolerated and not _begin_anew(writer):
            # A reader needs it, perhaps for hours. Each attempt in vain halves their frequency:
            # of several processes each would else stop all writers for a while at every few MB.
            self._tolerated = 2 * size
            self._warn_once(size)
        elif size <= LIMIT:
            self._tolerated, self._warned = LIMIT, False

    def _warn_once(self, size: int) -> None:
        """Log that the log grows, once until it is short again."""
        if size <= _REMARKABLE * LIMIT or self._warned:
            return
        self._warned = True
        import logging  # Imported here: the import takes longer than that of this package.

        logger = logging.getLogger("curio_persistence")
        logger.warning("%s: %s. %s", self._path, self._grown(size), _ADVICE)

    def _grown(self, size: int) -> str:
        held = self._oldest_snapshot()
        holder = f"a snapshot held {held}" if held else "a reader in another process, or a query"
        return f"the write-ahead log has grown to {health.size(size)} because of {holder}"

    def check(self) -> HealthCheck:
        """Check the size of the log."""
        size = self.size()
        if size <= _REMARKABLE * LIMIT:
            return HealthCheck("journal", "ok", f"write-ahead log, {health.size(size)}")
        return HealthCheck("journal", "warning", self._grown(size), _ADVICE)


def _begin_anew(writer: sqlite3.Connection) -> bool:
    """Make a checkpoint and wait until no connection reads from the log; return True on success.

    New readers do not delay it: they find everything in the file.
    """
    [(patience,)] = writer.execute("PRAGMA busy_timeout")
    writer.execute(f"PRAGMA busy_timeout = {_PATIENCE}")
    try:
        [(busy, _, _)] = writer.execute("PRAGMA wal_checkpoint(RESTART)")
        return not busy
    except sqlite3.Error:
        return False
    finally:
        writer.execute(f"PRAGMA busy_timeout = {patience}")
