"""The rows that a caller asks for, as one value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from curio_persistence.store.filters import Order, Where, beyond
from curio_persistence.store.table import Columns, StoredValue, Table

Position = tuple[StoredValue, ...]
"""A row's place in an order: its values of the order's columns."""


STREAM_ROWS = 400
"""Rows per query of a stream: as many as stay in a processor's cache."""


class Query(NamedTuple):
    """The rows of a table that match, in an order, behind a position if there is one."""

    table: Table[Any]
    where: Where
    order: tuple[Order, ...]
    after: Position | None = None

    def behind(self, after: Position | None) -> Query:
        """Return the query for those of its rows that follow a position."""
        return query_of(self.table, self.where, self.order, after)

    def last_of(self, columns: Columns) -> Position:
        """Return the position of the last of some of its rows."""
        return position_of_last(self.table, self.order, columns)


def query_of(
    table: Table[Any],
    where: Where = (),
    order: tuple[Order, ...] | None = None,
    after: Position | None = None,
) -> Query:
    """Return the query for rows in the given order, or else in the table's."""
    order = table.order if order is None else order
    # Of a window's end and a position SQLite takes one to begin at, and it takes the window's:
    # a far page would pass by all the rows before it.
    return Query(table, beyond(where, order, after), order, after)


ReadRows = Callable[[Query, int], Iterator[Columns]]
"""Yields the rows of a query, at most so many at a time."""


def position_of_last(table: Table[Any], order: tuple[Order, ...], columns: Columns) -> Position:
    """Return the position of the last of some rows."""
    return tuple(columns[table.names.index(column)][-1] for column, _ in order)
