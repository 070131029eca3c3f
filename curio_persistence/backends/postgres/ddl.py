"""Make, migrate and tend the tables of a PostgreSQL schema, beside programs that use them.

A migration is one transaction that waits for a lock for a few seconds at most: behind a waiting
ALTER TABLE every reader and writer of the table waits as well. Then it begins again. Indexes of
tables that may hold rows are built CONCURRENTLY, outside of it. No statement here has a deadline.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from curio_persistence.backends.postgres.dsn import lock_key
from curio_persistence.backends.postgres.pool import Connection
from curio_persistence.backends.postgres.statements import PostgresStatements
from curio_persistence.backends.sql import migrations
from curio_persistence.errors import (
    AccessDeniedError,
    BusyError,
    PersistenceError,
    UnsupportedError,
)
from curio_persistence.tables import EVENTS

_LOCK_TIMEOUT = "3s"
_PAUSE = 1.0
_TRIES = 10
_UNHURRIED = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
_PAYLOAD_INDEX = "agent_run_events_payload"
_IS_VALID = (
    "SELECT i.indisvalid FROM pg_catalog.pg_index i "
    "JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = %s AND c.relname = %s"
)


def adapted(sql: str, server_version: int) -> str:
    """Return a script for a server: before PostgreSQL 16 curio_payload() needs subtransactions,
    which parallel queries forbid."""
    return sql if server_version >= 160_000 else sql.replace("PARALLEL SAFE", "PARALLEL UNSAFE")


class PostgresDDL(PostgresStatements):
    """The part of a PostgreSQL store that makes tables and indexes."""

    def _migrate(self) -> None:
        try:
            super()._migrate()
        except AccessDeniedError as error:
            raise AccessDeniedError(
                f"{error} Or let a role that has it run: {self._migrate_command}"
            ) from error.__cause__

    def _migrate_one_step(self) -> bool:
        for _ in range(_TRIES - 1):
            try:
                return super()._migrate_one_step()
            except BusyError:  # Let the readers and writers go on that queue behind this one.
                time.sleep(_PAUSE)
        return super()._migrate_one_step()

    def _lock_schema(self) -> None:
        # Without the lock, 132 of 160 raced CREATEs failed, IF NOT EXISTS or not. It is polled: a
        # statement that waits has a snapshot, and CREATE INDEX CONCURRENTLY waits for snapshots.
        self._unhurried()
        key = lock_key(self._schema_name)
        while self._read("SELECT pg_try_advisory_xact_lock(%s)", (key,)) != [(True,)]:
            time.sleep(0.02)
        self._control(self._mine.required(), f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")

    def _unhurried(self) -> None:
        """Let statements of this transaction take as long as they do."""
        self._pinned().is_patient = True
        self._control(self._mine.required(), _UNHURRIED)

    def _run_script(self, sql: str) -> None:
        if migrations.is_concurrent(sql):
            self._change_indexes(migrations.index_changes(sql))
            return
        # IF NOT EXISTS asks for the right to create even where there is nothing to create.
        if not self._read(
            "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", (self._schema_name,)
        ):
            self._write(f"CREATE SCHEMA {self._schema}", ())
        sql = adapted(sql, self._pinned().server_version)
        self._write(sql.replace("{schema}", self._schema), ())

    def _change_indexes(self, changes: Sequence[migrations.IndexChange]) -> None:
        with self._patient_connection() as connection:
            for change in changes:
                sql = change.sql.replace(" INDEX ", " INDEX CONCURRENTLY ", 1)
                sql = sql.replace("{schema}", self._schema)
                if change.creates:
                    self._build_index(connection, change.name, sql)
                elif self._is_valid(connection, change.name) is not None:
                    self._drop_index(connection, change.name)

    def _build_index(self, connection: Connection, name: str, sql: str) -> bool:
        """Build an index unless it is there; return whether it was built.

        Every write would maintain what an interrupted build leaves, and no query would use it: it
        is dropped, by the interrupted build itself or else by the next.
        """
        is_valid = self._is_valid(connection, name)
        if is_valid:
            return False
        if is_valid is not None:
            self._drop_index(connection, name)
        try:
            self._run(connection, sql, ())
        except BaseException:
            with suppress(PersistenceError):
                self._drop_index(connection, name)
            raise
        return True

    def _drop_index(self, connection: Connection, name: str) -> None:
        self._run(connection, f"DROP INDEX CONCURRENTLY IF EXISTS {self._qualified(name)}", ())

    def _is_valid(self, connection: Connection, index: str) -> bool | None:
        """Return whether an index can be used; None where there is none of that name."""
        found, _ = self._run(connection, _IS_VALID, (self._schema_name, index))
        return found[0][0] if found else None

    @contextmanager
    def _patient_connection(self) -> Iterator[Connection]:
        """Open a connection beside the pool whose statements have no deadline."""
        connection = self._connect(self._patient_settings)
        connection.is_patient = True
        try:
            yield connection
        finally:
            connection.close()

    def _our_columns(self) -> list[tuple[Any, ...]]:
        return self._read(
            "SELECT c.relname, a.attname FROM pg_catalog.pg_class c "
            "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            "JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid "
            "WHERE n.nspname = %s AND c.relname = ANY(%s) AND a.attnum > 0 AND NOT a.attisdropped",
            (self._schema_name, list(migrations.OUR_TABLES)),
        )

    def create_payload_index(self) -> bool:
        if self._is_inside():
            raise UnsupportedError(
                "The index is built in several transactions: end the open one first."
            )
        self._check_writable()
        table = self._table(EVENTS)
        with self._patient_connection() as connection:
            is_new = self._build_index(
                connection,
                _PAYLOAD_INDEX,
                f'CREATE INDEX CONCURRENTLY "{_PAYLOAD_INDEX}" ON {table} '
                f"USING gin ({self._payload('data')} jsonb_path_ops)",
            )
            if is_new:
                # Or the planner would take every value for a frequent one, and go by the time.
                self._run(connection, f"ANALYZE {table}", ())
        return is_new

    def _payload(self, column: str) -> str:
        """Return the expression that a payload index is made of; see schema/postgres/events.sql."""
        return f"{self._qualified('curio_payload')}({column})"
