"""The lines of the tables that tell what has changed: changes, tombstones, and the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from curio_persistence.backends.clickhouse.sink import Noted, Sink
from curio_persistence.store.base import Store
from curio_persistence.store.change_feed import Watermark, read_changes, watermark_now
from curio_persistence.store.filters import Measure
from curio_persistence.store.table import Table

_LINES = 10_000
_NEVER_DELETED = 1_000
"""The first changes are never deleted alone, but ids of rolled-back ones may be missing."""


class Lines:
    """The new rows of a table that tells of changes, from the first replication on."""

    def __init__(self, store: Store, sink: Sink, table: Table[Any]) -> None:
        self._store = store
        self._sink = sink
        self._table = table
        self._name = f"lines {table.name}"
        self._mark = self._written = sink.noted(self._name).mark

    def begin(self) -> dict[str, Noted]:
        """Return the position behind what is there, if this is the first replication."""
        if self._mark:
            return {}
        self._mark = self._written = watermark_now(self._store, self._table).text()
        return {self._name: Noted(self._mark)}

    @property
    def upto(self) -> int:
        """The id of the newest line that was read; 0 before the first replication."""
        return Watermark.parse(self._mark).upto if self._mark else 0

    def read(self) -> Iterator[list[dict[str, Any]]]:
        """Yield the next lines. Those that were yielded are noted when the next ones are wanted."""
        while True:
            since = Watermark.parse(self._mark)
            changes = read_changes(self._store, self._table, since=since, limit=_LINES)
            if len(changes):
                names = self._table.names
                yield [
                    dict(zip(names, row, strict=True)) for row in zip(*changes.columns, strict=True)
                ]
            self._mark = changes.watermark.text()
            if self._mark != self._written:
                self._sink.note({self._name: Noted(self._mark)})
                self._written = self._mark
            if not changes.more:
                return

    def are_lost(self) -> bool:
        """Return whether lines were deleted that were not read."""
        [(oldest,)] = self._store.aggregate(self._table, (Measure("min", "id"),))
        return (oldest or 0) > max(self.upto + 1, _NEVER_DELETED)

    def skip(self) -> None:
        """Go on behind what is there, which is noted when lines are read the next time."""
        self._mark = watermark_now(self._store, self._table).text()
