"""Measure the empty part of a SQLite file, and return it to the disk."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

from curio_persistence.backends.sql import health
from curio_persistence.store.base import Finding

_WORTH_IT = 10_000_000
"""The empty bytes worth a warning, if they are half of the file or more."""
_INCREMENTAL = 2


class Room(NamedTuple):
    """The numbers of a file's pages."""

    page_size: int
    pages: int
    free: int
    auto_vacuum: int

    @property
    def size(self) -> int:
        return self.page_size * self.pages

    def finding(self, path: Path) -> Finding:
        """Return the finding of a check-up. SQLite reuses empty pages before the file grows."""
        empty = self.page_size * self.free
        said = f"{health.size(self.size)}, of them {health.size(empty)} empty"
        if empty < _WORTH_IT or 2 * self.free < self.pages:
            return Finding("space", "ok", said)
        how = "PRAGMA incremental_vacuum" if self.auto_vacuum == _INCREMENTAL else "VACUUM"
        return Finding(
            "space",
            "warning",
            said,
            "What is written next fills it. To give it back to the disk instead: "
            f"sqlite3 {shlex.quote(str(path))} '{how}'",
        )
