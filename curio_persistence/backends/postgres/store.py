"""PostgreSQL: rows in one schema, reached through a pool of connections.

A single write is one round trip in autocommit. Nothing lives in a session (no SET, no prepared
statement, no session lock), so pgbouncer's transaction mode works.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import count
from shlex import quote
from typing import Any

from curio_persistence.backends.postgres import health, payloads
from curio_persistence.backends.postgres.backup import PostgresBackup
from curio_persistence.backends.postgres.copy import SEQUENCE, PostgresCopy
from curio_persistence.backends.postgres.dsn import lock_key
from curio_persistence.backends.postgres.errors import refusal
from curio_persistence.backends.postgres.health import TableSize
from curio_persistence.backends.postgres.hypertables import PostgresHypertables
from curio_persistence.backends.postgres.pool import Connection
from curio_persistence.backends.postgres.queries import PostgresQueries
from curio_persistence.backends.postgres.replication import PostgresReplication
from curio_persistence.backends.postgres.search import PostgresSearchIndex
from curio_persistence.backends.postgres.statements import ONE_STATE
from curio_persistence.backends.postgres.vectors import PostgresVectors
from curio_persistence.backends.sql import health as common_health
from curio_persistence.backends.sql import migrations
from curio_persistence.backends.sql.statements import Params, Rows, columns_of, shape, shape_of
from curio_persistence.clock import utc_now
from curio_persistence.content.store import SharedContent
from curio_persistence.errors import PersistenceError, UnsupportedError
from curio_persistence.store.base import HealthCheck
from curio_persistence.store.codecs import PICODOLLARS, encode_money, encode_time
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
from curio_persistence.store.query import Query, ReadRows
from curio_persistence.store.table import Columns, Row, Table
from curio_persistence.tables import ALL_TABLES, EVENTS, RUNS, USAGE

_STORED_TIME = 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'
_SECONDS_TO_1970 = 62_135_596_800
"""The seconds of the years from 1 to 1969."""
_ADVICE = "Stop writing, and restore a backup into another schema or database."
_CURSOR = "curio_persistence_stream_{}"
_numbers = count()
_MONEY = {name for table in ALL_TABLES for name in table.encoded_by(encode_money)}
TIMES = {name for table in ALL_TABLES for name in table.encoded_by(encode_time)}


class PostgresRows(
    PostgresReplication,
    PostgresCopy,
    PostgresQueries,
    PostgresHypertables,
    PostgresVectors,
    PostgresBackup,
):
    """The rows of a PostgreSQL store as they are stored."""

    insert_first = False  # It would leave dead rows behind, and a line in the server's log.
    writers_wait = False
    row_overhead = 350
    size_of_value = "pg_column_size({})"  # Compressed, as it is stored.

    def __init__(self, settings: Mapping[str, Any], **options: Any) -> None:
        super().__init__(settings, **options)
        self._search_index = PostgresSearchIndex(
            self._read, self._write, self._qualified, self._maintain
        )

    def __repr__(self) -> str:
        location = self.location if hasattr(self, "_settings") else None  # None in the constructor.
        return f"PostgresStore({location!r})"

    def active_transactions(self, table: Table[Any]) -> frozenset[str] | None:
        # Taking an id locks the sequence until the transaction ends, before the id is given out.
        sql = (
            "SELECT DISTINCT virtualtransaction FROM pg_catalog.pg_locks "
            "WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted "
            f"AND relation = {SEQUENCE} "
            "AND database = (SELECT oid FROM pg_catalog.pg_database "
            "WHERE datname = current_database()) AND pid IS DISTINCT FROM pg_backend_pid()"
        )
        return frozenset(name for (name,) in self._read(sql, (self._schema_name, table.name)))

    def check_feed(self) -> None:
        [(is_standby,)] = self._read("SELECT pg_catalog.pg_is_in_recovery()", ())
        if is_standby:
            raise UnsupportedError(
                f"{self.location} is a standby, which does not know what transactions are open: "
                "replicate the primary server."
            )

    # --- the tables ---------------------------------------------------------------------------

    def advisory_lock(self, purpose: str) -> None:
        key = lock_key(f"{self._schema_name} {purpose}")
        self._control(self._mine.required(), f"SELECT pg_advisory_xact_lock({key})")

    def try_advisory_lock(self, purpose: str) -> bool:
        key = lock_key(f"{self._schema_name} {purpose}")
        [(locked,)] = self._read("SELECT pg_try_advisory_xact_lock(%s)", (key,))
        return bool(locked)

    def lock_rows(
        self,
        table: Table[Any],
        ids: Collection[int],
        *,
        wait: bool = False,
        shared: bool = False,
    ) -> set[int]:
        lock = "KEY SHARE" if shared else f"UPDATE {'' if wait else 'SKIP LOCKED'}"
        sql = (
            f"SELECT id FROM {self._qualified(table.name)} WHERE id = ANY(%s::bigint[]) "
            f"ORDER BY id FOR {lock}"
        )
        return {ident for (ident,) in self._read(sql, (list(ids),))}

    @property
    def search_index(self) -> PostgresSearchIndex:
        return self._search_index

    def compact(self) -> None:
        self.check_outside("compact()")
        self._search_index.optimize()
        # Deleted rows stay in the file until other data overwrites them.
        names = migrations.SEARCH_TABLES
        ours = [*(table.name for table in ALL_TABLES), *names]
        with self._patient_connection() as connection:
            for name in names:
                self._run(connection, f"VACUUM (FULL) {self._qualified(name)}", ())
            self._run(connection, f"VACUUM (ANALYZE) {', '.join(map(self._qualified, ours))}", ())

    def _maintain(self, sql: str) -> None:
        """Run a statement of maintenance, unless a transaction is open in this thread."""
        if not self._is_inside():
            self._write(sql, ())

    def _command(self, name: str) -> str:
        return f"curio-persistence {name} --url 'postgresql://…'"

    # --- statements ---------------------------------------------------------------------------

    def _newness(self, table: Table[Any]) -> tuple[str, tuple[Any, ...]]:
        return "xmax = 0", ()  # An update locks the row first, and leaves its mark.

    def insert(self, table: Table[Any], row: Row) -> int:
        sql = self._text(self._insert_row_text, table, tuple(row))
        try:
            rows, _ = self._write(sql, tuple(row.values()))
        except PersistenceError as error:
            raise refusal(error, table, row) from error.__cause__
        return int(rows[0][0])

    def _insert_row_text(self, table: Table[Any], columns: tuple[str, ...]) -> str:
        return f"{self._insert_text(table, columns)} RETURNING id"

    def stream_query(self, query: Query, size: int) -> Iterator[Columns]:
        if self._is_inside():
            yield from super().stream_query(query, size)
            return
        with self._reader("READ ONLY") as connection:
            yield from self._read_stream(connection, query, size)

    @contextmanager
    def snapshot(self) -> Iterator[ReadRows]:
        if self._is_inside():
            with super().snapshot() as read:
                yield read
            return
        with self._reader(ONE_STATE) as connection:
            self._run(connection, "SELECT 1", ())  # This fixes the state that it sees.
            yield partial(self._read_stream, connection)

    def _read_stream(self, connection: Connection, query: Query, size: int) -> Iterator[Columns]:
        """Yield the rows of `stream` by a cursor of this connection."""
        sql = self._text(self._select_text, shape_of(query))
        name = _CURSOR.format(next(_numbers))
        declare = f"DECLARE {name} NO SCROLL CURSOR FOR {sql}"
        self._run(connection, declare, self._params(query))
        fetch = f"FETCH {size} FROM {name}"
        while rows := self._run(connection, fetch, ())[0]:
            yield columns_of(query, rows) or []
            self._pool.refuse_if_closed()
        self._run(connection, f"CLOSE {name}", ())

    def _several(self, values: tuple[Any, ...]) -> list[Any]:
        return list(values)

    def _where_text(self, where: Where, after: tuple[Order, ...] = ()) -> str:
        return super()._where_text(payloads.as_one(where), after)

    def _values(self, where: Where) -> Params:
        return super()._values(payloads.as_one(where))

    def _condition(self, f: Filter) -> str:
        if f.op == "contains":
            return f"{self._payload(f.column)} @> %s::jsonb"
        if f.op == "in" and f.column in TIMES and not isinstance(f.value, Select):
            return f"{f.column} = ANY(%s::timestamptz[])"  # Else it would be a list of texts.
        if f.op == "in" and not isinstance(f.value, Select):
            return f"{self._reading(f.column)} {self._any_of}"
        return super()._condition(f)

    def _bucket(self, bucket: Bucket) -> str:
        # In seconds since 1970: to write a time for each row takes longer than all else.
        first = f"'0001-01-01 00:00:00+00'::timestamptz - interval '{bucket.shift:d} seconds'"
        begin = f"date_bin('{bucket.seconds:d} seconds', {bucket.column}, {first})"
        return f"date_part('epoch', {begin})"

    def _bucket_start(self, bucket: Bucket, value: float) -> str:
        return bucket.start((int(value) + _SECONDS_TO_1970 + bucket.shift) // bucket.seconds)

    def _read_spans(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where,
        spans: Spans,
        group_by: tuple[GroupKey, ...],
    ) -> Rows:
        column, edges = spans
        sql = self._text(self._spans_text, table, measures, shape(where), column, group_by)
        rows = self._read(sql, ([*edges[:-1]], [*edges[1:]], *self._values(where)))
        return [(edges[number - 1], *row) for number, *row in rows]

    def _spans_text(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where,
        column: str,
        group_by: tuple[GroupKey, ...],
    ) -> str:
        window = f"{column} >= span_begin AND {column} < span_end"
        groups = self._aggregate_text(table, measures, where, group_by, window)
        spans = "unnest(%s::timestamptz[], %s::timestamptz[]) WITH ORDINALITY"
        return (
            f"SELECT span, groups.* FROM {spans} AS spans (span_begin, span_end, span) "
            f"CROSS JOIN LATERAL ({groups}) AS groups"
        )

    def _listing(self, column: str) -> str:
        return f"array_agg({column}) FILTER (WHERE {column} IS NOT NULL)"

    def _listed(self, gathered: list[int] | None) -> list[int]:
        return gathered or []

    def _reading(self, column: str, expression: str | None = None) -> str:
        text = expression or column
        if column in TIMES:
            return f"to_char({text} AT TIME ZONE 'UTC', '{_STORED_TIME}')"
        return f"({text} * {PICODOLLARS})" if column in _MONEY else text

    def _binding(self, column: str) -> str:
        # Multiplied, because a division would be rounded to sixteen digits.
        return "%s * 0.000000000001" if column in _MONEY else "%s"

    # --- health, and what went wrong ----------------------------------------------------------

    def advice_on_space(self) -> str:
        if self.has_registry:
            return "The space of a month goes back to the disk when all of its runs have expired."
        names = [self._qualified(table.name) for table in (RUNS, EVENTS, USAGE)]
        commands = " ".join(f"-c {quote(f'REINDEX TABLE CONCURRENTLY {name}')}" for name in names)
        return (
            "No space went back to the disk: new records use it again. To make the indexes smaller "
            f"while agents record: psql {commands}"
        )

    def diagnose(self, *, deep: bool = False) -> list[HealthCheck]:
        [answer] = self._read(health.SERVER, ())
        server = health.Server(*answer)
        ours = self._schema_name, list(migrations.OUR_TABLES)
        tables = [TableSize(*row) for row in self._read(health.TABLES, ours)]
        size = sum(table.size for table in tables)
        return [
            server.engine(utc_now().date()),
            migrations.check(self._catalog(), self.dialect),
            server.text(),
            server.checksums(),
            self._pool_check(server),
            health.space(tables, self._schema),
            *((self._partitions_check(),) if self.has_registry else ()),
            self._indexes_check(self._read(health.INDEXES, ours)),
            common_health.views({v for (v,) in self._read(health.VIEWS, (self._schema_name,))}),
            self._orphans_check()
            if deep or size <= common_health.SMALL
            else common_health.unread("orphans", size),
            *((self._texts_check(_ADVICE),) if deep else ()),
        ]

    def engine_numbers(self) -> dict[str, int]:
        ours = self._schema_name, list(migrations.OUR_TABLES)
        [(size, written)] = self._read(health.NUMBERS, ours)
        return {
            "database_bytes": size,
            "wal_written_bytes": written,
            "connections_used": self._pool.in_use(),
            "connections_idle": self._pool.idle(),
            "connections_max": self._sizes[1],
        }

    def _pool_check(self, server: health.Server) -> HealthCheck:
        begin = time.perf_counter()
        self._read("SELECT 1", ())
        milliseconds = (time.perf_counter() - begin) * 1000
        in_use, idle = self._pool.in_use(), self._pool.idle()
        return server.pool(milliseconds, in_use, idle, self._sizes[1])

    def _indexes_check(self, found: list[tuple[Any, ...]]) -> HealthCheck:
        invalid = [self._qualified(name) for name, is_valid in found if not is_valid]
        if invalid:
            return health.invalid_indexes(invalid)
        return common_health.indexes({name for name, _ in found}, self.dialect)


class PostgresStore(SharedContent, PostgresRows):
    """Rows in one schema of a PostgreSQL database.

    `settings` are libpq's. Times are in seconds: a thread waits at most `pool_timeout` for a
    connection; a statement that takes longer than `statement_timeout` is given up, even where the
    network swallows every answer.
    """
