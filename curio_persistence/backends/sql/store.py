"""Stores in SQL databases: the tables, nested transactions, and the statements that are run."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, ClassVar

from curio_persistence.backends.sql import health, migrations
from curio_persistence.backends.sql.queries import refused_query
from curio_persistence.backends.sql.reading import SQLReading
from curio_persistence.backends.sql.statements import Params, Rows, shape
from curio_persistence.clock import utc_now
from curio_persistence.errors import (
    CorruptDatabaseError,
    InvalidValueError,
    PersistenceError,
    SchemaMismatchError,
)
from curio_persistence.store.base import HealthCheck
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import (
    Filter,
    Where,
)
from curio_persistence.store.table import Row, StoredValue, Table
from curio_persistence.store.transaction import ThreadTransaction, Transaction, TransactionalStore
from curio_persistence.tables import EVENTS, RUNS, TABLES, USAGE

Result = tuple[Rows, int]
"""The outcome of a statement: the rows it returned, and how many it changed."""


class SQLStore(SQLReading, TransactionalStore):
    """The common part of SQLite and PostgreSQL: statements, nested transactions, migrations."""

    _begin: ClassVar[str]
    _after_savepoint: ClassVar[str] = ""
    """Statements to send with one that sets a savepoint."""

    def __init__(self, mine: ThreadTransaction, *, read_only: bool) -> None:
        SQLReading.__init__(self)
        TransactionalStore.__init__(self, mine)
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
