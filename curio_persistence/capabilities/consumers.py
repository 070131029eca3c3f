"""Consumers: programs that apply each new row of a table once, and continue after a kill."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from curio_persistence.clock import utc_now
from curio_persistence.store.base import Store
from curio_persistence.store.change_feed import BATCH, START, Changes, Watermark, read_changes
from curio_persistence.store.table import Record, Table
from curio_persistence.tables import CONSUMERS
from curio_persistence.tables.consumers import position_row

M = TypeVar("M", bound=Record)
T = TypeVar("T")


class Consumer(Generic[M]):
    """A named reader of a table's change feed, its watermark stored in the same database.

    The watermark is committed with what was applied, so a consumer that was killed
    continues without loss or repetition. Processes that run the same consumer take turns.
    """

    def __init__(self, store: Store, name: str, table: Table[M]) -> None:
        self._store = store
        self._name = name
        self._table = table
        self._where = CONSUMERS.where(name=name, table_name=table.name)

    def watermark(self) -> Watermark:
        """Return the stored watermark; the one before the first row for a new consumer."""
        at = CONSUMERS.names.index("watermark")
        [*stored] = self._store.select(CONSUMERS, self._where)[at]
        return Watermark.parse(stored[0]) if stored else START

    def skip_to(self, watermark: Watermark) -> None:
        """Continue from another watermark: `START`, or `watermark_now` for the end."""
        with self._store.transaction():
            self._store.advisory_lock(self._purpose)
            self._put(watermark)

    def run(self, apply: Callable[[list[M]], object], *, limit: int = BATCH) -> int:
        """Apply the next rows, and return how many; 0 also while another process applies them."""
        return self.run_prepared(lambda records: records, apply, limit=limit)

    def run_prepared(
        self,
        prepare: Callable[[list[M]], T],
        apply: Callable[[T], object],
        *,
        limit: int = BATCH,
    ) -> int:
        """Run like `run`, but `apply` gets the result of `prepare`, outside the transaction."""
        changes = self.read(limit=limit)
        prepared = prepare(self._table.decode(changes.columns)) if len(changes) else None
        with self._store.transaction():
            if not self.advance(changes):
                return 0
            if prepared is not None:
                apply(prepared)
        return len(changes)

    def read(self, *, limit: int = BATCH) -> Changes:
        """Return the next rows, without any lock."""
        return read_changes(self._store, self._table, since=self.watermark(), limit=limit)

    def advance(self, changes: Changes) -> bool:
        """Store the watermark behind the rows that were read, inside a transaction.

        Return False if another process has applied these rows, or is about to.
        """
        if changes.watermark == changes.since:
            return True
        if not self._store.try_advisory_lock(self._purpose) or self.watermark() != changes.since:
            return False
        self._put(changes.watermark)
        return True

    @property
    def _purpose(self) -> str:
        return f"consumer {self._name} of {self._table.name}"

    def _put(self, watermark: Watermark) -> None:
        row = position_row(self._name, self._table.name, watermark.text(), utc_now())
        self._store.upsert(
            CONSUMERS,
            [row],
            key=("name", "table_name"),
            update=("watermark", "updated_at"),
        )
