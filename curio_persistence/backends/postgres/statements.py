"""Run statements on PostgreSQL: each on a pooled connection, to its end or to its deadline."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from io import BytesIO
from threading import Lock, get_ident
from typing import Any, ClassVar, cast

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from psycopg2.extensions import cursor as DriverCursor

from curio_persistence.backends.postgres import dsn
from curio_persistence.backends.postgres.errors import PostgresErrors
from curio_persistence.backends.postgres.pool import Connection, ReaderTicket, WaitingPool
from curio_persistence.backends.postgres.watchdog import Watchdog
from curio_persistence.backends.sql.statements import Params
from curio_persistence.backends.sql.store import Result, SQLStore
from curio_persistence.concurrency import forking
from curio_persistence.concurrency.fair_lock import Ticket
from curio_persistence.concurrency.time_limit import in_reading_time, in_time, limit_ends
from curio_persistence.concurrency.timeouts import checked_seconds
from curio_persistence.errors import (
    AccessDeniedError,
    ClosedError,
    ConfigurationError,
    PersistenceError,
    UnsupportedError,
)
from curio_persistence.store.transaction import ThreadTransaction, Transaction, left_elsewhere

_NO_IDLE_LIMIT = "SET LOCAL idle_in_transaction_session_timeout = 0"
_ANY_TEXT = ("UTF8", "SQL_ASCII")
"""The encodings of databases that store every text."""
ONE_STATE = "ISOLATION LEVEL REPEATABLE READ READ ONLY"
_SAVEPOINT = "SAVEPOINT statement"
_NEXT_SAVEPOINT = f"RELEASE {_SAVEPOINT}; {_SAVEPOINT}"
_OLDEST = 14
_LACKING = ("42P01", "42703", "3F000")
_FETCHED_AT_ONCE = 10_000
_SENT_AT_ONCE = 1 << 20


class PostgresStatements(SQLStore, forking.Forkable):
    """The part of a PostgreSQL store that owns connections and runs statements on them."""

    dialect = "postgres"
    placeholder = "%s"
    # Whatever the server's default: a transaction that waited for another must see its rows.
    _begin = f"BEGIN ISOLATION LEVEL READ COMMITTED; {_SAVEPOINT}"
    _after_savepoint = f"; {_SAVEPOINT}"
    _no_limit = None
    _any_of = "= ANY(%s)"
    _greatest = "greatest({}, {})"
    _conditions: ClassVar[Mapping[str, str]] = {
        "differs from": "{column} IS DISTINCT FROM {value}",
        "has": "{column}::jsonb ? %s",
        "has any": "{column}::jsonb ?| %s",
        "has text": 'strpos(lower({column} COLLATE "C"), lower(%s COLLATE "C")) > 0',
    }

    def __init__(
        self,
        settings: Mapping[str, Any],
        *,
        schema_name: str = "agent_sdk",
        min_connections: int = 1,
        max_connections: int = 10,
        pool_timeout: float = 30.0,
        statement_timeout: float | None = 10.0,
        pgbouncer: bool = False,
        read_only: bool = False,
    ) -> None:
        super().__init__(ThreadTransaction(), read_only=read_only)
        self._sizes = _checked_sizes(min_connections, max_connections)
        self._schema_name = schema_name
        self._schema = dsn.quote_identifier(schema_name)
        timeout = _checked_statement_timeout(statement_timeout)
        # pgbouncer may refuse the start-up option that tells the server of a timeout.
        tells = self._tells_server = timeout is not None and not pgbouncer
        self._settings = dsn.session_settings(settings, timeout if tells else None)
        self._patient_settings = dsn.session_settings(settings, 0 if tells else None)
        self._errors = PostgresErrors(self.location, str(self._settings.get("password") or ""))
        self._pool_timeout = checked_seconds("pool_timeout", pool_timeout)
        self._plain_settings = dsn.session_settings(settings, None)
        self._preparation: Callable[[], None] | None = None
        self._preparing, self._preparing_thread = Lock(), 0
        self._watchdog = Watchdog(math.inf if timeout is None else timeout)
        self._encoding_was_told = False
        self._pool = self._new_pool()
        forking.follow(self)

    @property
    def location(self) -> str:
        return f"PostgreSQL schema {self._schema_name!r} in {dsn.describe(self._settings)}"

    def initialize(self) -> bool:
        self._pool.fill()
        return super().initialize()

    def _qualified(self, name: str) -> str:
        return f'{self._schema}."{name}"'

    # --- statements ---------------------------------------------------------------------------

    def _read(self, sql: str, params: Params) -> list[tuple[Any, ...]]:
        if self._is_inside():
            return self._run_anywhere(sql, params)[0]
        return in_reading_time(self._run_anywhere, sql, params)[0]

    def _write(self, sql: str, params: Params) -> Result:
        self._check_writable()
        return self._run_anywhere(sql, params)

    def _check_writable(self) -> None:
        if self.read_only:
            raise AccessDeniedError(f"{self.location} was opened read-only.")
        if not self._tables_are_ours:
            self._refuse_foreign_tables()

    def _run_anywhere(self, sql: str, params: Params) -> Result:
        """Run a statement in this thread's transaction, or else by itself."""
        transaction = self._mine.current()
        if transaction is not None:
            return self._run_inside(transaction, sql, params)
        self._prepare()
        # As `lent` does it, which takes as long as all the rest of this call in the client.
        ticket, connection = Ticket(), None
        try:
            connection = self._pool.getconn(ticket)
            return self._run(connection, sql, params)
        finally:
            try:
                self._pool.putconn(connection, ticket)
            finally:
                self._pool.release(ticket)

    def _run_inside(self, transaction: Transaction, sql: str, params: Params) -> Result:
        """Run a statement of a transaction in a savepoint.

        Without it a failure, even of a read, would end the whole transaction, and COMMIT would not
        say so. It travels with the statement, and the next statement releases it.
        """
        with transaction.lock:
            connection = _connection_of(transaction)
            cursor = self._cursor(connection)
            try:
                return self._execute(connection, cursor, f"{_NEXT_SAVEPOINT}; {sql}", params)
            except BaseException:
                if cursor.query is not None:  # Otherwise it was never sent.
                    with suppress(PersistenceError):
                        self._run(connection, f"ROLLBACK TO {_SAVEPOINT}", ())
                raise

    def _run(
        self,
        connection: Connection,
        sql: str,
        params: Params,
        copied: BytesIO | None = None,
    ) -> Result:
        """Run a statement, to its end or to its deadline; COPY reads or writes `copied`."""
        return self._execute(connection, self._cursor(connection), sql, params, copied)

    def _cursor(self, connection: Connection) -> DriverCursor:
        try:
            return connection.cursor()
        except psycopg2.Error as error:  # The connection broke, or was closed.
            raise self._translate(error) from error
        except ImportError as error:  # The driver imports datetime here.
            raise _exiting() from error

    def _execute(
        self,
        connection: Connection,
        cursor: DriverCursor,
        sql: str,
        params: Params,
        copied: BytesIO | None = None,
    ) -> Result:
        try:
            if not connection.is_patient:
                connection.deadline = min(time.monotonic() + self._watchdog.seconds, limit_ends())
            if copied is None:
                cursor.execute(sql, params or None)
            else:
                cursor.copy_expert(cursor.mogrify(sql, params or None), copied, _SENT_AT_ONCE)
            return _fetched(cursor) if cursor.description else [], cursor.rowcount
        except psycopg2.Error as error:
            raise self._translate(error) from error
        finally:
            # First of all, without a call: an interrupt must not leave the deadline behind.
            deadline, connection.deadline = connection.deadline, None
            if deadline is not None and time.monotonic() > deadline:
                connection.is_overdue = True

    def _translate(self, error: psycopg2.Error) -> PersistenceError:
        if self._pool.closed and error.pgcode is None:  # Not from the server: `close()` did it.
            return self._closed_error()
        if error.pgcode in _LACKING or (error.pgcode == "42883" and "curio_" in str(error)):
            return self._lacks_tables(self._errors.message(error))
        return self._errors.translate(error)

    # --- connections --------------------------------------------------------------------------

    def prepare_later(self, prepare: Callable[[], None]) -> None:
        """Call `prepare`, which makes the tables, before the first statement of any thread."""
        self._preparation = prepare

    def _prepare(self) -> None:
        if self._preparation is not None and self._preparing_thread != get_ident():
            in_time(self._prepare_once, "The first connection")

    def _prepare_once(self) -> None:
        with self._preparing:
            if self._preparation is None:
                return
            self._preparing_thread = get_ident()
            try:
                self._preparation()
                self._preparation = None
            finally:
                self._preparing_thread = 0

    def _control(self, transaction: Transaction, sql: str) -> None:
        self._run(_connection_of(transaction), sql, ())

    def _enter(self, transaction: Transaction) -> None:
        self._prepare()
        self._check_writable()
        transaction.connection = self._pool.getconn(transaction)
        self._control(transaction, self._begin)

    def _finish(self, transaction: Transaction) -> None:
        with transaction.lock:
            connection, transaction.connection = transaction.connection, None
            if connection is not None:
                self._roll_back(connection)
        self._pool.putconn(connection, transaction)

    def _roll_back(self, connection: Connection) -> None:
        """End a transaction that was not committed."""
        if connection.get_transaction_status() != TRANSACTION_STATUS_IDLE:
            with suppress(PersistenceError):
                self._run(connection, "ROLLBACK", ())

    def _pinned(self) -> Connection:
        """Return the connection of this thread's transaction."""
        return _connection_of(self._mine.required())

    @contextmanager
    def _reader(self, mode: str) -> Iterator[Connection]:
        """Take a connection for a reading transaction that lasts while the caller uses its rows."""
        self._prepare()
        with self._pool.lent(ReaderTicket()) as connection:
            # The caller may pause between two rows for longer than the server lets others idle.
            self._run(connection, f"BEGIN {mode}; {_NO_IDLE_LIMIT}", ())
            yield connection
            self._run(connection, "COMMIT", ())

    def _connect(self, settings: Mapping[str, Any]) -> Connection:
        used = settings if self._tells_server else self._plain_settings
        try:
            connection: Connection = psycopg2.connect(connection_factory=Connection, **used)
        except psycopg2.Error as error:
            if self._tells_server and "unsupported startup parameter" in str(error):
                self._tells_server = False
                return self._connect(settings)
            raise self._errors.translate_connecting(error) from error
        except ImportError as error:
            raise _exiting() from error
        connection.prepare()
        if connection.server_version < _OLDEST * 10_000:
            raise UnsupportedError(
                f"{self.location} runs PostgreSQL {connection.server_version // 10_000}; "
                f"curio_persistence needs PostgreSQL {_OLDEST} or newer."
            )
        self._watchdog.watch(connection)
        self._warn_of_encoding(connection)
        return connection

    def _warn_of_encoding(self, connection: Connection) -> None:
        encoding = connection.get_parameter_status("server_encoding")
        if encoding not in _ANY_TEXT and not self._encoding_was_told:
            self._encoding_was_told = True
            import logging  # Imported here: the import is slow and seldom needed.

            logging.getLogger(__name__).warning(
                "%s is encoded in %s, so records with characters beyond it are refused; recorders "
                "spell these out in ASCII. Use a database with ENCODING 'UTF8'.",
                self.location,
                encoding,
            )

    def _new_pool(self) -> WaitingPool:
        connect = partial(self._connect, self._settings)
        return WaitingPool(self._sizes, self._pool_timeout, connect, self._closed_error)

    def _closed_error(self) -> ClosedError:
        return ClosedError(f"{self.location} was closed. Open a new persistence.")

    def close(self) -> None:
        self.check_outside("close()")
        self._pool.closeall()
        self._watchdog.stop()

    def start_again(self) -> None:
        """Begin with a pool of its own, in a forked child."""
        # Dropped, not closed: psycopg2 knows in which process a connection was made, and leaves
        # the socket to the parent.
        closed = self._pool.closed
        self._pool = self._new_pool()
        self._pool.closed = closed
        self._preparing, self._preparing_thread = Lock(), 0
        if self._mine.transaction is not None:
            self._mine.transaction.connection = None
        self._watchdog.start_again()


def _connection_of(transaction: Transaction) -> Connection:
    """Return the connection of an open transaction."""
    if transaction.ended:
        raise left_elsewhere()
    if transaction.connection is None:
        raise ClosedError(
            "The process was forked inside this transaction; its connection stayed with the "
            "parent. Begin a transaction of the child's own."
        )
    return cast(Connection, transaction.connection)


def _exiting() -> ClosedError:
    return ClosedError("The interpreter is shutting down; nothing of this call was stored.")


def _fetched(cursor: DriverCursor) -> list[tuple[Any, ...]]:
    """Return all rows, fetched in parts: while a part is fetched no other thread can run."""
    rows = cursor.fetchmany(_FETCHED_AT_ONCE)
    while len(rows) % _FETCHED_AT_ONCE == 0 and (part := cursor.fetchmany(_FETCHED_AT_ONCE)):
        rows += part
    return rows


def _checked_sizes(least: int, most: int) -> tuple[int, int]:
    if any(type(size) is not int for size in (least, most)) or not 0 <= least <= most >= 1:
        raise ConfigurationError(
            "min_connections and max_connections are whole numbers, in order, and at least one "
            f"connection is allowed, not {least!r} and {most!r}."
        )
    return least, most


def _checked_statement_timeout(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    seconds = checked_seconds("statement_timeout", seconds)
    if not seconds:
        raise ConfigurationError("statement_timeout is above 0, or None for no limit.")
    return seconds
