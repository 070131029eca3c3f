"""The tables that are replicated, with all columns that a replica has of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from curio_persistence.store.base import Store
from curio_persistence.store.change_feed import Range, conditions
from curio_persistence.store.filters import Filter, Order, Where
from curio_persistence.store.table import Columns, Table
from curio_persistence.tables import (
    AGENTS,
    APPROVALS,
    EVENTS,
    EXPIRED_TOTALS,
    RUNS,
    SCORES,
    SESSIONS,
    SNAPSHOTS,
    SOURCES,
    SPANS,
    TOMBSTONES,
    USAGE,
)

T = TypeVar("T")

_NOT_THERE = {"indexed_at", "content_scope"}
"""The columns that a replica lacks: it has no search index of ours, and all texts whole."""
_BELONGING_FIRST = (
    EVENTS,
    USAGE,
    SCORES,
    APPROVALS,
    SNAPSHOTS,
    SPANS,
    SOURCES,
    RUNS,
    SESSIONS,
    AGENTS,
    EXPIRED_TOTALS,
    TOMBSTONES,
)
FED: tuple[Table[Any], ...] = tuple(
    table.part(*table.names, *sorted(table.stored_names - {*table.names} - _NOT_THERE))
    for table in _BELONGING_FIRST
)
"""Rows of runs are read before the runs, so that a replica has the run of each row."""
BY_NAME = {table.name: table for table in FED}

_BY_ID = (Order("id"),)
_READ = 1_000


def ids_of(table: Table[Any], columns: Columns) -> list[int]:
    """Return the ids of rows."""
    return list(columns[table.names.index("id")])


def rows_in(store: Store, table: Table[Any], ranges: Collection[Range]) -> Columns:
    """Return the rows whose ids are in some ranges."""
    return joined(
        table, (part for where in conditions(ranges) for part in _read(store, table, where))
    )


def _read(store: Store, table: Table[Any], where: Where) -> Iterator[Columns]:
    after = None
    while True:
        columns = store.select(table, where, order=_BY_ID, after=after, limit=_READ)
        ids = ids_of(table, columns)
        yield columns
        if len(ids) < _READ:
            return
        after = (ids[-1],)


def joined(table: Table[Any], parts: Iterator[Columns]) -> Columns:
    """Return the rows of several reads."""
    whole: list[list[Any]] = [[] for _ in table.names]
    for part in parts:
        for column, values in zip(whole, part, strict=True):
            column.extend(values)
    return list(whole)


def ranges_of(ids: Collection[int]) -> tuple[Range, ...]:
    """Return ids as ranges."""
    ranges: list[Range] = []
    for ident in sorted(ids):
        if ranges and ranges[-1][1] == ident:
            ranges[-1] = (ranges[-1][0], ident + 1)
        else:
            ranges.append((ident, ident + 1))
    return tuple(ranges)


def parts(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield values in lists of at most a size."""
    each = iter(values)
    while some := list(islice(each, size)):
        yield some


def ids_with(store: Store, table: Table[Any], column: str, values: Sequence[Any]) -> set[int]:
    """Return the ids of the rows that have one of these values."""
    return {ident for (ident,) in rows_with(store, table, ("id",), column, values)}


def rows_with(
    store: Store, table: Table[Any], names: tuple[str, ...], column: str, values: Sequence[Any]
) -> Iterator[tuple[Any, ...]]:
    """Yield some columns of the rows that have one of these values."""
    for some in parts(values, _READ):
        yield from store.select_columns(table, names, (Filter(column, "in", tuple(some)),))


def stored_of(store: Store, table: Table[Any], ids: Collection[int]) -> set[int]:
    """Return those of some ids that rows have."""
    found = (store.select_columns(table, ("id",), where) for where in conditions(ranges_of(ids)))
    return {ident for part in found for (ident,) in part}
