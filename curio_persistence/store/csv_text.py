"""Rows as CSV: the form in which a database hands over most of them in the least time.

There is no header. Values are in kept form. Names and text stand between single quotes, doubled
where they contain them; numbers and times stand bare; what is NULL is a bare `NULL`, or nothing.
The columns of the order come last, so that the end of a piece tells where the next one begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from curio_persistence.store.filters import Order
from curio_persistence.store.tables import Columns, Kept, Table


@lru_cache
def csv_columns(table: Table[Any], order: tuple[Order, ...]) -> tuple[str, ...]:
    """The table's columns as they stand in a line."""
    last = tuple(column for column, _ in order)
    return tuple(name for name in table.names if name not in last) + last


def is_quoted(table: Table[Any], column: str) -> bool:
    """Whether a column's values stand between quotes."""
    return table.kinds[column] in ("name", "text")


def csv_text(table: Table[Any], order: tuple[Order, ...], columns: Columns) -> bytes:
    """Rows that were read column by column."""
    kept = dict(zip(table.names, columns, strict=True))
    cells = [
        _quoted(kept[name]) if is_quoted(table, name) else _bare(kept[name])
        for name in csv_columns(table, order)
    ]
    return "\n".join(map(",".join, zip(*cells, strict=True))).encode()


def _bare(column: Sequence[Kept]) -> list[str]:
    return ["" if value is None else str(value) for value in column]


def _quoted(column: Sequence[str | None]) -> list[str]:
    return ["NULL" if text is None else "'" + text.replace("'", "''") + "'" for text in column]


def position_at_end(text: bytes, order: tuple[Order, ...]) -> tuple[Kept, ...]:
    """Where the last row stands. The order's columns are never NULL and never quoted."""
    values = text.rstrip(b"\n").rsplit(b",", len(order))[1:]
    return tuple(int(value) if value.isdigit() else value.decode() for value in values)
