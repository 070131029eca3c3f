"""A store that keeps nothing, for programs whose recording is switched off."""

from __future__ import annotations

from typing import Any

from curio_persistence.backends.memory.store import MemoryStore
from curio_persistence.store.filters import Where
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import CONTENT, EVENTS, RUNS, SPANS, USAGE

_DROPPED = (RUNS, EVENTS, USAGE, SPANS, CONTENT)


class NullStore(MemoryStore):
    """Accepts runs, events, model calls and spans, and forgets them; what is read is not there."""

    def insert(self, table: Table[Any], row: Row) -> int:
        return 0 if table in _DROPPED else super().insert(table, row)

    def update(
        self, table: Table[Any], where: Where, changes: Row, *, returning: tuple[str, ...] = ("id",)
    ) -> list[tuple[Any, ...]]:
        if table in _DROPPED:  # The run that is updated was accepted before.
            return [tuple(0 if name == "id" else changes.get(name) for name in returning)]
        return super().update(table, where, changes, returning=returning)
