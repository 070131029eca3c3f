"""SQL for rows, built from a Table and from filters; each backend supplies its differences.

Column names come only from Tables, never from callers; values are always bound.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar

from curio_persistence.backends.sql.aggregates import (
    Expressions,
    average_of_integers,
    average_of_reals,
    exact_sums,
    sum_of_integers,
    sum_of_reals,
)
from curio_persistence.store.base import Store
from curio_persistence.store.filters import (
    Bucket,
    Filter,
    GroupKey,
    Measure,
    Order,
    Select,
    Where,
)
from curio_persistence.store.query import Query
from curio_persistence.store.table import Columns, Table

Params = tuple[Any, ...]
Rows = list[tuple[Any, ...]]

_AT_ONCE = 10_000


def shape_of(query: Query) -> Query:
    """Return what the text of a query depends on: all but the values that are bound."""
    return query._replace(where=shape(query.where), after=None if query.after is None else ())


def shape(where: Where) -> Where:
    """Return the filters without the values that are bound."""
    return tuple(Filter(f.column, f.op, _unbound(f)) for f in where)


def _unbound(f: Filter) -> Any:
    if isinstance(f.value, Select):
        return Select(f.value.table, f.value.column, shape(f.value.where))
    if f.op == "any":
        return tuple(map(shape, f.value))
    return f.value if f.op == "differs from" else None


class SQLStatements(Store):
    """The SQL of a database. Each text is built once for all the values that it binds."""

    placeholder: ClassVar[str]
    size_of_value: ClassVar[str]
    """The expression for the bytes of a column, whose name replaces `{}`."""
    _no_limit: ClassVar[int | None]
    """The value that stands for no limit in LIMIT."""
    _any_of: ClassVar[str]
    """The condition that follows a column, for one of several bound values."""
    _sum: ClassVar[str] = "sum({})"
    """The exact sum of a column of integers, whose name replaces `{}`; NULL of none."""
    _or_null: ClassVar[str] = ""
    """The suffix of the names of min and max with which they are NULL without rows."""
    _greatest: ClassVar[str]
    """The expression for the greater one of two, which replace `{}`."""
    _conditions: ClassVar[Mapping[str, str]]
    """The conditions whose operator is not SQL's own, with the names `column` and `value`."""

    def __init__(self) -> None:
        self._texts: dict[Hashable, str] = {}

    def _text(self, build: Callable[..., str], *args: Hashable) -> str:
        """Return `build(*args)`, a method's text, which is remembered."""
        key = (build.__name__, *args)
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = build(*args)
        return text

    @abstractmethod
    def _qualified(self, name: str) -> str:
        """Return the name of a table in a statement."""

    def _table(self, table: Table[Any]) -> str:
        return self._qualified(table.name)

    # --- columns and values -------------------------------------------------------------------

    def _reading(self, column: str, expression: str | None = None) -> str:
        """Return the expression that yields a column, or one of its kind, in stored form."""
        return expression or column

    def _binding(self, column: str) -> str:
        """Return the expression that binds a stored value to a column."""
        return self.placeholder

    @abstractmethod
    def _several(self, values: tuple[Any, ...]) -> Any:
        """Return the one value that `_any_of` binds for several, so that its text is constant."""

    def _values(self, where: Where) -> Params:
        """Return the values of the filters' placeholders, in order."""
        values: list[Any] = []
        for f in where:
            if f.value is not None and f.op != "differs from":
                values += self._bound(f)
        return tuple(values)

    def _bound(self, f: Filter) -> Params:
        if isinstance(f.value, Select):
            return self._values(f.value.where)
        if f.op == "any":
            return tuple(value for where in f.value for value in self._values(where))
        return (self._several(f.value) if isinstance(f.value, tuple) else f.value,)

    def _params(self, query: Query) -> Params:
        return self._values(query.where) + (query.after or ())

    # --- SELECT -------------------------------------------------------------------------------

    def _page_text(self, query: Query, empty: tuple[str, ...]) -> str:
        page = f"LIMIT {self.placeholder} OFFSET {self.placeholder}"
        return f"{self._select_text(query, empty)} {page}"

    def _select_text(self, query: Query, empty: tuple[str, ...] = ()) -> str:
        """Return a SELECT of `table.names`, without the columns that a filter fixes.

        Columns that are expected to be empty are not fetched either, since each costs a tenth of a
        microsecond a row. A last column tells for each row whether any of them has a value.
        """
        known = {*_known(query.where), *empty}
        table = query.table
        fetched = [self._fetched(table, name) for name in table.names if name not in known]
        if empty:
            without = " AND ".join(_is_empty(query.table, name) for name in empty)
            fetched.append(f"CASE WHEN {without} THEN NULL ELSE 1 END")
        return self._ordered_text(", ".join(fetched), query)

    def _fetched(self, table: Table[Any], name: str) -> str:
        """Return the expression that fetches a column, or its beginning if that is enough."""
        if (length := table.beginnings.get(name)) is None:
            return self._reading(name)
        beginning = f"substr({name}, 1, {length:d})"
        if not table.has_markers:
            return beginning
        # A marker of a long text must be whole.
        return f"CASE WHEN content_scope IS NULL THEN {beginning} ELSE {name} END"

    def _ordered_text(self, what: str, query: Query) -> str:
        table, where, order, after = query
        conditions = self._where_text(where, () if after is None else order)
        by = ", ".join(f"{o.column} DESC" if o.descending else o.column for o in order)
        return f"SELECT {what} FROM {self._table(table)}{conditions} ORDER BY {by}"

    @abstractmethod
    def _csv_text(self, query: Query) -> str:
        """Return a statement for the CSV of so many rows; see `results.csv`."""

    def _columns_text(
        self, table: Table[Any], columns: tuple[GroupKey, ...], where: Where, limited: bool
    ) -> str:
        names = ", ".join(map(self._grouped_by, columns))
        limit = f" LIMIT {self.placeholder}" if limited else ""
        return f"SELECT {names} FROM {self._table(table)}{self._where_text(where)}{limit}"

    def _sizes_text(self, table: Table[Any], where: Where) -> str:
        values = (f"coalesce({self.size_of_value.format(name)}, 0)" for name in table.names)
        run = "run_id" if "run_id" in table.names else "NULL"
        return (
            f"SELECT {run}, count(*), sum({' + '.join(values)}) FROM {self._table(table)}"
            f"{self._where_text(where)} GROUP BY 1"
        )

    def _where_text(self, where: Where, after: tuple[Order, ...] = ()) -> str:
        """Return the conditions; `after` is the order in which the rows follow a position."""
        conditions = [self._condition(f) for f in where]
        if after:
            conditions.append(self._behind(after))
        return f" WHERE {' AND '.join(conditions)}" if conditions else ""

    def _behind(self, order: tuple[Order, ...]) -> str:
        """Return the condition for the rows that follow a position in this order."""
        position = ", ".join(o.column for o in order)
        comparison = "<" if order[0].descending else ">"
        return f"({position}) {comparison} ({self._position(order)})"

    def _position(self, order: tuple[Order, ...]) -> str:
        """Return the expressions that bind a position in this order."""
        return ", ".join(self._binding(o.column) for o in order)

    def _condition(self, f: Filter) -> str:
        if isinstance(f.value, Select):
            # A NULL among them would make NOT IN true of no row.
            there = Filter(f.value.column, "is not null")
            where = (*f.value.where, there) if f.op == "not in" else f.value.where
            source = f"{self._table(f.value.table)}{self._where_text(where)}"
            return f"{f.column} {f.op.upper()} (SELECT {f.value.column} FROM {source})"
        if f.op == "any":
            each = (self._where_text(where).removeprefix(" WHERE ") for where in f.value)
            return f"({' OR '.join(each)})"
        if f.op in self._conditions:
            return self._conditions[f.op].format(column=f.column, value=f.value)
        if f.op in ("is null", "is not null"):
            return f"{f.column} {f.op}"
        if f.op == "in":
            return f"{f.column} {self._any_of}"
        if f.op == "not in":
            return f"NOT ({f.column} {self._any_of})"
        return f"{f.column} {f.op} {self._binding(f.column)}"

    # --- INSERT, UPDATE, DELETE ---------------------------------------------------------------

    def _insert_text(self, table: Table[Any], columns: tuple[str, ...], rows: int = 1) -> str:
        values = f"({', '.join(map(self._binding, columns))})"
        return (
            f"INSERT INTO {self._table(table)} ({', '.join(columns)}) "
            f"VALUES {', '.join([values] * rows)}"
        )

    def _upsert_text(
        self,
        table: Table[Any],
        columns: tuple[str, ...],
        key: tuple[str, ...],
        update: tuple[str, ...],
        is_new: str,
    ) -> str:
        nullable = " AND ".join(f"{name} IS NOT NULL" for name in table.nullable(key))
        target = f"({', '.join(key)})" + (f" WHERE {nullable}" if nullable else "")
        changes = ", ".join(f"{name} = excluded.{name}" for name in update)
        return (
            f"{self._insert_text(table, columns)} ON CONFLICT {target} "
            f"DO {f'UPDATE SET {changes}' if update else 'NOTHING'} RETURNING id, {is_new}"
        )

    def _update_text(
        self, table: Table[Any], columns: tuple[str, ...], where: Where, returning: tuple[str, ...]
    ) -> str:
        changes = ", ".join(f"{column} = {self._binding(column)}" for column in columns)
        return (
            f"UPDATE {self._table(table)} SET {changes}{self._where_text(where)} "
            f"RETURNING {', '.join(map(self._reading, returning))}"
        )

    def _advance_text(self, table: Table[Any], counter: str) -> str:
        above, by = self._greatest.format(counter, self.placeholder), self.placeholder
        return (
            f"UPDATE {self._table(table)} SET {counter} = {above} + {by} "
            f"WHERE {table.unique[0][0]} = {self.placeholder} RETURNING {counter}"
        )

    def _delete_text(self, table: Table[Any], where: Where, limited: bool) -> str:
        name, conditions = self._table(table), self._where_text(where)
        if limited:
            some = f"SELECT id FROM {name}{conditions} LIMIT {self.placeholder}"
            conditions = f" WHERE id IN ({some})"
        return f"DELETE FROM {name}{conditions}"

    # --- aggregates ---------------------------------------------------------------------------

    def _aggregate_text(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where,
        group_by: tuple[GroupKey, ...],
        window: str = "",
    ) -> str:
        """Return the statement; `window` is one more condition."""
        asked = (self._measuring(table, measure).texts for measure in measures)
        grouped = self._unordered if self._is_of_a_window(table, where) else self._grouped_by
        texts = chain(map(grouped, group_by), *asked)
        conditions = self._where_text(where)
        if window:
            conditions += f" {'AND' if conditions else 'WHERE'} {window}"
        text = f"SELECT {', '.join(texts)} FROM {self._table(table)}{conditions}"
        numbers = ", ".join(str(1 + n) for n in self._telling_apart(where, group_by))
        return f"{text} GROUP BY {numbers}" if group_by else text

    def _telling_apart(self, where: Where, group_by: tuple[GroupKey, ...]) -> Sequence[int]:
        """Return the positions of those groups that the database has to look at."""
        return range(len(group_by))

    def _is_of_a_window(self, table: Table[Any], where: Where) -> bool:
        """Return whether an index by time has the rows, and none is to be read for its groups."""
        return False

    def _unordered(self, group: GroupKey) -> str:
        """Return the expression to group by of which no index has the order."""
        return f"+{self._grouped_by(group)}"

    def _grouped_by(self, group: GroupKey) -> str:
        if isinstance(group, Bucket):
            return self._bucket(group)
        assert isinstance(group, str), "spans are looked up one by one"
        return self._reading(group)

    def _measuring(self, table: Table[Any], measure: Measure) -> Expressions:
        column = measure.column or "*"
        if measure.kind == "count":
            return Expressions((f"count({column})",))
        if measure.kind == "distinct":
            return Expressions((f"count(DISTINCT {column})",))
        if measure.kind == "values":
            return Expressions((self._listing(column),), self._listed)
        if measure.kind in ("min", "max"):
            extreme = f"{measure.kind}{self._or_null}({column})"
            return Expressions((self._reading(column, extreme),))
        if table.kind_of(column) == "real":
            sums, total, mean = self._exact_sums(column), sum_of_reals, average_of_reals
        else:
            sums = (self._reading(column, self._sum.format(column)),)
            total, mean = sum_of_integers, average_of_integers
        if measure.kind == "sum":
            return Expressions(sums, total)
        return Expressions((*sums, f"count({column})"), mean)

    def _exact_sums(self, column: str) -> tuple[str, ...]:
        """Return the expressions for `sum_of_reals`."""
        return exact_sums(column)

    @abstractmethod
    def _bucket(self, bucket: Bucket) -> str:
        """Return the expression for the bucket that a row falls into."""

    @abstractmethod
    def _bucket_start(self, bucket: Bucket, value: Any) -> str:
        """Return the begin, as a stored time, of the bucket whose expression has this value."""

    @abstractmethod
    def _listing(self, column: str) -> str:
        """Return the expression that collects a group's values of a column, without NULL."""

    @abstractmethod
    def _listed(self, gathered: Any) -> list[int]:
        """Return the list of such an expression's value."""


def _known(where: Where) -> Mapping[str, Any]:
    """Return the columns whose values a filter fixes: not to fetch them saves a tenth."""
    return {f.column: f.value for f in where if f.op == "="}


def _is_empty(table: Table[Any], column: str) -> str:
    """Return the condition that an optional column has no value of its own."""
    default = table.filled.get(column)
    return f"{column} IS NULL" if default is None else f"nullif({column}, '{default}') IS NULL"


def columns_of(query: Query, rows: Rows, empty: tuple[str, ...] = ()) -> Columns | None:
    """Transpose the fetched rows, and add the columns that a filter fixed.

    Returns None if one of the columns that were expected to be empty has a value.
    """
    table = query.table
    turned = _turned(rows)
    if empty and rows and any(turned[-1]):
        return None
    known = {**{name: table.filled.get(name) for name in empty}, **_known(query.where)}
    if rows and not known:
        return turned
    read = iter(turned)
    return [(known[name],) * len(rows) if name in known else next(read, ()) for name in table.names]


def _turned(rows: Rows) -> Columns:
    if len(rows) <= _AT_ONCE:
        return list(zip(*rows, strict=True))
    # In parts, between which other threads have their turn: a million rows take a second. And as
    # tuples: the garbage collector passes over those of plain values, but goes through all lists.
    parts: list[Any] = [[] for _ in rows[0]]
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        rows[start : start + _AT_ONCE] = [()] * len(part)  # And so is their memory released.
        for column, values in zip(parts, zip(*part, strict=True), strict=True):
            column.append(values)
    for index, column in enumerate(parts):
        parts[index] = tuple(chain.from_iterable(column))
    return parts
