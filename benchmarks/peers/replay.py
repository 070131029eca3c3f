"""The bare driver inserts the rows of a side again, into the same tables in another file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.support.timing import timed


class Replay:
    """Copies new rows of a table of the side's file to the twin, a copy of the file.

    The twin's connection gets the settings of the side's own.
    """

    def __init__(self, side: Path, twin: Path, table: str, settings: Mapping[str, Any]) -> None:
        self._side = sqlite3.connect(side, isolation_level=None)
        self._twin = sqlite3.connect(twin, isolation_level=None)
        for name, value in settings.items():
            self._twin.execute(f"PRAGMA {name} = {value}").fetchall()
        # Without the columns that the database computes.
        columns = [row[1] for row in self._side.execute(f"PRAGMA table_info({table})")]
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        self._insert = f"INSERT INTO {table} ({names}) VALUES ({marks})"
        self._newer = f"SELECT {names} FROM {table} WHERE rowid > ? ORDER BY rowid"
        self._newest = f"SELECT max(rowid) FROM {table}"
        self._seen = self._last()
        self._rows: list[tuple[Any, ...]] = []

    def fetch(self) -> int:
        """Fetch the new rows since the last time; return their number."""
        self._rows = self._side.execute(self._newer, (self._seen,)).fetchall()
        self._seen = self._last()
        return len(self._rows)

    def _last(self) -> int:
        return self._side.execute(self._newest).fetchone()[0] or 0

    def insert(self, each: int) -> int:
        """Insert the fetched rows, `each` in a transaction; return the nanoseconds it takes."""
        if each == 1:
            return timed(partial(self._twin.execute, self._insert), self._rows)
        return timed(self._insert_batch, cut(self._rows, each))

    def _insert_batch(self, batch: Sequence[tuple[Any, ...]]) -> None:
        self._twin.execute("BEGIN IMMEDIATE")
        self._twin.executemany(self._insert, batch)
        self._twin.execute("COMMIT")

    def close(self) -> None:
        self._side.close()
        self._twin.close()


def cut(records: Sequence[Any], each: int) -> list[Sequence[Any]]:
    """Return the records in batches."""
    return [records[first : first + each] for first in range(0, len(records), each)]
