"""Stores in SQL databases: the tables, nested transactions, and the statements that are run."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, partial
from itertools import accumulate, pairwise
from typing import Any, ClassVar

from curio_persistence.backends.sql import health, migrations
from curio_persistence.backends.sql.aggregates import Expressions, OutOfRange
from curio_persistence.backends.sql.queries import refused_query
from curio_persistence.backends.sql.statements import (
    Params,
    Rows,
    SQLStatements,
    columns_of,
    shape,
    shape_of,
)
from curio_persistence.clock import utc_now
from curio_persistence.errors import (
    CorruptDatabaseError,
    InvalidValueError,
    PersistenceError,
    SchemaMismatchError,
)
from curio_persistence.store.aggregates import aggregate_rows
from curio_persistence.store.base import HealthCheck
from curio_persistence.store.codecs import encode_time
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
from curio_persistence.store.table import Columns, Row, StoredValue, Table
from curio_persistence.store.transaction import ThreadTransaction, Transaction
from curio_persistence.tables import EVENTS, RUNS, TABLES, USAGE

Result = tuple[Rows, int]
"""The outcome of a statement: the rows it returned, and how many it changed."""


class SQLStore(SQLStatements):
    """The common part of SQLite and PostgreSQL: statements, nested transactions, migrations."""

    _begin: ClassVar[str]
    _after_savepoint: ClassVar[str] = ""
    """Statements to send with one that sets a savepoint."""

    def __init__(self, mine: ThreadTransaction, *, read_only: bool) -> None:
        super().__init__(mine)
        self._empty: dict[Table[Any], tuple[str, ...]] = {}
        self.read_only = read_only
        self._tables_are_ours = False
        self._identity = ""

    @property
    def identity(self) -> str:
        # The creation time of its tables, to the microsecond: two databases share it only if one
        # began as a copy of the other, and then they share their rows as well.
        if not self._identity:
            applied = self._qualified(migrations.MIGRATIONS_TABLE)
            first = self._reading("created_at", "min(applied_at)")
            [(self._identity,)] = self._read(f"SELECT {first} FROM {applied}", ())
        return self._identity

    @abstractmethod
    def _command(self, name: str) -> str:
        """Return a shell command for this database."""

    @property
    def _migrate_command(self) -> str:
        """Return the shell command that makes the tables, or brings them up to date."""
        return self._command("migrate")

    def _pending(self, catalog: migrations.Catalog) -> tuple[migrations.Migration, ...]:
        command = self._command("import curio")
        return migrations.pending(catalog, self.dialect, self.location, command)

    @abstractmethod
    def _our_columns(self) -> Rows:
        """Return table and column, of all tables with our names."""

    @abstractmethod
    def _run_script(self, sql: str) -> None:
        """Run the statements of a migration, inside a transaction."""

    @abstractmethod
    def _read(self, sql: str, params: Params) -> Rows:
        """Return all rows of a reading statement."""

    @abstractmethod
    def _write(self, sql: str, params: Params) -> Result:
        """Run one writing statement, committed on return unless inside a transaction."""

    @abstractmethod
    def _control(self, transaction: Transaction, sql: str) -> None:
        """Run a transaction control statement on its connection."""

    # --- the tables ---------------------------------------------------------------------------

    def initialize(self) -> bool:
        catalog = self._catalog()
        is_pending = bool(self._pending(catalog))
        if is_pending:
            if self.read_only:
                raise migrations.outdated(
                    catalog, self.dialect, self.location, self._migrate_command
                )
            self._migrate()
        self._tables_are_ours = True
        return is_pending and catalog.version > 0

    def _refuse_foreign_tables(self) -> None:
        """Refuse tables of other programs before the first write without `initialize`."""
        self._tables_are_ours = True  # The code below reads, and must not check again.
        try:
            catalog = self._catalog()
            if catalog.tables:
                self._pending(catalog)
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
            steps = self._pending(self._catalog())
            for step in steps[:1]:
                self._run_script(step.sql)
                self._note(step)
        return bool(steps)

    def _note(self, step: migrations.Migration) -> None:
        """Record that this step was applied."""
        self._write(
            f"INSERT INTO {self._qualified(migrations.MIGRATIONS_TABLE)} "
            "(version, name, kind, checksum, applied_at) "
            f"VALUES ({', '.join([self.placeholder] * 5)})",
            (*step[:4], encode_time(utc_now())),
        )

    def _lock_schema(self) -> None:
        """Let one transaction at a time migrate, unless its begin ensures that."""

    def _catalog(self) -> migrations.Catalog:
        columns: dict[str, set[str]] = defaultdict(set)
        for table, column in self._our_columns():
            columns[table].add(column)
        tables = {name: frozenset(found) for name, found in columns.items()}
        applied: Rows = []
        if tables.get(migrations.MIGRATIONS_TABLE) == migrations.MIGRATIONS_COLUMNS:
            applied = self._read(
                "SELECT version, name, kind, checksum "
                f"FROM {self._qualified(migrations.MIGRATIONS_TABLE)} ORDER BY version",
                (),
            )
        return migrations.Catalog(tables, tuple(migrations.Migration(*row) for row in applied))

    def _orphans_check(self) -> HealthCheck:
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

    def _texts_check(self, advice: str) -> HealthCheck:
        """Read every row as a caller would."""
        damaged = [each for table in TABLES for each in self._damaged_rows(table)]
        if not damaged:
            return HealthCheck("texts", "ok", "every row can be read")
        more = f", and {len(damaged) - health.NAMED} more" if len(damaged) > health.NAMED else ""
        return HealthCheck("texts", "error", "; ".join(damaged[: health.NAMED]) + more, advice)

    def _damaged_rows(self, table: Table[Any]) -> Iterator[str]:
        """Describe each row that cannot be decoded."""
        after = 0
        while ids := self._read(
            f"SELECT id FROM {self._table(table)} WHERE id > {self.placeholder} "
            "ORDER BY id LIMIT 400",
            (after,),
        ):
            first, after = ids[0][0], ids[-1][0]
            where = (Filter("id", ">=", first), Filter("id", "<", after + 1))
            if self._what_is_wrong(table, where):
                for (ident,) in ids:
                    if said := self._what_is_wrong(table, (Filter("id", "=", ident),)):
                        yield said

    def _what_is_wrong(self, table: Table[Any], where: Where) -> str:
        try:
            table.decode(self.select(table, where))
        except CorruptDatabaseError as error:
            return f"{table.name}: {error}"
        return ""

    def schema_version(self) -> int:
        return self._catalog().version

    def _lacks_tables(self, said: object) -> SchemaMismatchError:
        """Return the error for a statement whose table or column does not exist."""
        return SchemaMismatchError(
            f"{self.location} lacks tables of curio_persistence ({said}).",
            found="none",
            wanted=str(migrations.migrations(self.dialect)[-1].version),
            command=self._migrate_command,
        )

    def _refused_query(self, said: object) -> InvalidValueError:
        return refused_query(self.location, said)

    # --- transactions -------------------------------------------------------------------------

    def _commit(self, transaction: Transaction) -> None:
        self._control(transaction, "COMMIT")

    def _set_savepoint(self, transaction: Transaction, depth: int) -> str:
        savepoint = f"SAVEPOINT level_{depth}"
        self._control(transaction, f"{savepoint}{self._after_savepoint}")
        return savepoint

    def _release_savepoint(self, transaction: Transaction, savepoint: str) -> None:
        self._control(transaction, f"RELEASE {savepoint}")

    def _return_to_savepoint(self, transaction: Transaction, savepoint: str) -> None:
        # If the database itself has ended the transaction, nothing is left to undo.
        with suppress(PersistenceError):
            self._control(transaction, f"ROLLBACK TO {savepoint}")
            self._control(transaction, f"RELEASE {savepoint}")

    # --- statements ---------------------------------------------------------------------------

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

    @abstractmethod
    def _newness(self, table: Table[Any]) -> tuple[str, Params]:
        """Return the expression that tells inserted rows from updated ones, and its values."""

    def _upsert_row(
        self, table: Table[Any], row: Row, key: tuple[str, ...], update: tuple[str, ...]
    ) -> tuple[int, bool]:
        is_new, params = self._newness(table)
        sql = self._text(self._upsert_text, table, tuple(row), key, update, is_new)
        try:
            for ident, new in self._write(sql, (*row.values(), *params))[0]:
                return ident, bool(new)
        except InvalidValueError:
            pass  # `insert` raises the error that names the row.
        # A stored row that is not updated is not returned either.
        return super()._upsert_row(table, row, key, update)

    def update(
        self, table: Table[Any], where: Where, changes: Row, *, returning: tuple[str, ...] = ("id",)
    ) -> Rows:
        sql = self._text(self._update_text, table, tuple(changes), shape(where), returning)
        return self._write(sql, (*changes.values(), *self._values(where)))[0]

    def advance(
        self, table: Table[Any], key: StoredValue, counter: str, by: int, *, above: int = 0
    ) -> int | None:
        sql = self._text(self._advance_text, table, counter)
        rows = self._write(sql, (above, by, key))[0]
        return int(rows[0][0]) if rows else None

    def delete(self, table: Table[Any], where: Where, limit: int | None = None) -> int:
        sql = self._text(self._delete_text, table, shape(where), limit is not None)
        return self._write(sql, self._values(where) + (() if limit is None else (limit,)))[1]

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
