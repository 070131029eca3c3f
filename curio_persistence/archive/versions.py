"""Which of the rows count, of a run that is in an archive more than once.

A run that was restored and archived again has two versions, told apart by the id of its row. A
version may be in several batches, which share rows: the run was copied, or changed while it was
archived. Of a row that changed, the one that was updated last counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from curio_persistence.archive.delta_log import ArchivedFile
from curio_persistence.store.table import Table
from curio_persistence.tables import RUNS


class Stored(NamedTuple):
    """A row, the time of its update (None if rows of its table never change), and its file."""

    run_id: str
    row_id: int
    updated_at: Any
    file: ArchivedFile


class Versions:
    """The last versions of the runs that are in an archive more than once."""

    def __init__(self, runs: Iterable[Stored] = ()) -> None:
        """Take all rows of these runs, in the order in which they were committed."""
        rows = list(runs)
        self._last: dict[str, int] = {}
        for row in rows:
            self._last[row.run_id] = max(row.row_id, self._last.get(row.run_id, 0))
        self._batches: dict[str, frozenset[str]] = {}
        for run_id, row_id, _, file in rows:
            if row_id == self._last[run_id]:
                self._batches[run_id] = file.batches | self._batches.get(run_id, frozenset())
        self._newest: dict[tuple[str, int], Stored] = {}
        self.add(RUNS, (row for row in rows if row.row_id == self._last[row.run_id]))

    def add(self, table: Table[Any], rows: Iterable[Stored]) -> None:
        """Add rows of these runs in another table, whose rows are changed."""
        for row in rows:
            known = self._newest.get((table.name, row.row_id), row)
            if self._is_of_last(row.run_id, row.file) and row.updated_at >= known.updated_at:
                self._newest[table.name, row.row_id] = row

    def __bool__(self) -> bool:
        return bool(self._last)

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The ids of these runs."""
        return tuple(self._last)

    def counts(
        self, table: Table[Any], run_id: str, row_id: int, file: ArchivedFile, seen: set[int]
    ) -> bool:
        """Return whether a row counts; `seen` has the ids of those of the table that did."""
        if run_id not in self._last:
            return True
        if "updated_at" in table.names:
            newest = self._newest.get((table.name, row_id))
            return newest is not None and newest.file == file
        if row_id in seen or not self._is_of_last(run_id, file):
            return False
        seen.add(row_id)
        return True

    def _is_of_last(self, run_id: str, file: ArchivedFile) -> bool:
        return not file.batches.isdisjoint(self._batches[run_id])
