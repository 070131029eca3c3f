"""Removes the texts of trees, and keeps their numbers, names, statuses and times."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from curio_persistence.capabilities.deletions import audit
from curio_persistence.capabilities.lifecycle.expiring import BATCH, Steps
from curio_persistence.capabilities.lifecycle.trees import Forest, Tree
from curio_persistence.capabilities.search.documents import NUMBERS
from curio_persistence.capabilities.search.indexing import Indexing
from curio_persistence.clock import Clock
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter
from curio_persistence.store.query import Position, position_of_last
from curio_persistence.store.table import Columns, Row, StoredValue, Table
from curio_persistence.tables import RUNS, TABLES_OF_RUNS


class Stripping:
    """Strips trees, a batch of rows in each transaction.

    A run gets its mark after all that belongs to it was stripped, the root of a tree last.
    """

    def __init__(self, store: Store, clock: Clock, forest: Forest, steps: Steps) -> None:
        self._store = store
        self._clock = clock
        self._forest = forest
        self._steps = steps
        self._indexing = Indexing(store)

    def strip(self, tree: Tree) -> bool:
        """Remove the texts of a tree; return False if it has changed, and is left as it is."""
        for run in reversed(tree.runs):
            for table in reversed(TABLES_OF_RUNS):
                if not self._strip_rows_of(run.run_id, tree, table):
                    return False
        return True

    def _strip_rows_of(self, run_id: str, tree: Tree, table: Table[Any]) -> bool:
        where = table.where(run_id=run_id)
        after: Position | None = None
        while True:
            columns = self._store.select(table, where, after=after, limit=BATCH)
            size = len(columns[0])
            if size and not self._strip_rows(run_id, tree, table, columns):
                return False
            if size < BATCH:
                return True
            after = position_of_last(table, table.order, columns)

    def _strip_rows(self, run_id: str, tree: Tree, table: Table[Any], columns: Columns) -> bool:
        is_indexed = table in NUMBERS
        # Before the transaction, which other writers wait for.
        words = self._indexing.words(table, columns) if is_indexed else {}
        rows = table.rows(columns)
        with self._steps.transaction():
            if not self._forest.confirmed([tree]):
                return False
            groups = self._changes(table, self._as_read(table, rows))
            slots = self._indexing.remove(table, words) if is_indexed else {}
            for values, ids in groups.items():
                changes: Row = dict(zip(table.content, values, strict=True))
                if table is RUNS:
                    changes["stripped"] = 1
                self._store.update(table, (Filter("id", "in", tuple(ids)),), changes)
            if is_indexed:
                self._indexing.put_again(table, slots)
            if groups:
                about = {"table": table.name, "rows": sum(map(len, groups.values()))}
                audit(self._store, self._clock, "redact", run_id, "run", run_id, **about)
        return True

    def _as_read(self, table: Table[Any], rows: list[Row]) -> list[Row]:
        """Return the rows that no program has updated since they were read."""
        if "updated_at" not in table.names:
            return rows
        ids = (Filter("id", "in", tuple(row["id"] for row in rows)),)
        now = set(self._store.select_columns(table, ("id", "updated_at"), ids))
        return [row for row in rows if (row["id"], row["updated_at"]) in now]

    def _changes(
        self, table: Table[Any], rows: list[Row]
    ) -> dict[tuple[StoredValue, ...], list[int]]:
        """Return the ids of rows by what their columns with content become."""
        groups: dict[tuple[StoredValue, ...], list[int]] = defaultdict(list)
        for row in rows:
            stripped = dict(row)
            table.strip(stripped)
            changes = {name: stripped.get(name, each) for name, each in table.content.items()}
            if table is RUNS or any(row.get(name) != new for name, new in changes.items()):
                groups[tuple(changes.values())].append(int(row["id"] or 0))
        return groups


def with_content(forest: Forest) -> Iterator[Tree]:
    """Yield the expired trees that have a run with its texts, each once."""
    seen: set[int] = set()
    for tree in forest.expired((Filter("stripped", "is null"),), climb=True):
        if tree.root.id not in seen:  # Several of its runs may lead to it.
            seen.add(tree.root.id)
            yield tree
