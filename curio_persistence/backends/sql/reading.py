"""Answer questions by SQL: rows in order, and numbers of groups of rows."""

from __future__ import annotations

from abc import abstractmethod
from functools import cache, partial
from itertools import accumulate, pairwise
from typing import Any

from curio_persistence.backends.sql.aggregates import Expressions, OutOfRange
from curio_persistence.backends.sql.statements import (
    Params,
    Rows,
    SQLStatements,
    columns_of,
    shape,
    shape_of,
)
from curio_persistence.errors import InvalidValueError
from curio_persistence.store.aggregates import aggregate_rows
from curio_persistence.store.filters import (
    COUNT,
    Bucket,
    Filter,
    GroupKey,
    Measure,
    Select,
    Spans,
    Where,
    column_of,
)
from curio_persistence.store.query import Query
from curio_persistence.store.table import Columns, Table


class SQLReading(SQLStatements):
    """The part of a store that reads."""

    def __init__(self) -> None:
        SQLStatements.__init__(self)  # Not that of what a subclass adds.
        self._empty: dict[Table[Any], tuple[str, ...]] = {}

    @abstractmethod
    def _read(self, sql: str, params: Params) -> Rows:
        """Return all rows of a reading statement."""

    def select_query(self, query: Query, limit: int | None, offset: int) -> Columns:
        page = (self._no_limit if limit is None else limit, offset)
        empty = self._empty.get(query.table, query.table.optional)
        columns = self._read_page(query, page, empty)
        if columns is None:
            columns = self._read_page(query, page) or []
            self._learn_filled(query.table, empty, columns)
        return columns

    def _read_page(self, query: Query, page: Params, empty: tuple[str, ...] = ()) -> Columns | None:
        sql = self._text(self._page_text, shape_of(query), empty)
        return columns_of(query, self._read(sql, self._params(query) + page), empty)

    def _learn_filled(self, table: Table[Any], empty: tuple[str, ...], columns: Columns) -> None:
        """Fetch from now on also the columns in which these rows have values."""
        values = dict(zip(table.names, columns, strict=True))
        self._empty[table] = tuple(
            name for name in empty if {*values[name]} <= {table.filled.get(name)}
        )

    def select_columns(
        self,
        table: Table[Any],
        columns: tuple[GroupKey, ...],
        where: Where = (),
        limit: int | None = None,
    ) -> Rows:
        sql = self._text(self._columns_text, table, columns, shape(where), limit is not None)
        params = self._values(where) + (() if limit is None else (limit,))
        return self._with_starts(columns, self._read(sql, params))

    def sizes(self, table: Table[Any], where: Where = ()) -> dict[str | None, tuple[int, int]]:
        sql = self._text(self._sizes_text, table, shape(where))
        rows = self._read(sql, self._values(where))
        return {run_id: (count, int(octets)) for run_id, count, octets in rows}

    def aggregate(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where = (),
        *,
        group_by: tuple[GroupKey, ...] = (),
    ) -> Rows:
        try:
            if group_by and isinstance(group_by[0], Spans):
                return self._aggregate_spans(table, measures, where, group_by[0], group_by[1:])
            sql = self._text(self._aggregate_text, table, measures, shape(where), group_by)
            rows = self._read(sql, self._values(where))
            combined = _combined(rows, len(group_by), self._asked(table, measures))
        except (InvalidValueError, OutOfRange):  # The database cannot add these numbers.
            return self._aggregate_in_python(table, measures, where, group_by)
        return self._with_starts(group_by, combined)

    def _asked(self, table: Table[Any], measures: tuple[Measure, ...]) -> list[Expressions]:
        return [self._measuring(table, measure) for measure in measures]

    def _aggregate_spans(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where,
        spans: Spans,
        group_by: tuple[GroupKey, ...],
    ) -> Rows:
        """Return the groups of each span, whose rows an index finds: they need not be sorted."""
        if any(isinstance(f.value, Select) for f in where):  # It would run once for each span.
            return self._aggregate_in_python(table, measures, where, (spans, *group_by))
        measures = (COUNT, *measures)
        rows = self._read_spans(table, measures, where, spans, group_by)
        key = 1 + len(group_by)
        rows = _combined([row for row in rows if row[key]], key, self._asked(table, measures))
        return self._with_starts(
            (spans, *group_by), [(*row[:key], *row[key + 1 :]) for row in rows]
        )

    def _read_spans(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where,
        spans: Spans,
        group_by: tuple[GroupKey, ...],
    ) -> Rows:
        """Return the begin of each span, and its groups and the values of its measures."""
        windows = [
            (begin, (Filter(spans.column, ">=", begin), Filter(spans.column, "<", end), *where))
            for begin, end in pairwise(spans.edges)
        ]
        conditions = shape(windows[0][1]) if windows else ()
        sql = self._text(self._aggregate_text, table, measures, conditions, group_by)
        return [
            (begin, *row)
            for begin, window in windows
            for row in self._read(sql, self._values(window))
        ]

    def _with_starts(self, groups: tuple[GroupKey, ...], rows: Rows) -> Rows:
        """Return the rows with the begin of each bucket instead of its value."""
        for at, group in enumerate(groups):
            if isinstance(group, Bucket):
                start = cache(partial(self._bucket_start, group))
                rows = [
                    (*row[:at], None if row[at] is None else start(row[at]), *row[at + 1 :])
                    for row in rows
                ]
        return rows

    def _aggregate_in_python(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where,
        group_by: tuple[GroupKey, ...],
    ) -> Rows:
        groups = dict.fromkeys(map(column_of, group_by))
        measured = dict.fromkeys(m.column for m in measures if m.column is not None)
        columns = tuple({**groups, **measured}) or ("id",)
        rows = self.select_columns(table, columns, where)
        return aggregate_rows(
            (dict(zip(columns, row, strict=True)) for row in rows), measures, group_by
        )


def _combined(rows: Rows, first: int, asked: list[Expressions]) -> Rows:
    """Return rows with one value for each measure; the values of expressions begin at `first`."""
    cuts = pairwise(accumulate((len(texts) for texts, _ in asked), initial=first))
    parts = [(each.combine, slice(*cut)) for each, cut in zip(asked, cuts, strict=True)]
    return [(*row[:first], *(combine(*row[part]) for combine, part in parts)) for row in rows]
