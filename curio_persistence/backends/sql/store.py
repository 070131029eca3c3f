"""SQL for rows, built from a Table and from filters; each backend supplies its differences.

Column names come only from Tables, never from callers; values are always bound.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache, partial
from itertools import accumulate, chain, pairwise
from typing import Any, ClassVar

from curio_persistence.backends.sql import health, migrations
from curio_persistence.backends.sql.aggregates import (
    Expressions,
    OutOfRange,
    average_of_integers,
    average_of_reals,
    sum_of_reals,
)
from curio_persistence.backends.sql.upsert import SQLUpsert
from curio_persistence.clock import utc_now
from curio_persistence.errors import InvalidValueError, PersistenceError, SchemaMismatchError
from curio_persistence.store.aggregates import aggregate_rows, one_zero
from curio_persistence.store.base import (
    STREAM_ROWS,
    Finding,
    Position,
)
from curio_persistence.store.codecs import encode_time, even_times
from curio_persistence.store.filters import Bucket, Filter, GroupKey, Measure, Order, Select, Where
from curio_persistence.store.table import Columns, Row, Table
from curio_persistence.store.transaction import ThreadTransaction, Transaction
from curio_persistence.tables import EVENTS, RUNS, USAGE

_AT_ONCE = 10_000

Params = tuple[Any, ...]


Result = tuple[list[tuple[Any, ...]], int]
"""The outcome of a statement: the rows it returned, and how many it changed."""


class SQLSnapshot:
    """The state that one connection sees, fixed by its first read."""

    def __init__(
        self,
        read: Callable[
            [Table[Any], Where, tuple[Order, ...], Position | None, int], Iterator[Columns]
        ],
    ) -> None:
        self._read = read

    def stream(
        self,
        table: Table[Any],
        where: Where = (),
        *,
        order: tuple[Order, ...] | None = None,
        size: int = STREAM_ROWS,
    ) -> Iterator[Columns]:
        return self._read(table, where, table.order if order is None else order, None, size)


class SQLStore(SQLUpsert):
    """The common part of SQLite and PostgreSQL: statements, nested transactions, migrations."""

    placeholder: ClassVar[str]
    _begin: ClassVar[str]
    _after_savepoint: ClassVar[str] = ""
    """Statements to send with one that sets a savepoint."""
    _no_limit: ClassVar[str]
    """The clause that must precede an OFFSET without a LIMIT."""
    _differs_from: ClassVar[str]
    """The comparison of two columns, of which NULL is a value."""
    _any_of: ClassVar[str]
    """The condition that follows a column, for one of several values."""

    def __init__(self, mine: ThreadTransaction, *, read_only: bool) -> None:
        self._texts: dict[Hashable, str] = {}
        self._empty: dict[Table[Any], tuple[str, ...]] = {}
        self._mine = mine
        self._read_only = read_only
        self._tables_are_ours = False
        self._identity = ""

    @property
    def identity(self) -> str:
        # The creation time of its tables, to the microsecond: two databases share it only if one
        # began as a copy of the other, and then they share their rows as well.
        if not self._identity:
            notes = self._qualified(migrations.MIGRATIONS_TABLE)
            [(made_at,)] = self._read(f"SELECT min(applied_at) FROM {notes}", ())
            self._identity = encode_time(made_at) if isinstance(made_at, datetime) else made_at
        return self._identity

    @property
    def read_only(self) -> bool:
        return self._read_only

    @abstractmethod
    def _command(self, name: str) -> str:
        """Return a shell command for this database."""

    @property
    def _init_command(self) -> str:
        """Return the shell command that makes the tables, or brings them up to date."""
        return self._command("init")

    def _plan(self, catalog: migrations.Catalog) -> migrations.Plan:
        return migrations.plan(catalog, self.dialect, self.location, self._command("upgrade"))

    @abstractmethod
    def _our_columns(self) -> list[tuple[Any, ...]]:
        """Return table and column, of all tables with our names."""

    @abstractmethod
    def _run_script(self, sql: str) -> None:
        """Run the statements of a migration, inside a transaction."""

    @abstractmethod
    def _qualified(self, name: str) -> str:
        """Return the name of a table in a statement."""

    @abstractmethod
    def _read(self, sql: str, params: Params) -> list[tuple[Any, ...]]:
        """Return all rows of a reading statement."""

    @abstractmethod
    def _write(self, sql: str, params: Params) -> Result:
        """Run one writing statement, committed on return unless inside a transaction."""

    @abstractmethod
    def _control(self, transaction: Transaction, sql: str) -> None:
        """Run a transaction control statement on its connection."""

    @abstractmethod
    def _enter(self, transaction: Transaction) -> None:
        """Wait for a connection, assign it to the transaction, and begin."""

    @abstractmethod
    def _finish(self, transaction: Transaction) -> None:
        """Roll back what was not committed, and release the connection.

        It is called twice, because a KeyboardInterrupt may end the first call at any step.
        """

    # --- the tables ---------------------------------------------------------------------------

    def initialize(self) -> None:
        catalog = self._catalog()
        plan = self._plan(catalog)
        if self._read_only:
            migrations.refuse_outdated(
                plan, catalog, self.dialect, self.location, self._init_command
            )
        elif not plan.is_current:
            self._migrate()
        self._tables_are_ours = True

    def _refuse_foreign_tables(self) -> None:
        """Refuse tables of other programs before the first write without `initialize`."""
        self._tables_are_ours = True  # The code below reads, and must not check again.
        try:
            catalog = self._catalog()
            if catalog.tables:
                self._plan(catalog)
        except BaseException:
            self._tables_are_ours = False
            raise

    def _migrate(self) -> None:
        self._tables_are_ours = True  # Or will be, in the transactions that follow.
        while self._migrate_one_step():
            pass

    def _migrate_one_step(self) -> bool:
        """Run and record the next step in one transaction; return False if none is left."""
        with self.transaction():
            self._lock_schema()
            plan = self._plan(self._catalog())
            if plan.is_current:
                return False
            sql, steps = plan.steps[0]
            self._run_script(sql)
            self._note(steps)
        return True

    def _note(self, steps: tuple[migrations.Migration, ...]) -> None:
        """Record that these steps were applied."""
        marks = ", ".join([self.placeholder] * 5)
        now = encode_time(utc_now())
        for step in steps:
            self._write(
                f"INSERT INTO {self._qualified(migrations.MIGRATIONS_TABLE)} "
                f"(version, name, kind, checksum, applied_at) VALUES ({marks})",
                (*step.as_applied(), now),
            )

    def _lock_schema(self) -> None:
        """Let one transaction at a time migrate, unless its begin ensures that."""

    def _catalog(self) -> migrations.Catalog:
        columns: dict[str, set[str]] = defaultdict(set)
        for table, column in self._our_columns():
            columns[table].add(column)
        tables = {name: frozenset(found) for name, found in columns.items()}
        applied: list[tuple[Any, ...]] = []
        if migrations.is_ours(tables):
            applied = self._read(
                "SELECT version, name, kind, checksum "
                f"FROM {self._qualified(migrations.MIGRATIONS_TABLE)} ORDER BY version",
                (),
            )
        return migrations.Catalog(tables, tuple(migrations.Applied(*row) for row in applied))

    def _orphans_finding(self) -> Finding:
        events, one_run = self._without_run(EVENTS, "run_id")
        calls, _ = self._without_run(USAGE, "run_id")
        children, _ = self._without_run(RUNS, "parent_run_id")
        return health.orphans(events, one_run, calls, children)

    def _without_run(self, table: Table[Any], column: str) -> tuple[int, str | None]:
        """Return how many rows name a run that does not exist, and one such run."""
        [(count, one)] = self._read(
            f"SELECT count(*), min({column}) FROM {self._table(table)} AS naming "
            f"WHERE {column} IS NOT NULL AND NOT EXISTS "
            f"(SELECT 1 FROM {self._table(RUNS)} AS named WHERE named.run_id = naming.{column})",
            (),
        )
        return count, one

    def schema_version(self) -> int:
        return max((step.version for step in self._catalog().applied), default=0)

    def _lacks_tables(self, said: object) -> SchemaMismatchError:
        """Return the error for a statement whose table or column does not exist."""
        return SchemaMismatchError(
            f"{self.location} lacks tables of curio_persistence ({said}).",
            found="none",
            wanted=str(migrations.migrations(self.dialect)[-1].version),
            command=self._init_command,
        )

    # --- transactions -------------------------------------------------------------------------

    def _is_inside(self) -> bool:
        """Return whether this call belongs to a transaction of its thread."""
        return self._mine.current() is not None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        transaction = self._mine.current()
        yield from self._outermost() if transaction is None else self._savepoint(transaction)

    def _outermost(self) -> Iterator[None]:
        transaction = Transaction()
        try:
            self._enter(transaction)
            self._mine.transaction, transaction.depth = transaction, 1
            yield
            transaction.leave(1)
            self._control(transaction, "COMMIT")
        finally:
            transaction.ended, transaction.depth = True, 0  # A call could be interrupted.
            try:
                self._finish(transaction)
            finally:
                self._finish(transaction)

    def _savepoint(self, transaction: Transaction) -> Iterator[None]:
        depth = transaction.depth
        try:
            self._control(transaction, f"SAVEPOINT level_{depth}{self._after_savepoint}")
            transaction.depth = depth + 1
            yield
            transaction.leave(depth + 1)
            transaction.depth = depth
            self._control(transaction, f"RELEASE SAVEPOINT level_{depth}")
        except BaseException:
            if transaction.depth >= depth:  # Otherwise an outer block has undone it.
                transaction.depth = depth
                self._undo(transaction, depth)
            raise

    def _undo(self, transaction: Transaction, depth: int) -> None:
        # If the database itself has ended the transaction, nothing is left to undo.
        with suppress(PersistenceError):
            self._control(transaction, f"ROLLBACK TO SAVEPOINT level_{depth}")
            self._control(transaction, f"RELEASE SAVEPOINT level_{depth}")

    # --- statements ---------------------------------------------------------------------------

    def _table(self, table: Table[Any]) -> str:
        return self._qualified(table.name)

    def _reading(self, column: str, expression: str | None = None) -> str:
        """Return the expression that yields a column, or one of its kind, in stored form."""
        return expression or column

    def _binding(self, column: str) -> str:
        """Return the expression that binds a stored value to a column."""
        return self.placeholder

    def _measuring(self, table: Table[Any], measure: Measure) -> Expressions:
        column = measure.column or "*"
        if measure.kind == "count":
            return Expressions((f"count({column})",))
        if measure.kind == "values":
            return Expressions((self._listing(column),), self._listed)
        if measure.kind in ("min", "max"):
            text = self._reading(column, f"{measure.kind}({column})")
            return Expressions((text,), _even if table.kind_of(column) == "time" else one_zero)
        if table.kind_of(column) == "real":
            build = sum_of_reals if measure.kind == "sum" else average_of_reals
            return build(column)
        text = self._reading(column, f"sum({column})")
        if measure.kind == "sum":
            return Expressions((text,))
        return average_of_integers(text, column)

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

    def select(
        self,
        table: Table[Any],
        where: Where = (),
        *,
        order: tuple[Order, ...] | None = None,
        after: Position | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Columns:
        order = table.order if order is None else order
        shape = (limit is None, offset == 0)
        params = self._values(where) + (after or ())
        if limit is not None:
            params += (limit,)
        if offset:
            params += (offset,)
        empty = self._empty.get(table, table.optional)
        sql = self._selecting(table, where, order, after, *shape, empty)
        columns = columns_of(table, where, self._read(sql, params), empty)
        if columns is None:
            sql = self._selecting(table, where, order, after, *shape)
            columns = columns_of(table, where, self._read(sql, params)) or []
            self._learn_filled(table, empty, columns)
        return columns

    def _learn_filled(self, table: Table[Any], empty: tuple[str, ...], columns: Columns) -> None:
        """Fetch from now on also the columns in which these rows have values."""
        values = dict(zip(table.names, columns, strict=True))
        self._empty[table] = tuple(
            name for name in empty if {*values[name]} <= {table.filled.get(name)}
        )

    def _selecting(
        self,
        table: Table[Any],
        where: Where,
        order: tuple[Order, ...],
        after: Position | None,
        unlimited: bool,
        from_start: bool,
        empty: tuple[str, ...] = (),
    ) -> str:
        """Return a SELECT of `table.names`, without the columns that a filter fixes.

        Columns that are expected to be empty are not fetched either, since each costs a tenth of a
        microsecond a row. A last column tells for each row whether any of them has a value.
        """
        shape = (table, _shape(where), order, after is None, unlimited, from_start, empty)
        return self._text(
            shape,
            lambda: self._select_text(table, where, order, after, unlimited, from_start, empty),
        )

    def select_columns(
        self, table: Table[Any], columns: tuple[GroupKey, ...], where: Where = ()
    ) -> list[tuple[Any, ...]]:
        sql = self._text(
            (table, "columns", columns, _shape(where)),
            lambda: (
                f"SELECT {', '.join(map(self._grouped_by, columns))} "
                f"FROM {self._table(table)}{self._where_text(where)}"
            ),
        )
        return self._with_starts(columns, self._read(sql, self._values(where)))

    def update(
        self, table: Table[Any], where: Where, changes: Row, *, returning: tuple[str, ...] = ("id",)
    ) -> list[tuple[Any, ...]]:
        columns = tuple(changes)
        sql = self._text(
            (table, "update", columns, _shape(where), returning),
            lambda: (
                f"UPDATE {self._table(table)} SET "
                + ", ".join(f"{column} = {self._binding(column)}" for column in columns)
                + self._where_text(where)
                + f" RETURNING {', '.join(map(self._reading, returning))}"
            ),
        )
        params = (*changes.values(), *self._values(where))
        return self._write(sql, params)[0]

    def delete(self, table: Table[Any], where: Where, limit: int | None = None) -> int:
        limited = limit is not None
        sql = self._text(
            (table, "delete", _shape(where), limited),
            lambda: self._delete_text(self._table(table), self._where_text(where), limited),
        )
        return self._write(sql, self._values(where) + ((limit,) if limited else ()))[1]

    def _delete_text(self, table: str, conditions: str, limited: bool) -> str:
        if limited:
            some = f"SELECT id FROM {table}{conditions} LIMIT {self.placeholder}"
            conditions = f" WHERE id IN ({some})"
        return f"DELETE FROM {table}{conditions}"

    def aggregate(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where = (),
        *,
        group_by: tuple[GroupKey, ...] = (),
    ) -> list[tuple[Any, ...]]:
        asked = [self._measuring(table, measure) for measure in measures]
        sql = self._text(
            (table, measures, _shape(where), group_by),
            lambda: self._aggregate_text(table, asked, where, group_by),
        )
        try:
            rows = self._read(sql, self._values(where))
            combined = _combined(rows, len(group_by), asked)
        except (InvalidValueError, OutOfRange):  # The database cannot add these numbers.
            return self._aggregate_in_python(table, measures, where, group_by)
        return self._with_starts(group_by, combined)

    def _aggregate_text(
        self,
        table: Table[Any],
        asked: list[Expressions],
        where: Where,
        group_by: tuple[GroupKey, ...],
    ) -> str:
        groups = [self._grouped_by(group) for group in group_by]
        texts = chain(groups, *(expressions.texts for expressions in asked))
        text = f"SELECT {', '.join(texts)} FROM {self._table(table)}{self._where_text(where)}"
        numbers = ", ".join(str(1 + n) for n in self._telling_apart(where, group_by))
        return f"{text} GROUP BY {numbers}" if group_by else text

    def _telling_apart(self, where: Where, group_by: tuple[GroupKey, ...]) -> Sequence[int]:
        """Return the positions of those groups that the database has to look at."""
        return range(len(group_by))

    def _grouped_by(self, group: GroupKey) -> str:
        return self._bucket(group) if isinstance(group, Bucket) else self._reading(group)

    def _with_starts(
        self, groups: tuple[GroupKey, ...], rows: list[tuple[Any, ...]]
    ) -> list[tuple[Any, ...]]:
        """Return the rows with the begin of each bucket instead of its value."""
        for at, group in enumerate(groups):
            if isinstance(group, Bucket):
                start = cache(partial(self._start_or_none, group))
                rows = [(*row[:at], start(row[at]), *row[at + 1 :]) for row in rows]
        return rows

    def _start_or_none(self, bucket: Bucket, value: Any) -> str | None:
        return None if value is None else self._bucket_start(bucket, value)

    def _aggregate_in_python(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where,
        group_by: tuple[GroupKey, ...],
    ) -> list[tuple[Any, ...]]:
        groups = dict.fromkeys(g.column if isinstance(g, Bucket) else g for g in group_by)
        measured = dict.fromkeys(m.column for m in measures if m.column is not None)
        columns = tuple({**groups, **measured}) or ("id",)
        rows = self.select_columns(table, columns, where)
        return aggregate_rows(
            (dict(zip(columns, row, strict=True)) for row in rows), measures, group_by
        )

    def _text(self, shape: Hashable, build: Callable[[], str]) -> str:
        text = self._texts.get(shape)
        if text is None:
            text = self._texts[shape] = build()
        return text

    def _insert_text(self, table: Table[Any], columns: tuple[str, ...], rows: int = 1) -> str:
        values = f"({', '.join(map(self._binding, columns))})"
        return (
            f"INSERT INTO {self._table(table)} ({', '.join(columns)}) "
            f"VALUES {', '.join([values] * rows)}"
        )

    def _select_text(
        self,
        table: Table[Any],
        where: Where,
        order: tuple[Order, ...],
        after: Position | None,
        unlimited: bool,
        from_start: bool,
        empty: tuple[str, ...],
    ) -> str:
        # A column that a filter fixes need not be fetched: it saves a tenth for a run's events.
        known = {*_known(where), *empty}
        fetched = [self._reading(name) for name in table.names if name not in known]
        if empty:
            without = " AND ".join(_is_empty(table, name) for name in empty)
            fetched.append(f"CASE WHEN {without} THEN NULL ELSE 1 END")
        text = self._ordered_text(", ".join(fetched), table, where, order, after)
        if not unlimited:
            text += f" LIMIT {self.placeholder}"
        if not from_start:
            text += f"{self._no_limit if unlimited else ''} OFFSET {self.placeholder}"
        return text

    def _ordered_text(
        self,
        what: str,
        table: Table[Any],
        where: Where,
        order: tuple[Order, ...],
        after: Position | None,
    ) -> str:
        conditions = self._where_text(where, () if after is None else order)
        by = ", ".join(f"{o.column} DESC" if o.descending else o.column for o in order)
        return f"SELECT {what} FROM {self._table(table)}{conditions} ORDER BY {by}"

    def _reading_csv(
        self, table: Table[Any], where: Where, order: tuple[Order, ...], after: Position | None
    ) -> str:
        """Return the text of a statement for the CSV of so many rows; see `csv_text`."""
        shape = (table, "csv", _shape(where), order, after is None)
        return self._text(shape, lambda: self._csv_statement(table, where, order, after))

    @abstractmethod
    def _csv_statement(
        self, table: Table[Any], where: Where, order: tuple[Order, ...], after: Position | None
    ) -> str:
        """Compile that text."""

    def _where_text(self, where: Where, after: tuple[Order, ...] = ()) -> str:
        """Return the conditions; `after` is the order in which the rows follow a position."""
        conditions = [self._condition(f) for f in where]
        if after:
            place = ", ".join(o.column for o in after)
            comparison = "<" if after[0].descending else ">"
            conditions.append(f"({place}) {comparison} ({self._position(after)})")
        return f" WHERE {' AND '.join(conditions)}" if conditions else ""

    def _position(self, order: tuple[Order, ...]) -> str:
        """Return the expressions that bind a position in this order."""
        return ", ".join(self._binding(o.column) for o in order)

    def _condition(self, f: Filter) -> str:
        match f.op:
            case "is null" | "is not null":
                return f"{f.column} {f.op.upper()}"
            case "differs from":
                return f"{f.column} {self._differs_from} {f.value}"
            case "in" if isinstance(f.value, Select):
                source = f"{self._table(f.value.table)}{self._where_text(f.value.where)}"
                return f"{f.column} IN (SELECT {f.value.column} FROM {source})"
            case "in":
                return f"{f.column} {self._any_of}"
            case "has":
                return self._has(f.column)
            case "has any":
                return self._has_any(f.column)
            case "holds":
                return self._holds(f.column)
        return f"{f.column} {f.op} {self._binding(f.column)}"

    @abstractmethod
    def _has(self, column: str) -> str:
        """Return the condition that a column of tags has the bound tag."""

    @abstractmethod
    def _has_any(self, column: str) -> str:
        """Return the condition that a column of tags has one of several."""

    @abstractmethod
    def _holds(self, column: str) -> str:
        """Return the condition that a column of payloads matches a pattern."""

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
        return (self._several(f.value) if isinstance(f.value, tuple) else f.value,)


def _known(where: Where) -> Mapping[str, Any]:
    """Return the columns whose values a filter fixes."""
    return {f.column: f.value for f in where if f.op == "="}


def _is_empty(table: Table[Any], column: str) -> str:
    """Return the condition that an optional column has no value of its own."""
    default = table.filled.get(column)
    return f"{column} IS NULL" if default is None else f"nullif({column}, '{default}') IS NULL"


def columns_of(
    table: Table[Any],
    where: Where,
    rows: list[tuple[Any, ...]],
    empty: tuple[str, ...] = (),
) -> Columns | None:
    """Transpose the fetched rows, and add the columns that a filter fixed.

    Returns None if one of the columns that were expected to be empty has a value.
    """
    turned = _turned(rows)
    if empty and rows and any(turned[-1]):
        return None
    known = {**{name: table.filled.get(name) for name in empty}, **_known(where)}
    if rows and not known:
        return turned
    read = iter(turned)
    return [(known[name],) * len(rows) if name in known else next(read, ()) for name in table.names]


def _turned(rows: list[tuple[Any, ...]]) -> Columns:
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


def _combined(
    rows: list[tuple[Any, ...]], first: int, asked: list[Expressions]
) -> list[tuple[Any, ...]]:
    """Return rows with one value for each measure; the values of expressions begin at `first`."""
    cuts = pairwise(accumulate((len(texts) for texts, _ in asked), initial=first))
    parts = [(each.combine, slice(*cut)) for each, cut in zip(asked, cuts, strict=True)]
    return [(*row[:first], *(combine(*row[part]) for combine, part in parts)) for row in rows]


def _even(time: str | None) -> str | None:
    return even_times([time])[0]


def _shape(where: Where) -> Hashable:
    """Return what the text of a statement depends on: not the values that are bound."""
    return tuple((f.column, f.op, _shape_of_value(f)) for f in where)


def _shape_of_value(f: Filter) -> Hashable:
    match f.value:
        case Select(table, column, where):
            return table, column, _shape(where)
        case column if f.op == "differs from":
            return str(column)
    return None
