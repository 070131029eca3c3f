"""Which rows were stored since somebody began to look, each told once, those that come late too.

Ids are given out when a row is written, and rows are seen when they are committed. Where several
transactions write at a time, a smaller id may thus be seen after a larger one. So the place from
which ids are read again moves past a missing one only when all transactions have ended that ran
while it was missing. One that was rolled back leaves it missing for ever, and is waited for no
longer than any other.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from curio_persistence.store.base import Store
from curio_persistence.store.filters import COUNT, Filter, Order
from curio_persistence.store.table import Table

_LOOK_BACK = 10_000
"""How many ids are read again where none is waited for: so many of the newest rows may be deleted
and their ids be used again, or be without a row yet when the first look is taken."""

Key = tuple[Any, ...]
"""What tells a row from all others, those that had its id before among them; the id comes first."""


class _Mark(NamedTuple):
    """The largest id at some moment, and who might still have stored rows with smaller ones."""

    newest: int
    running: frozenset[str]


class Arrivals:
    """The rows of a table that are stored from now on."""

    def __init__(self, store: Store, table: Table[Any]) -> None:
        self._store = store
        self._table = table
        self._key = ("id", "created_at") if store.ids_come_back else ("id",)
        newest = store.select(table, order=(Order("id", descending=True),), limit=1)
        last = next(iter(newest[table.names.index("id")]), 0)
        self._first = max(last - _LOOK_BACK, 0)
        self._known: set[Key] = set()
        self._mark: _Mark | None = None
        self.ids()

    def were_there(self, ident: int) -> bool:
        """Whether the row with this id was seen, or is older than what is looked at."""
        return ident < self._first or any(key[0] == ident for key in self._known)

    def ids(self) -> list[int]:
        """The ids of the rows that came since the last call, in order."""
        running = self._store.running()  # First: who has ended has committed what will be read.
        keys = self._read()
        new = sorted(key[0] for key in keys - self._known)
        newest = max((key[0] for key in keys), default=self._first)
        if self._mark and not self._mark.running & running:
            self._first = max(self._first, self._mark.newest - _LOOK_BACK)
            self._mark = None
        self._mark = self._mark or _Mark(newest, self._store.running())
        self._known = {key for key in keys if key[0] >= self._first}
        return new

    def _read(self) -> set[Key]:
        where = (Filter("id", ">=", self._first),)
        rows = self._store.aggregate(self._table, (COUNT,), where, group_by=self._key)
        return {row[:-1] for row in rows}
