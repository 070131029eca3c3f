"""Keeps a SQLite file's write-ahead log short, and does so seldom.

When a commit leaves more than so many pages in the log, SQLite copies them into the file (a
checkpoint), and the next commit begins the log anew, if nobody reads what is in it. Where readers
take turns somebody always does: left alone, the log then grows for ever.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from curio_persistence.backends.sql import health
from curio_persistence.store.base import Finding

PAGES = 8_000
"""After how many pages to make a checkpoint. SQLite's own choice is 1,000."""
SMALL = 1_000 * 4096
"""How many bytes of log a long job leaves behind each of its transactions, at most."""
LIMIT = PAGES * 4096 * 9 // 8
"""How many bytes the log may have: those pages, and what the last commit was beyond them."""
_CHANGES = 64
"""After how many changed rows to look how long it is: often enough for large ones."""
_PATIENCE = 250
"""How many milliseconds to wait for readers. Nobody can write meanwhile."""


def configure(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA wal_autocheckpoint = {PAGES}")
    # To which it is cut when it begins anew, after a reader or a large commit has made it longer.
    connection.execute(f"PRAGMA journal_size_limit = {LIMIT}")


class WriteAheadLog:
    """The log of one file."""

    def __init__(self, file: Path) -> None:
        # SQLite has it beside the file to which a link leads.
        self._path = f"{file.resolve()}-wal"
        self._tolerated = LIMIT
        self.next_look = 0
        """When the writer's `total_changes` comes to this, it is time for `look_after`."""

    def size(self) -> int:
        """Its length on the disk."""
        try:
            return os.stat(self._path).st_size  # a fifth of what a Path takes  # noqa: PTH116
        except OSError:
            return 0

    def look_after(self, writer: sqlite3.Connection) -> None:
        """Have it begun anew where it has become too long; between two transactions.

        No error comes out of this: what was to be written is committed.
        """
        self.next_look = writer.total_changes + _CHANGES
        size = self.size()
        if size > self._tolerated and not _begin_anew(writer):
            # A reader needs it, perhaps for hours. Each attempt in vain halves their frequency:
            # of several processes each would else stop all writers for a while at every few MB.
            self._tolerated = 2 * size
        elif size <= LIMIT:
            self._tolerated = LIMIT

    def finding(self) -> Finding:
        """What a check-up says of it."""
        size = self.size()
        if size <= 4 * LIMIT:
            return Finding("journal", "ok", f"write-ahead log, {health.size(size)}")
        return Finding(
            "journal",
            "warning",
            f"the write-ahead log has grown to {health.size(size)}: somebody reads for long",
            "End what reads this file, in other programs too; further writing then makes it short.",
        )


def _begin_anew(writer: sqlite3.Connection) -> bool:
    """Make a checkpoint and wait until nobody reads from the log; whether it came to that.

    Those who begin to read meanwhile are no hindrance: they find everything in the file.
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
