"""The rows of one table in memory, and their order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import chain, count
from operator import gt, itemgetter, lt
from typing import Any

from curio_persistence.store.filters import Filter, Where, matches
from curio_persistence.store.query import Query
from curio_persistence.store.table import Columns, Row, Table
from curio_persistence.tables import ALL_TABLES


class Rows:
    """One table's rows by id, and for each of its lookup columns the ids by value.

    Each change can be repeated, as a rollback does after an interrupt.
    """

    def __init__(self, table: Table[Any]) -> None:
        self.by_id: dict[int, Row] = {}
        self.lookups: dict[str, dict[Any, dict[int, None]]] = {
            column: defaultdict(dict) for column in table.lookups
        }
        self.ids = count(1)

    def put(self, ident: int, row: Row) -> None:
        self.by_id[ident] = row
        for column, ids in self.lookups.items():
            if (value := row.get(column)) is not None:
                ids[value][ident] = None

    def remove(self, ident: int, row: Row) -> None:
        for column, lookup in self.lookups.items():
            ids = lookup.get(row.get(column))
            if ids is not None:
                ids.pop(ident, None)
                if not ids:
                    lookup.pop(row[column], None)
        self.by_id.pop(ident, None)

    def replace(self, ident: int, before: Row, after: Row) -> None:
        self.remove(ident, before)
        self.put(ident, after)

    def contains(self, column: str, value: Any) -> bool:
        return bool(self.lookups[column].get(value))

    def having(self, key: tuple[str, ...], row: Row) -> list[int]:
        """Return the ids of rows with the same values in a unique key; NULL equals nothing."""
        if None in map(row.get, key):
            return []
        return self.matching(tuple(Filter(name, "=", row[name]) for name in key))

    def matching(self, where: Where) -> list[int]:
        """Return the ids of matching rows, found by the best lookup that a filter allows."""
        candidates: list[Any] = [self.by_id]
        for column, op, value, _ in where:
            if op in ("=", "in") and column in self.lookups:
                ids = self.lookups[column]
                wanted = (value,) if op == "=" else dict.fromkeys(value)
                found = [ids[each] for each in wanted if each in ids]
                candidates = min(candidates, found, key=lambda some: sum(map(len, some)))
        some = chain.from_iterable(candidates)
        return [ident for ident in some if matches(self.by_id[ident], where)]


def no_rows() -> dict[str, Rows]:
    return {table.name: Rows(table) for table in ALL_TABLES}


def in_order(rows: list[Row], query: Query) -> list[Row]:
    """Return the rows that come after a query's position, in its order."""
    _, _, order, after = query
    if after is not None:
        beyond: Any = lt if order[0].descending else gt
        names = [column for column, _ in order]
        rows = [row for row in rows if beyond(tuple(map(row.__getitem__, names)), after)]
    for column, descending in reversed(order):
        rows.sort(key=itemgetter(column), reverse=descending)
    return rows


def columns_of(table: Table[Any], rows: list[Row]) -> Columns:
    """Return the columns of rows, in the order of `table.names`."""
    return [[row.get(name) for row in rows] for name in table.names]


def in_chunks(table: Table[Any], rows: list[Row], size: int) -> Iterator[Columns]:
    """Yield the columns of `size` rows at a time."""
    for first in range(0, len(rows), size):
        yield columns_of(table, rows[first : first + size])
