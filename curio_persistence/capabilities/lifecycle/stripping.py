"""Removes the texts of trees, and keeps their numbers, names, statuses and times."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from curio_persistence.capabilities.lifecycle.expiring import BATCH, Pace
from curio_persistence.capabilities.lifecycle.settings import Lease
from curio_persistence.capabilities.lifecycle.trees import Tree, unchanged
from curio_persistence.capabilities.search.indexing import Indexing
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Order
from curio_persistence.store.query import Position
from curio_persistence.store.table import Columns, Row, StoredValue, Table
from curio_persistence.tables import EVENTS, RUNS, USAGE

_BY_ID = (Order("id"),)


class Stripping:
    """Strips trees, a batch of rows in each transaction, the runs themselves last."""

    def __init__(self, store: Store, lease: Lease, pace: Pace) -> None:
        self._store = store
        self._lease = lease
        self._pace = pace
        self._indexing = Indexing(store)

    def strip(self, tree: Tree) -> bool:
        """Remove the texts of a tree; return False if the tree has changed meanwhile."""
        where = (Filter("run_id", "in", tuple(run.run_id for run in tree.runs)),)
        steps: tuple[tuple[Table[Any], Row], ...] = (
            (EVENTS, {}),
            (USAGE, {}),
            (RUNS, {"stripped": 1}),
        )
        for table, more in steps:
            after: Position | None = None
            size = BATCH
            while size == BATCH:
                columns = self._store.select(table, where, order=_BY_ID, after=after, limit=BATCH)
                ids = columns[table.names.index("id")]
                if ids and not self._strip_rows(tree, table, columns, more):
                    return False
                size, after = len(ids), (ids[-1],) if ids else None
        return True

    def _strip_rows(self, tree: Tree, table: Table[Any], columns: Columns, more: Row) -> bool:
        # Before the transaction, which other writers wait for.
        words = self._indexing.words(table, columns)
        groups: dict[tuple[StoredValue, ...], list[int]] = defaultdict(list)
        for row in table.rows(columns):
            changes = _without_content(table, row)
            if more or any(row.get(name) != value for name, value in changes.items()):
                groups[tuple(changes.values())].append(int(row["id"] or 0))
        with self._pace.step(), self._store.transaction():
            self._lease.renew()
            if not unchanged(self._store, [tree]):
                return False
            slots = self._indexing.remove(table, words)
            for values, ids in groups.items():
                of_these = (Filter("id", "in", tuple(ids)),)
                self._store.update(
                    table, of_these, dict(zip(table.content, values, strict=True)) | more
                )
            self._indexing.put_again(table, slots)
        return True


def _without_content(table: Table[Any], row: Row) -> Row:
    """Return what the columns with texts become."""
    stripped = dict(row)
    table.strip(stripped)
    return {name: stripped.get(name, default) for name, default in table.content.items()}
