"""Find payloads that match a pattern: ClickHouse finds those that may, and `payload_match` decides.

ClickHouse has no function of ours, and its own functions of JSON answer otherwise in the details.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Any

from curio_persistence.backends.clickhouse.ddl import REPLICATED
from curio_persistence.backends.clickhouse.statements import ClickHouseStatements
from curio_persistence.backends.sql.statements import Rows
from curio_persistence.store.filters import Filter, GroupKey, Measure, Order, Select, Where
from curio_persistence.store.payload_match import contains
from curio_persistence.store.query import STREAM_ROWS, Query
from curio_persistence.store.table import Columns, Table

_FEWEST, _MOST = 100, 10_000
"""The rows that are looked at at a time."""
_TABLES = {table.name: table for table in REPLICATED}
_BY_ID = (Order("id"),)


class ClickHousePayloads(ClickHouseStatements):
    """The part of a replica that decides about payloads."""

    def select_query(self, query: Query, limit: int | None, offset: int) -> Columns:
        patterns, query = self._apart(query)
        if not patterns:
            return super().select_query(query, limit, offset)
        end = None if limit is None else offset + limit
        found: Columns = [[] for _ in query.table.names]
        for columns in self._looked_through(query, patterns, end):
            for values, more in zip(found, columns, strict=True):
                values.extend(more)  # type: ignore[attr-defined]  # A list of ours.
            if end is not None and len(found[0]) >= end:
                break
        return [values[offset:end] for values in found]

    def stream_query(self, query: Query, size: int) -> Iterator[Columns]:
        patterns, query = self._apart(query)
        if not patterns:
            return super().stream_query(query, size)
        wide = _with_columns(query, patterns)
        blocks = super().stream_query(wide, size)
        found = (_matching(wide.table, block, patterns) for block in blocks)
        width = len(query.table.names)
        return (columns[:width] for columns in found if columns[0])

    def _looked_through(
        self, query: Query, patterns: Where, wanted: int | None
    ) -> Iterator[Columns]:
        """Yield the rows of a query that match, in its order, some of them at a time."""
        width, query = len(query.table.names), _with_columns(query, patterns)
        size = _MOST if wanted is None else min(max(4 * wanted, _FEWEST), _MOST)
        while True:
            columns = super().select_query(query, size, 0)
            yield _matching(query.table, columns, patterns)[:width]
            if len(columns[0]) < size:
                return
            query, size = query.behind(query.last_of(columns)), min(2 * size, _MOST)

    # --- numbers ------------------------------------------------------------------------------

    def select_columns(
        self,
        table: Table[Any],
        columns: tuple[GroupKey, ...],
        where: Where = (),
        limit: int | None = None,
    ) -> Rows:
        return super().select_columns(table, columns, self._decided(table, where), limit)

    def aggregate(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where = (),
        *,
        group_by: tuple[GroupKey, ...] = (),
    ) -> Rows:
        where = self._decided(table, where)
        return super().aggregate(table, measures, where, group_by=group_by)

    def sizes(self, table: Table[Any], where: Where = ()) -> dict[str | None, tuple[int, int]]:
        return super().sizes(table, self._decided(table, where))

    # --- patterns -----------------------------------------------------------------------------

    def _apart(self, query: Query) -> tuple[Where, Query]:
        """Return the patterns of a query, and the query with first tests in place of them."""
        patterns = tuple(f for f in query.where if f.op == "contains")
        others = tuple(f for f in query.where if f.op != "contains")
        tests = tuple(f._replace(op="may contain") for f in patterns)
        where = (*self._decided(query.table, others), *tests)
        return patterns, query._replace(where=where)

    def _decided(self, table: Table[Any], where: Where) -> Where:
        """Return the filters with the ids of matching rows in place of patterns."""
        patterns = tuple(f for f in where if f.op == "contains")
        others = tuple(self._without_patterns(table, f) for f in where if f.op != "contains")
        if not patterns:
            return others
        query = Query(_TABLES[table.name].part("id"), (*others, *patterns), _BY_ID)
        ids = [ident for columns in self.stream_query(query, STREAM_ROWS) for ident in columns[0]]
        return (*others, Filter("id", "in", tuple(ids)))

    def _without_patterns(self, table: Table[Any], f: Filter) -> Filter:
        if isinstance(f.value, Select):
            inner = self._decided(f.value.table, f.value.where)
            return f._replace(value=Select(f.value.table, f.value.column, inner))
        if f.op == "any":
            return f._replace(value=tuple(self._decided(table, each) for each in f.value))
        return f


def _with_columns(query: Query, patterns: Where) -> Query:
    """Return the query for rows with the columns of the patterns, and of its order, as well."""
    names = query.table.names
    more = dict.fromkeys([*(f.column for f in patterns), *(o.column for o in query.order)])
    # Of a part of a table no other part is made.
    wide = _TABLES[query.table.name].part(*names, *(name for name in more if name not in names))
    return query._replace(table=wide)


def _matching(table: Table[Any], columns: Columns, patterns: Where) -> Columns:
    """Return the rows whose payloads match all patterns."""
    if not columns[0]:
        return columns
    keep = [True] * len(columns[0])
    for f in patterns:
        stored: Sequence[Any] = columns[table.names.index(f.column)]
        keep = [
            kept and text is not None and contains(text, f.value)
            for kept, text in zip(keep, stored, strict=True)
        ]
    return [list(compress(column, keep)) for column in columns]
