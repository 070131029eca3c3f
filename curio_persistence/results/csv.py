"""Rows as CSV, the form in which a database hands over the most rows in the least time.

Lines have no header. Values are in stored form. Names and text are quoted with single quotes, which
are doubled inside; numbers and times are bare; NULL is a bare `NULL`, or nothing. The columns of
the order come last, so that the end of a chunk tells where the next chunk begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

from curio_persistence.errors import InvalidValueError
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Order
from curio_persistence.store.query import STREAM_ROWS, Query
from curio_persistence.store.table import Columns, StoredValue, Table

_FIRST_ROWS = 1_000
_MOST_ROWS = 20_000
_BYTES = 8 << 20


@runtime_checkable
class StreamsCSV(Protocol):
    """A store whose database writes CSV itself."""

    def stream_csv(self, query: Query) -> Iterator[bytes]:
        """Yield the rows that `stream` yields, as CSV; no chunk is empty."""


def stream_csv(store: Store, query: Query) -> Iterator[bytes]:
    """Yield rows as CSV, written by the database where that can."""
    return store.stream_csv(query) if isinstance(store, StreamsCSV) else csv_of_rows(store, query)


def csv_of_rows(store: Store, query: Query) -> Iterator[bytes]:
    """Yield rows as CSV, written here."""
    for columns in store.stream_query(query, STREAM_ROWS):
        yield csv_text(query.table, query.order, columns)


@lru_cache
def csv_columns(table: Table[Any], order: tuple[Order, ...]) -> tuple[str, ...]:
    """Return the table's columns in the order of a CSV line."""
    last = tuple(column for column, _ in order)
    return tuple(name for name in table.names if name not in last) + last


def is_quoted(table: Table[Any], column: str) -> bool:
    """Return whether a column's values are quoted."""
    return table.kinds[column] in ("name", "text")


def csv_text(table: Table[Any], order: tuple[Order, ...], columns: Columns) -> bytes:
    """Return columns as CSV lines."""
    by_name = dict(zip(table.names, columns, strict=True))
    cells = [
        _quoted(by_name[name]) if is_quoted(table, name) else _bare(by_name[name])
        for name in csv_columns(table, order)
    ]
    return "\n".join(map(",".join, zip(*cells, strict=True))).encode()


def _bare(column: Sequence[StoredValue]) -> list[str]:
    return ["" if value is None else str(value) for value in column]


def _quoted(column: Sequence[str | None]) -> list[str]:
    return ["NULL" if text is None else "'" + text.replace("'", "''") + "'" for text in column]


def position_at_end(text: bytes, order: tuple[Order, ...]) -> tuple[StoredValue, ...]:
    """Return the position of the last row. The order's columns are never NULL and never quoted."""
    values = text.rstrip(b"\n").rsplit(b",", len(order))[1:]
    return tuple(int(value) if value.isdigit() else value.decode() for value in values)


def csv_in_pieces(read: Callable[[Query, int], tuple[bytes, int]], query: Query) -> Iterator[bytes]:
    """Yield chunks of bounded size, whatever the length of the rows.

    `read(query, count)` returns the CSV of the first `count` rows, or fewer, and their number.
    It may refuse a chunk of several rows as too long with InvalidValueError.
    """
    count = _FIRST_ROWS
    while True:
        try:
            text, rows = read(query, count)
        except InvalidValueError:
            if count == 1:
                raise
            count //= 2
            continue
        if rows:
            yield text
        if rows < count:
            return
        query = query.behind(position_at_end(text, query.order))
        count = max(1, min(_MOST_ROWS, rows * _BYTES // len(text)))
