"""The SQL of ClickHouse for rows of our tables, which leave it in stored form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from curio_persistence.backends.clickhouse import words
from curio_persistence.backends.clickhouse.client import ClickHouseClient
from curio_persistence.backends.clickhouse.ddl import DIALECT, REPLICATED
from curio_persistence.backends.sql.reading import SQLReading
from curio_persistence.backends.sql.statements import Params, Rows, shape
from curio_persistence.concurrency.time_limit import in_reading_time
from curio_persistence.errors import UnsupportedError
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import (
    Bucket,
    Filter,
    GroupKey,
    Measure,
    Order,
    Select,
    Spans,
    Where,
)
from curio_persistence.store.query import Query
from curio_persistence.store.table import Columns, StoredValue, Table

TIMES = frozenset(name for table in REPLICATED for name in table.encoded_by(encode_time))
_READ = frozenset(table.name for table in REPLICATED)
_STORED_TIME = "%%Y-%%m-%%dT%%H:%%i:%%S.%%f+00:00"
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000
_SECONDS_TO_1970 = 62_135_596_800
"""Seconds from the begin of the year 1, with which buckets begin, until 1970."""


class ClickHouseStatements(SQLReading):
    """The part of a replica that reads rows and numbers."""

    dialect = DIALECT
    placeholder = "%s"
    size_of_value = "length(toString({}))"
    _no_limit = 2**63 - 1
    _any_of = "IN %s"
    _greatest = "greatest({}, {})"
    _sum = "sumOrNull(toInt128({}))"
    _or_null = "OrNull"
    _conditions: ClassVar[Mapping[str, str]] = {
        "differs from": "{column} IS DISTINCT FROM {value}",
        "has": "has(JSONExtract(ifNull({column}, ''), 'Array(String)'), %s)",
        "has any": "hasAny(JSONExtract(ifNull({column}, ''), 'Array(String)'), %s)",
        # Its lower() is for ASCII only.
        "has text": "position(lower({column}), lower(%s)) > 0",
    }

    def __init__(self, client: ClickHouseClient) -> None:
        super().__init__()
        self._client = client

    def _qualified(self, name: str) -> str:
        if name not in _READ:
            raise UnsupportedError(
                f"{self.location} is only read, and has no {name}: use the database that it copies."
            )
        return name

    def _read(self, sql: str, params: Params) -> Rows:
        return in_reading_time(self._client.rows, sql, params)

    # --- rows ---------------------------------------------------------------------------------

    def select_query(self, query: Query, limit: int | None, offset: int) -> Columns:
        sql = self._page_text(query, ())
        page = (self._no_limit if limit is None else limit, offset)
        columns = in_reading_time(self._client.columns, sql, self._params(query) + page)
        return columns or [()] * len(query.table.names)

    def stream_query(self, query: Query, size: int) -> Iterator[Columns]:
        blocks = self._client.blocks(self._select_text(query), self._params(query))
        for block in blocks:
            for begin in range(0, len(block[0]), size):
                self._client.check_open()
                yield [column[begin : begin + size] for column in block]

    def _select_text(self, query: Query, empty: tuple[str, ...] = ()) -> str:
        fetched = (self._fetched(query.table, name) for name in query.table.names)
        return self._ordered_text(", ".join(fetched), query)

    def _fetched(self, table: Table[Any], name: str) -> str:
        # No text stands elsewhere: there are no markers.
        if (length := table.beginnings.get(name)) is None:
            return self._reading(name)
        return f"substringUTF8({name}, 1, {length:d})"

    def _csv_text(self, query: Query) -> str:
        raise NotImplementedError("a replica streams rows as they are")

    # --- values and conditions ----------------------------------------------------------------

    def _reading(self, column: str, expression: str | None = None) -> str:
        text = expression or column
        return f"formatDateTime({text}, '{_STORED_TIME}')" if column in TIMES else text

    def _binding(self, column: str) -> str:
        return "fromUnixTimestamp64Micro(%s, 'UTC')" if column in TIMES else "%s"

    def _several(self, values: tuple[Any, ...]) -> list[Any]:
        return list(values)

    def _bound(self, f: Filter) -> Params:
        if f.op == "may have words":
            return words.having_one(f.column, f.value)[1]
        if f.op == "may contain":
            return words.having_words_of(f.column, f.value)[1]
        if f.column in TIMES and isinstance(f.value, str):
            return (_microseconds(f.value),)
        if f.column in TIMES and isinstance(f.value, tuple):
            return ([*map(_microseconds, f.value)],)
        return super()._bound(f)

    def _condition(self, f: Filter) -> str:
        if f.op == "may have words":
            return words.having_one(f.column, f.value)[0]
        if f.op == "may contain":
            return words.having_words_of(f.column, f.value)[0]
        if f.op == "in" and f.column in TIMES and not isinstance(f.value, Select):
            return f"toUnixTimestamp64Micro({f.column}) IN %s"
        return super()._condition(f)

    def _behind(self, order: tuple[Order, ...]) -> str:
        # Indexes know nothing of pairs, but of their first values.
        column, descending = order[0]
        first = f"{column} {'<=' if descending else '>='} {self._binding(column)}"
        return f"{first} AND {super()._behind(order)}"

    def _params(self, query: Query) -> Params:
        after = tuple(
            _microseconds(value) if column in TIMES else value
            for (column, _), value in zip(query.order, query.after or (), strict=False)
        )
        return self._values(query.where) + after[:1] + after

    # --- numbers ------------------------------------------------------------------------------

    def _exact_sums(self, column: str) -> tuple[str, ...]:
        scaled = f"({column} * 1048576.0)"
        whole = f"toInt64({scaled})"
        rest = f"toInt64(({scaled} - {whole}) * 4611686018427387904.0)"
        # Whole sums: there is room for them. The upper halves are nothing.
        nothing = f"if(count({column}) = 0, NULL, 0)"
        sums = (f"sumOrNull(toInt128({part}))" for part in (whole, rest))
        halves = [half for each in sums for half in (nothing, each)]
        return (
            *halves,
            f"maxOrNull(abs({column}))",
            f"minOrNull(nullIf(abs({column}), 0))",
        )

    def _unordered(self, group: GroupKey) -> str:
        return self._grouped_by(group)

    def _bucket(self, bucket: Bucket) -> str:
        # Added first, so that of a time before 1970 it is not the next number.
        begin, size = (_SECONDS_TO_1970 + bucket.shift) * _SECOND, bucket.seconds * _SECOND
        return f"intDiv(toUnixTimestamp64Micro({bucket.column}) + {begin:d}, {size:d})"

    def _bucket_start(self, bucket: Bucket, value: Any) -> str:
        return bucket.start(int(value))

    def _listing(self, column: str) -> str:
        return f"groupArray({column})"

    def _listed(self, gathered: Any) -> list[int]:
        return list(gathered)

    def _read_spans(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where,
        spans: Spans,
        group_by: tuple[GroupKey, ...],
    ) -> Rows:
        column, edges = spans
        if len(edges) < 2:
            return []
        window = (Filter(column, ">=", edges[0]), Filter(column, "<", edges[-1]), *where)
        sql = self._text(self._spans_text, table, measures, shape(window), spans, group_by)
        starts = {_microseconds(edge): edge for edge in edges}
        return [(starts[int(at)], *row) for at, *row in self._read(sql, self._values(window))]

    def _spans_text(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where,
        spans: Spans,
        group_by: tuple[GroupKey, ...],
    ) -> str:
        """Return the statement for all spans at once, grouped by the number of their begin."""
        text = self._aggregate_text(table, measures, where, ("id", *group_by))
        edges = ", ".join(str(_microseconds(edge)) for edge in spans.edges)
        begin = f"roundDown(toUnixTimestamp64Micro({spans.column}), [{edges}])"
        return f"SELECT {begin}{text.removeprefix('SELECT id')}"


def _microseconds(time: StoredValue) -> int:
    return (datetime.fromisoformat(str(time)) - _EPOCH) // _MICROSECOND
