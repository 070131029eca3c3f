"""PostgreSQL: a pool of connections that wait for nothing but the server.

Single writes are one round trip in autocommit. Nothing lives in a session (no SET, no prepared
statement, no session lock), so pgbouncer's transaction mode works.
"""

from __future__ import annotations

import hashlib
import os
import re
import select
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from io import BytesIO
from itertools import chain, groupby
from operator import itemgetter
from threading import Lock
from typing import Any, cast

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, new_type, register_type
from psycopg2.extensions import connection as DriverConnection
from psycopg2.extensions import cursor as DriverCursor
from psycopg2.pool import PoolError, ThreadedConnectionPool

from curio_persistence.backends.postgres import health
from curio_persistence.backends.postgres.copy import CopySource, copy_text
from curio_persistence.backends.postgres.errors import PostgresErrors
from curio_persistence.backends.postgres.health import Server, TableRoom
from curio_persistence.backends.postgres.search import PostgresWords
from curio_persistence.backends.postgres.watchdog import Deadlines
from curio_persistence.backends.sql import health as common_health
from curio_persistence.backends.sql import migrations
from curio_persistence.backends.sql.store import (
    Local,
    Params,
    Result,
    SQLSnapshot,
    SQLStore,
    columns_of,
)
from curio_persistence.clock import utc_now
from curio_persistence.concurrency import forking
from curio_persistence.concurrency.fair_lock import Turnstile
from curio_persistence.concurrency.timeouts import checked_seconds
from curio_persistence.errors import (
    AccessDeniedError,
    ClosedError,
    ConfigurationError,
    PersistenceError,
    PoolTimeoutError,
    UnsupportedError,
)
from curio_persistence.results.csv import csv_columns, csv_in_pieces, csv_of_rows, is_quoted
from curio_persistence.store.base import (
    STREAM_ROWS,
    Finding,
    Position,
    Snapshot,
    conflict,
    missing_reference,
)
from curio_persistence.store.codecs import PICODOLLARS, encode_money, encode_time
from curio_persistence.store.filters import Filter, Measure, Order, Where, total
from curio_persistence.store.table import Columns, Row, Table
from curio_persistence.tables import EVENTS, TABLES

_NAME_BYTES = 63
_FETCHED_AT_ONCE = 10_000
_PAYLOAD_INDEX = "agent_run_events_payload"
_IS_VALID = (
    "SELECT i.indisvalid FROM pg_catalog.pg_index i "
    "JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = %s AND c.relname = %s"
)
_CURSOR = "curio_persistence_stream"
_ONE_STATE = "ISOLATION LEVEL REPEATABLE READ READ ONLY"
_NO_HOST = re.compile("://|.@")  # A name that begins with @ is an abstract socket.
_UNQUOTABLE = re.compile(r"[%\x00-\x1f\x7f]")
_DEFAULTS: Mapping[str, Any] = {
    "fallback_application_name": "curio_persistence",
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
_MONEY = {name for table in TABLES for name in table.kept_by(encode_money)}
TIMES = {name for table in TABLES for name in table.kept_by(encode_time)}
_SUMS_OF_MONEY = {total(column) for column in _MONEY}


def _kept_time(value: Any, cursor: DriverCursor) -> str | None:
    """A time that was selected in UTC, as text that says so."""
    return None if value is None else f"{value}+00"


def _kept_number(value: Any, cursor: DriverCursor) -> int | None:
    """Sums and costs: numeric in the database, whole numbers in kept form."""
    return None if value is None else int(value.partition(".")[0])


_TYPES = (
    new_type((1114,), "KEPTTIMESTAMP", _kept_time),
    new_type((1700,), "KEPT_NUMERIC", _kept_number),
)


class _Connection(DriverConnection):
    """A connection that yields kept values and commits each statement by itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.autocommit = True
        for kind in _TYPES:
            register_type(kind, self)
        self.has_something_to_read = _poller(self.fileno())


def _poller(descriptor: int) -> Callable[[int], object]:
    """A check whether there is anything to read from a socket, waiting that many milliseconds."""
    if not hasattr(select, "poll"):  # Windows.
        return lambda milliseconds: select.select([descriptor], [], [], milliseconds / 1000)[0]
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return poll.poll


class _Local(Local):
    def __init__(self) -> None:
        self.connections: list[_Connection] = []
        """Those taken for transactions: one, or two where a signal handler began one as well."""


class _NoIdsToReserve(Exception):
    """Who may insert need not have a right on the sequence that numbers the rows."""


class PostgresStore(SQLStore):
    """Rows in one schema of a PostgreSQL database.

    `settings` are libpq's. Times are in seconds: a thread waits at most `pool_timeout` for a
    connection; a statement that takes longer than `statement_timeout` is given up, even where the
    network swallows every answer.
    """

    dialect = "postgres"
    placeholder = "%s"
    _mine: _Local
    # Whatever the server's default: who has waited for others has to see what they stored.
    _begin = "BEGIN ISOLATION LEVEL READ COMMITTED"
    _no_limit = ""
    _any_of = "= ANY(%s)"

    def __init__(
        self,
        settings: Mapping[str, Any],
        *,
        schema_name: str = "agent_sdk",
        min_connections: int = 1,
        max_connections: int = 10,
        pool_timeout: float = 30.0,
        statement_timeout: float | None = None,
        pgbouncer: bool = False,
        read_only: bool = False,
    ) -> None:
        super().__init__(_Local(), read_only=read_only)
        sizes = (min_connections, max_connections)
        if any(type(size) is not int for size in sizes) or not 0 <= sizes[0] <= sizes[1] >= 1:
            raise ConfigurationError(
                "min_connections and max_connections are whole numbers, in order, and at least one "
                f"connection is allowed, not {min_connections!r} and {max_connections!r}."
            )
        if _NO_HOST.search(str(settings.get("host") or "")):
            # Not repeated: a URL may hold a password.
            raise ConfigurationError("host is a URL, or has an @ in it. Say dsn=, or connect(url).")
        self._schema_name = schema_name
        self._schema = quote_identifier(schema_name)
        self._settings = {**_DEFAULTS, **settings, "client_encoding": "UTF8"}
        if "connect_timeout" not in settings and "PGCONNECT_TIMEOUT" in os.environ:
            del self._settings["connect_timeout"]
        if statement_timeout is not None:
            statement_timeout = checked_seconds("statement_timeout", statement_timeout)
            if not statement_timeout:
                raise ConfigurationError("statement_timeout is above 0, or None for no limit.")
            if not pgbouncer:
                # Makes the server stop working as well. pgbouncer refuses `options`.
                milliseconds = max(round(statement_timeout * 1000), 1)
                given = settings.get("options") or os.environ.get("PGOPTIONS") or ""
                self._settings["options"] = f"{given} -c statement_timeout={milliseconds}".strip()
        self._errors = PostgresErrors(self.place, str(self._settings.get("password") or ""))
        self._sizes = sizes
        self._pool_timeout = checked_seconds("pool_timeout", pool_timeout)
        self._deadlines = None if statement_timeout is None else Deadlines(statement_timeout)
        self._words = PostgresWords(
            self._read,
            self._write,
            self._vacuum,
            self._qualified,
            _lock_key(f"{schema_name} search"),
            self.place,
        )
        self._turnstile = Turnstile(max_connections)
        self._pool: ThreadedConnectionPool | None = None
        self._idle: deque[_Connection] = deque()
        self._closed = False
        self._opening = Lock()
        forking.follow(self)

    def __repr__(self) -> str:
        return f"PostgresStore({self.place!r})"

    @property
    def place(self) -> str:
        s = self._settings
        server = s.get("host") or s.get("service") or os.environ.get("PGHOST") or "the local server"
        database = s.get("dbname") or os.environ.get("PGDATABASE") or "the default database"
        return f"PostgreSQL schema {self._schema_name!r} in {database} on {server}"

    @property
    def refuses_cheaply(self) -> bool:
        return False  # It would leave dead rows behind, and a line in the server's log.

    def running(self) -> frozenset[str]:
        # By their virtual ids: a real one is given only after the first row has got its id.
        sql = (
            "SELECT l.virtualtransaction FROM pg_catalog.pg_locks l "
            "JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid "
            "WHERE l.locktype = 'virtualxid' AND a.datname = current_database() "
            "AND l.pid <> pg_backend_pid()"
        )
        return frozenset(name for (name,) in self._read(sql, ()))

    # --- the tables ---------------------------------------------------------------------------

    def _migrate(self) -> None:
        try:
            super()._migrate()
        except AccessDeniedError as error:
            raise AccessDeniedError(
                f"{error} Or let somebody who has it run: {self._init_command}"
            ) from error.__cause__

    def _lock_schema(self) -> None:
        # Without the lock, 132 of 160 raced CREATEs failed, IF NOT EXISTS or not.
        self._read("SELECT pg_advisory_xact_lock(%s)", (_lock_key(self._schema_name),))

    def take_turns(self, purpose: str) -> None:
        key = _lock_key(f"{self._schema_name} {purpose}")
        self._control(f"SELECT pg_advisory_xact_lock({key})")

    def _run_script(self, sql: str) -> None:
        # IF NOT EXISTS asks for the right to create even where there is nothing to create.
        if not self._read(
            "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", (self._schema_name,)
        ):
            self._write(f"CREATE SCHEMA {self._schema}", ())
        self._write(sql.replace("{schema}", self._schema), ())

    def _our_columns(self) -> list[tuple[Any, ...]]:
        return self._read(
            "SELECT c.relname, a.attname FROM pg_catalog.pg_class c "
            "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            "JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid "
            "WHERE n.nspname = %s AND c.relname = ANY(%s) AND a.attnum > 0 AND NOT a.attisdropped",
            (self._schema_name, list(migrations.OUR_TABLES)),
        )

    def _qualified(self, name: str) -> str:
        return f'{self._schema}."{name}"'

    @property
    def words(self) -> PostgresWords:
        return self._words

    def compact(self) -> None:
        if self._is_inside():
            raise UnsupportedError("A transaction is open in this thread: end it before compact().")
        with self.transaction():
            self._words.tidy()
        # What is deleted is in the file until something else is written over it.
        names = migrations.SEARCH_TABLES[self.dialect]
        for name in names:
            self._write(f"VACUUM (FULL) {self._qualified(name)}", ())
        self._vacuum([*(table.name for table in TABLES), *names], "ANALYZE")

    def _vacuum(self, names: Sequence[str], how: str = "SKIP_LOCKED") -> None:
        """Make deleted rows room for others, unless a transaction is open here."""
        if not self._is_inside():
            self._write(f"VACUUM ({how}) {', '.join(map(self._qualified, names))}", ())

    def _command(self, name: str) -> str:
        return f"curio-persistence {name} --url 'postgresql://…'"

    def create_payload_index(self) -> bool:
        if self._is_inside():
            raise UnsupportedError(
                "The index is built without a lock, in several transactions: end yours before."
            )
        is_valid = self._read(_IS_VALID, (self._schema_name, _PAYLOAD_INDEX))
        if is_valid == [(True,)]:
            return False
        table, index = self._table(EVENTS), self._qualified(_PAYLOAD_INDEX)
        if is_valid:  # Somebody's build was killed: it is kept up, but never read.
            self._write(f"DROP INDEX CONCURRENTLY IF EXISTS {index}", ())
        self._write(
            f'CREATE INDEX CONCURRENTLY "{_PAYLOAD_INDEX}" ON {table} '
            f"USING gin ({self._payload('data')} jsonb_path_ops)",
            (),
        )
        # Or the planner would take every value for a frequent one, and go by the time instead.
        self._write(f"ANALYZE {table}", ())
        return True

    # --- statements ---------------------------------------------------------------------------

    def insert(self, table: Table[Any], row: Row) -> int:
        columns = tuple(row)
        sql = self._texts.get((table, columns)) or self._text(
            (table, columns), lambda: f"{self._insert_text(table, columns)} RETURNING id"
        )
        try:
            rows, _ = self._write(sql, tuple(row.values()))
        except PersistenceError as error:
            raise _refusal(error, table, row) from error.__cause__
        return int(rows[0][0])

    def insert_many(self, table: Table[Any], rows: Sequence[Row]) -> Sequence[int]:
        if not rows:
            return ()
        self._check_writable()
        try:
            return self._insert_copied(table, rows)
        except _NoIdsToReserve:
            return super().insert_many(table, rows)

    def _insert_copied(self, table: Table[Any], rows: Sequence[Row]) -> Sequence[int]:
        if self._is_inside():
            with self.transaction():
                return self._copy(self._pinned(), table, rows)
        connection = self._check_out()
        try:
            # In a transaction, by which `running` tells that there are ids without rows yet. Its
            # begin and end go with the statements beside them: each way to the server takes long.
            return self._copy(connection, table, rows, begin="BEGIN; ", commit="; COMMIT")
        except BaseException:
            with suppress(PersistenceError):
                self._run(connection, "ROLLBACK", ())
            raise
        finally:
            self._check_in(connection)

    def _copy(
        self,
        connection: _Connection,
        table: Table[Any],
        rows: Sequence[Row],
        *,
        begin: str = "",
        commit: str = "",
    ) -> Sequence[int]:
        """Reserve ids, and COPY the rows with them: one statement, which stores all or none."""
        columns, lines = table.line_up(rows)
        if "id" in columns:
            ids: Sequence[int] = [int(row["id"] or 0) for row in rows]
            if begin:
                self._run(connection, begin, ())
        else:
            ids = self._reserve(connection, table, len(rows), begin)
            columns = ("id", *columns)
            lines = [(ident, *line) for ident, line in zip(ids, lines, strict=True)]
        if table.unique in columns:
            # Whoever comes second waits for the first; in no order, each could come second.
            at = columns.index(table.unique)
            lines.sort(key=lambda line: line[at] or "")
        try:
            self._copy_in(connection, table, columns, copy_text(columns, lines), commit)
        except PersistenceError as error:
            # PostgreSQL names the row in the reader's language only.
            raise _refusal(error, table, rows[0] if len(rows) == 1 else {}) from error.__cause__
        return ids

    def insert_stream(self, table: Table[Any], pieces: Iterable[Sequence[Row]]) -> int:
        self._check_writable()
        stored = 0
        try:
            with self.transaction():
                lined_up = map(table.line_up, filter(None, pieces))
                for columns, alike in groupby(lined_up, itemgetter(0)):
                    texts = (copy_text(columns, lines) for _, lines in alike)
                    stored += self._copy_in(
                        self._pinned(), table, columns, chain.from_iterable(texts)
                    )
        except PersistenceError as error:
            raise _refusal(error, table, {}) from error.__cause__
        return stored

    def _copy_in(
        self,
        connection: _Connection,
        table: Table[Any],
        columns: tuple[str, ...],
        text: Iterator[bytes],
        ending: str = "",
    ) -> int:
        """COPY rows whose text may be made while the server takes in what was made before."""
        source = CopySource(text)
        sql = f"COPY {self._table(table)} ({', '.join(columns)}) FROM STDIN{ending}"
        try:
            return self._run(connection, sql, (), source)[1]
        except PersistenceError:
            if source.failure is not None:
                raise source.failure from None
            raise

    def _reserve(
        self, connection: _Connection, table: Table[Any], count: int, begin: str
    ) -> Sequence[int]:
        try:
            sql = self._reserving(connection, table)
            reserved, _ = self._run(connection, f"{begin}{sql}", (count,))
        except AccessDeniedError as error:
            raise _NoIdsToReserve from error
        return [ident for (ident,) in reserved]

    def _reserving(self, connection: _Connection, table: Table[Any]) -> str:
        """The statement that takes ids from the table's sequence, whose name the server knows."""
        text = self._texts.get((table, "ids"))
        if text is None:
            sql = "SELECT quote_literal(pg_get_serial_sequence(format('%%I.%%I', %s, %s), 'id'))"
            [(name,)], _ = self._run(connection, sql, (self._schema_name, table.name))
            text = f"SELECT nextval({name.replace('%', '%%')}) FROM generate_series(1, %s)"
            self._texts[table, "ids"] = text
        return text

    def stream(
        self,
        table: Table[Any],
        where: Where = (),
        *,
        order: tuple[Order, ...] | None = None,
        after: Position | None = None,
        size: int = STREAM_ROWS,
    ) -> Iterator[Columns]:
        if self._is_inside():
            yield from super().stream(table, where, order=order, after=after, size=size)
            return
        order = table.order if order is None else order
        with self._own_connection("READ ONLY") as connection:
            yield from self._read_stream(connection, table, where, order, after, size)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        if self._is_inside():
            with super().snapshot() as snapshot:
                yield snapshot
            return
        with self._own_connection(_ONE_STATE) as connection:
            self._run(connection, "SELECT 1", ())  # Which fixes the state that it sees.
            yield SQLSnapshot(partial(self._read_stream, connection))

    def _read_stream(
        self,
        connection: _Connection,
        table: Table[Any],
        where: Where,
        order: tuple[Order, ...],
        after: Position | None,
        size: int,
    ) -> Iterator[Columns]:
        """What `stream` answers, by a cursor of this connection."""
        sql = self._selecting(table, where, order, after, unlimited=True, from_start=True)
        declare = f"DECLARE {_CURSOR} NO SCROLL CURSOR FOR {sql}"
        self._run(connection, declare, self._values(where) + (after or ()))
        fetch = f"FETCH {size} FROM {_CURSOR}"
        while rows := self._run(connection, fetch, ())[0]:
            yield columns_of(table, where, rows)
            if self._closed:
                raise self._closed_error()
        self._run(connection, f"CLOSE {_CURSOR}", ())

    @contextmanager
    def _own_connection(self, mode: str) -> Iterator[_Connection]:
        """A connection beside the pool, in a transaction of its own: a reader that takes its time
        must not keep writers waiting."""
        connection = self._connect()
        try:
            self._run(connection, f"BEGIN {mode}", ())
            yield connection
        finally:
            connection.close()

    def reserve_ids(self, table: Table[Any], last: int) -> None:
        self._check_writable()
        with self.transaction():
            connection = self._pinned()
            self._run(
                connection,
                f"SELECT setval(s.name, {int(last)}) FROM "
                "(SELECT pg_get_serial_sequence(format('%%I.%%I', %s, %s), 'id')::regclass) "
                "AS s (name) WHERE coalesce(pg_sequence_last_value(s.name), 0) < %s",
                (self._schema_name, table.name, last),
            )

    def stream_csv(
        self, table: Table[Any], where: Where = (), *, order: tuple[Order, ...] | None = None
    ) -> Iterator[bytes]:
        order = table.order if order is None else order
        if self._is_inside():
            yield from csv_of_rows(self, table, where, order=order)
            return
        with self._own_connection(_ONE_STATE) as connection:
            self._run(connection, "SET LOCAL TIME ZONE 'UTC'", ())
            read = partial(self._read_csv, connection, table, where, order)
            yield from csv_in_pieces(read, order)

    def _read_csv(
        self,
        connection: _Connection,
        table: Table[Any],
        where: Where,
        order: tuple[Order, ...],
        after: Position | None,
        count: int,
    ) -> tuple[bytes, int]:
        if self._closed:
            raise self._closed_error()
        sql = self._reading_csv(table, where, order, after)
        params = (*self._values(where), *(after or ()), count)
        text = BytesIO()
        rows = self._run(connection, sql, params, text)[1]
        return text.getvalue(), rows

    def _csv_statement(
        self, table: Table[Any], where: Where, order: tuple[Order, ...], after: Position | None
    ) -> str:
        columns = csv_columns(table, order)
        what = ", ".join(
            f"({name} * {PICODOLLARS})::bigint AS {name}" if name in _MONEY else name
            for name in columns
        )
        quoted = ", ".join(name for name in columns if is_quoted(table, name))
        return (
            f"COPY ({self._ordered_text(what, table, where, order, after)} LIMIT %s) "
            f"TO STDOUT (FORMAT csv, QUOTE '''', FORCE_QUOTE ({quoted}))"
        )

    def _connect(self) -> _Connection:
        if self._closed:
            raise self._closed_error()
        try:
            connection = psycopg2.connect(connection_factory=_Connection, **self._settings)
        except psycopg2.Error as error:
            raise self._errors.translate_connecting(error) from error
        return cast(_Connection, connection)

    def _has(self, column: str) -> str:
        return f"{column}::jsonb ? %s"

    def _has_any(self, column: str) -> str:
        return f"{column}::jsonb ?| %s"

    def _holds(self, column: str) -> str:
        return f"{self._payload(column)} @> %s::jsonb"

    def _payload(self, column: str) -> str:
        """The expression that a payload index is made of, too; see schema/postgres/events.sql."""
        return f"{self._qualified('curio_payload')}({column})"

    def _several(self, values: tuple[Any, ...]) -> list[Any]:
        return list(values)

    def _condition(self, f: Filter) -> str:
        if f.op != "in":
            return super()._condition(f)
        if f.column in TIMES:  # The server would take the list for one of texts.
            return f"{f.column} = ANY(%s::timestamptz[])"
        return f"{self._reading(f.column)} {self._any_of}"

    def _measure(self, measure: Measure) -> str:
        text = super()._measure(measure)
        return f"({text} * {PICODOLLARS})" if measure in _SUMS_OF_MONEY else text

    def _listing(self, column: str) -> str:
        return f"array_agg({column}) FILTER (WHERE {column} IS NOT NULL)"

    def _listed(self, gathered: list[int] | None) -> list[int]:
        return gathered or []

    def _reading(self, column: str) -> str:
        if column in TIMES:
            # In the zone of the session, the last hours of the year 9999 may be beyond Python's.
            return f"({column} AT TIME ZONE 'UTC')"
        return f"({column} * {PICODOLLARS})" if column in _MONEY else column

    def _binding(self, column: str) -> str:
        # Multiplied, because a division would be rounded to sixteen digits.
        return "%s * 0.000000000001" if column in _MONEY else "%s"

    def _read(self, sql: str, params: Params) -> list[tuple[Any, ...]]:
        if self._is_inside():
            return self._run_inside(sql, params)[0]
        connection = self._check_out()
        try:
            return self._run(connection, sql, params)[0]
        finally:
            self._check_in(connection)

    def _check_writable(self) -> None:
        if self._read_only:
            raise AccessDeniedError(f"{self.place} was opened read-only.")
        if not self._tables_are_ours:
            self._refuse_foreign_tables()

    def _write(self, sql: str, params: Params) -> Result:
        self._check_writable()
        if self._is_inside():
            return self._run_inside(sql, params)
        connection = self._check_out()
        try:
            return self._run(connection, sql, params)
        finally:
            self._check_in(connection)

    def _run_inside(self, sql: str, params: Params) -> Result:
        """Run a statement in this thread's transaction, in a savepoint: else a failure, of a mere
        reading too, would end all of it, and COMMIT would not say so."""
        with self.transaction():
            return self._run(self._pinned(), sql, params)

    def _run(
        self,
        connection: _Connection,
        sql: str,
        params: Params,
        copied: BytesIO | CopySource | None = None,
    ) -> Result:
        """Run a statement, to its end or to its deadline; `copied` is what COPY reads or writes."""
        deadlines = self._deadlines
        if deadlines is not None:
            deadlines.begin(connection)
        try:
            cursor = connection.cursor()
            if copied is None:
                cursor.execute(sql, params or None)
            else:
                file = cast(BytesIO, copied)  # Of a file no more is used than a source has.
                cursor.copy_expert(cursor.mogrify(sql, params or None), file)
            return _fetched(cursor) if cursor.description else [], cursor.rowcount
        except psycopg2.Error as error:
            raise self._translate(error) from error
        finally:
            if deadlines is not None:
                deadlines.end(connection)

    # --- connections --------------------------------------------------------------------------

    def _control(self, sql: str) -> None:
        self._run(self._pinned(), sql, ())

    def _take_connection(self) -> None:
        self._mine.connections.append(self._check_out())

    def _give_connection_back(self) -> None:
        if self._mine.connections:
            self._check_in(self._mine.connections.pop())

    def _pinned(self) -> _Connection:
        if not self._mine.connections:
            raise ClosedError(
                "The process was forked inside this transaction; its connection stayed with the "
                "parent. Begin a transaction of the child's own."
            )
        return self._mine.connections[-1]

    def _check_out(self) -> _Connection:
        """A connection for this thread alone: the one used last, or a new one."""
        if not self._turnstile.enter(self._pool_timeout):
            raise PoolTimeoutError(
                f"None of the {self._sizes[1]} connections became free within "
                f"{self._pool_timeout:g} s; in use by {self._turnstile.holders()}. "
                "Raise max_connections or pool_timeout, or shorten transactions."
            )
        try:
            return self._idle_connection() or self._connection_from_pool()
        except BaseException:
            self._turnstile.leave()
            raise

    def _idle_connection(self) -> _Connection | None:
        """The one used last whose socket is silent: the server speaks on it only to end it."""
        try:
            while True:
                connection = self._idle.pop()
                if not connection.closed and not connection.has_something_to_read(0):
                    return connection
                self._discard(connection)
        except IndexError:  # Asked for, not asked about: another thread may take the last one.
            return None

    def _connection_from_pool(self) -> _Connection:
        try:
            pool = self._pool or self._open_pool()
            return self._idle_connection() or cast(_Connection, pool.getconn())
        except psycopg2.Error as error:
            if self._closed:
                raise self._closed_error() from error
            raise self._errors.translate_connecting(error) from error

    def _check_in(self, connection: _Connection) -> None:
        """Let others have the connection, unless it broke or a transaction is still open on it.

        It is kept at hand here: the pool's own bookkeeping takes longer than all of ours, and would
        close what exceeds its minimum.
        """
        try:
            if connection.get_transaction_status() == TRANSACTION_STATUS_IDLE:
                self._idle.append(connection)
            else:
                self._discard(connection)
        finally:
            self._turnstile.leave()

    def _discard(self, connection: _Connection) -> None:
        pool = self._pool
        if pool is not None:
            with suppress(PoolError):  # It was closed in this moment, and its connections with it.
                pool.putconn(connection, close=True)

    def _open_pool(self) -> ThreadedConnectionPool:
        with self._opening:
            if self._closed:
                raise self._closed_error()
            if self._pool is not None:  # Another thread was faster.
                return self._pool
            least, most = self._sizes
            pool = ThreadedConnectionPool(
                least, most, connection_factory=_Connection, **self._settings
            )
            # The pool would hand them out unseen, even after the server has ended them.
            self._idle.extend(cast(_Connection, pool.getconn()) for _ in range(least))
            self._pool = pool
            return pool

    def _closed_error(self) -> ClosedError:
        return ClosedError(f"{self.place} was closed. Open a new persistence.")

    def close(self) -> None:
        if self._mine.depth:
            raise UnsupportedError("A transaction is open in this thread: end it before close().")
        with self._opening:
            self._closed = True
            pool, self._pool = self._pool, None
        self._idle.clear()
        if pool is not None:
            pool.closeall()  # Those in use and those kept at hand among them.
        if self._deadlines is not None:
            self._deadlines.stop()

    def before_fork(self) -> None:
        """Nothing to settle: the child starts with a pool of its own."""

    def after_fork(self, *, in_child: bool) -> None:
        if not in_child:
            return
        # Forgotten, not closed: closing would say goodbye to the server on the parent's socket.
        # (psycopg2 knows in which process a connection was made and leaves it alone as well.)
        self._pool = None
        self._idle = deque()
        self._opening = Lock()
        self._mine.connections.clear()
        self._turnstile = Turnstile(self._sizes[1])
        if self._deadlines is not None:
            self._deadlines.start_again()

    # --- health, and what went wrong ----------------------------------------------------------

    def diagnose(self, *, deep: bool = False) -> list[Finding]:
        [answer] = self._read(health.SERVER, ())
        server = health.Server(*answer)
        ours = self._schema_name, list(migrations.OUR_TABLES)
        tables = [TableRoom(*row) for row in self._read(health.TABLES, ours)]
        size = sum(table.size for table in tables)
        return [
            server.engine(utc_now().date()),
            migrations.finding(self._catalog(), self.dialect),
            server.text(),
            self._pool_finding(server),
            health.space(tables, self._schema),
            self._indexes_finding(self._read(health.INDEXES, ours)),
            self._orphans_finding()
            if deep or size <= common_health.SMALL
            else common_health.unread("orphans", size),
        ]

    def _pool_finding(self, server: Server) -> Finding:
        begin = time.perf_counter()
        self._read("SELECT 1", ())
        milliseconds = (time.perf_counter() - begin) * 1000
        in_use, idle = self._turnstile.occupied(), len(self._idle)
        return server.pool(milliseconds, in_use, idle, self._sizes[1])

    def _indexes_finding(self, found: list[tuple[Any, ...]]) -> Finding:
        invalid = [self._qualified(name) for name, is_valid in found if not is_valid]
        if invalid:
            return health.invalid_indexes(invalid)
        return common_health.indexes({name for name, _ in found}, self.dialect)

    def _translate(self, error: psycopg2.Error) -> PersistenceError:
        if self._closed and error.pgcode is None:  # Not the server's word: it is our end.
            return self._closed_error()
        if error.pgcode in ("42P01", "42703", "3F000", "42883"):
            return self._lacks_tables(self._errors.said(error))
        return self._errors.translate(error)


def _fetched(cursor: DriverCursor) -> list[tuple[Any, ...]]:
    """All rows, in parts: while a part is fetched no other thread has its turn."""
    rows = cursor.fetchmany(_FETCHED_AT_ONCE)
    while len(rows) % _FETCHED_AT_ONCE == 0 and (part := cursor.fetchmany(_FETCHED_AT_ONCE)):
        rows += part
    return rows


def _refusal(error: PersistenceError, table: Table[Any], row: Row) -> PersistenceError:
    """What a failure to insert means, where the server says more than that it failed."""
    match getattr(error.__cause__, "pgcode", None):
        case "23503":
            return missing_reference(table, row)
        case "23505":
            return conflict(table, row)
    return error


def libpq_settings(dsn: str | None, **given: Any) -> dict[str, Any]:
    """libpq's settings: those given by name, and what a DSN says of the others."""
    settings: dict[str, Any] = dict(parse_dsn(dsn)) if dsn else {}
    settings.update((name, value) for name, value in given.items() if value not in (None, ""))
    return settings


def parse_dsn(dsn: str) -> dict[str, str]:
    """libpq's settings in a URL or a `key=value` string."""
    try:
        settings = dict(psycopg2.extensions.parse_dsn(dsn))
    except psycopg2.Error:
        # libpq quotes the part it cannot read, which may be the password: no cause, no text.
        raise ConfigurationError(
            "dsn is neither a postgresql:// URL nor a key=value string that libpq can read."
        ) from None
    hosts, ports = settings.get("host", "").split(","), settings.get("port", "").split(",")
    address = dsn.partition("?")[0].partition("://")[2]
    misplaced = "@" in address[1:] and not settings.keys() & {"user", "password"}
    if (
        misplaced
        or any("@" in host[1:] for host in hosts)
        or any(p and not p.isdecimal() for p in ports)
    ):
        # Not repeated: what stands there is a piece of the password.
        raise ConfigurationError(
            "dsn names a host or database with an @ in it, or a port that is no number. Letters "
            "that mean something in a URL must be percent-encoded in its password: @ as %40, / as "
            "%2F."
        )
    return settings


def quote_identifier(name: str) -> str:
    """A name as an identifier, whatever is in it.

    Percent signs, which the driver would take for placeholders, and control characters, of which a
    line break would end a comment, become Unicode escapes.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise ConfigurationError("The schema must have a name, without NUL in it.")
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise ConfigurationError(f"A schema name has no lone surrogates in it, as {name!r} has.")
    if len(name.encode()) > _NAME_BYTES:
        raise ConfigurationError(f"A schema name may have {_NAME_BYTES} bytes: {name!r} is longer.")
    quoted = name.replace('"', '""')
    if not _UNQUOTABLE.search(name):
        return f'"{quoted}"'
    quoted = quoted.replace("\\", "\\\\")
    return 'U&"' + _UNQUOTABLE.sub(lambda match: f"\\{ord(match[0]):04x}", quoted) + '"'


def _lock_key(schema_name: str) -> int:
    digest = hashlib.sha256(f"curio_persistence {schema_name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
