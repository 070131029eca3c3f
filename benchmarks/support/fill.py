"""Tables created by the package and filled through the driver, as fast as possible."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks.support import rows
from curio_persistence import PostgresPersistence, SQLitePersistence

Chunks = Iterable[Sequence[tuple[Any, ...]]]
Content = tuple[str, Sequence[str], Chunks]
"""A table, the filled columns, and rows of them."""

_TABLES = ("agent_runs", "agent_run_events", "agent_llm_usage")
_PICODOLLAR = Decimal(10) ** -12


def events(runs: int, each: int, *, idle: int = 0, first: int = 0) -> list[Content]:
    """Fill in runs with so many events each, from the first one on, and idle ones without any."""
    return [
        ("agent_runs", rows.RUN_COLUMNS, [rows.run_rows(runs + idle, first=first)]),
        ("agent_run_events", rows.EVENT_COLUMNS, rows.event_rows(runs, each=each, first=first)),
    ]


def worded(runs: int, each: int) -> list[Content]:
    """Fill in runs with so many events each, whose payloads have words as in prose."""
    return [
        ("agent_runs", rows.RUN_COLUMNS, [rows.run_rows(runs)]),
        ("agent_run_events", rows.EVENT_COLUMNS, rows.worded_rows(runs, each=each)),
    ]


def usage(calls: int) -> list[Content]:
    """Fill in model calls, of runs with a hundred calls and ten events each."""
    runs = max(calls // 100, len(rows.AGENTS))
    return [
        *events(runs, each=10),
        ("agent_llm_usage", rows.USAGE_COLUMNS, rows.usage_rows(calls, runs)),
    ]


def year(runs: int) -> list[Content]:
    """Fill in runs of a year with their events and model calls."""
    year = rows.Year(runs)
    return [
        ("agent_runs", year.RUN_COLUMNS, year.runs()),
        ("agent_run_events", rows.EVENT_COLUMNS, year.events()),
        ("agent_llm_usage", rows.USAGE_COLUMNS, year.calls()),
    ]


def metrics(count: int) -> list[Content]:
    """Fill in values of one metric, of runs with a hundred values each."""
    runs = max(count // 100, len(rows.AGENTS))
    return [
        ("agent_runs", rows.RUN_COLUMNS, [rows.run_rows(runs)]),
        ("agent_run_events", rows.METRIC_COLUMNS, rows.metric_rows(count, runs)),
    ]


def everything(runs: int, idle: int, calls: int) -> list[Content]:
    """Fill in runs with sessions and parents, events of all levels, and model calls."""
    run_columns = (*rows.RUN_COLUMNS, "session_id", "parent_run_id")
    event_columns = (*rows.EVENT_COLUMNS, "session_id", "level", "severity")
    numbers = {rows.run_id(number): number for number in range(runs)}
    return [
        (
            "agent_runs",
            run_columns,
            [
                [
                    (*row, rows.session_of(number), rows.parent_of(number))
                    for number, row in enumerate(rows.run_rows(runs + idle))
                ]
            ],
        ),
        (
            "agent_run_events",
            event_columns,
            (
                [
                    (*row, rows.session_of(numbers[row[1]]), *rows.level_of(number))
                    for number, row in enumerate(chunk)
                ]
                for chunk in rows.event_rows(runs, each=rows.EVENTS_OF_A_RUN)
            ),
        ),
        ("agent_llm_usage", rows.USAGE_COLUMNS, rows.usage_rows(calls, runs + idle)),
    ]


def sqlite_file(path: Path, content: Iterable[Content]) -> None:
    """Return a new database file with these rows."""
    SQLitePersistence(path).close()
    sqlite_rows(path, content)


def sqlite_rows(path: Path, content: Iterable[Content]) -> None:
    """Insert these rows into a database file that has the tables."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -200000"):
            connection.execute(f"PRAGMA {setting}").fetchall()
        with _without_sqlite_indexes(connection):
            connection.execute("BEGIN")
            for table, columns, chunks in content:
                marks = ", ".join("?" * len(columns))
                insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
                for chunk in chunks:
                    connection.executemany(insert, chunk)
            connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL").fetchall()


@contextmanager
def _without_sqlite_indexes(connection: sqlite3.Connection) -> Iterator[None]:
    """Build indexes at the end: that takes a sort, updating them takes a search for every row."""
    indexes = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    yield
    for _, sql in indexes:
        connection.execute(sql)


def postgres_schema(dsn: str, schema: str, content: Iterable[Content]) -> None:
    """Return a new schema with these rows, vacuumed and analysed, as by autovacuum."""
    PostgresPersistence(dsn=dsn, schema=schema).close()
    with _connected(dsn) as cursor:
        cursor.execute(f"SET search_path = {schema}; SET maintenance_work_mem = '256MB'")
        with _without_postgres_indexes(cursor, schema):
            for table, columns, chunks in content:
                for chunk in chunks:
                    _copy(cursor, table, columns, chunk)
    analyze(dsn, schema)


def analyze(dsn: str, schema: str) -> None:
    """Vacuum and analyse the tables of a schema, as autovacuum does within a minute or so."""
    with _connected(dsn) as cursor:
        for table in _TABLES:
            cursor.execute(f"VACUUM (ANALYZE) {schema}.{table}")


def timed_schema(dsn: str, schema: str, content: Iterable[Content], since: datetime) -> None:
    """Return a new schema with these rows in partitions by month, from this time on."""
    with PostgresPersistence(dsn=dsn, schema=schema, layout="timed") as persistence:
        persistence._store.prepare_times(since)
    with _connected(dsn) as cursor:
        cursor.execute(f"SET search_path = {schema}")
        for table, columns, chunks in content:
            for chunk in chunks:
                _copy(cursor, table, columns, chunk)
    analyze(dsn, schema)


@contextmanager
def _without_postgres_indexes(cursor: Any, schema: str) -> Iterator[None]:
    cursor.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = %s "
        "AND indexdef NOT LIKE '%% UNIQUE %%'",
        (schema,),
    )
    indexes = cursor.fetchall()
    for name, _ in indexes:
        cursor.execute(f"DROP INDEX {name}")
    yield
    for _, definition in indexes:
        cursor.execute(definition)


def _copy(
    cursor: Any, table: str, columns: Sequence[str], chunk: Sequence[tuple[Any, ...]]
) -> None:
    if columns[-1] == "cost_usd":  # Picodollars in SQLite, dollars here.
        chunk = [(*row[:-1], row[-1] * _PICODOLLAR) for row in chunk]
    lines = "".join("\t".join(map(_copied, row)) + "\n" for row in chunk)
    cursor.copy_expert(f"COPY {table} ({', '.join(columns)}) FROM STDIN", io.StringIO(lines))


def _copied(value: Any) -> str:
    """Return a value as COPY reads it; only JSON here has backslashes."""
    if value is None:
        return "\\N"
    return value.replace("\\", "\\\\") if isinstance(value, str) else str(value)


def drop_schema(dsn: str, schema: str) -> None:
    with _connected(dsn) as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def sqlite_size(path: Path) -> int:
    """Return the used bytes of a file, including its write-ahead log."""
    with closing(sqlite3.connect(path)) as connection:
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


def sqlite_octets(path: Path) -> int:
    """Return the size of all payloads in bytes."""
    with closing(sqlite3.connect(path)) as connection:
        sql = "SELECT sum(length(CAST(data AS BLOB))) FROM agent_run_events"
        return int(connection.execute(sql).fetchone()[0])


def postgres_size(dsn: str, schema: str, names: str) -> int:
    """Return the size in bytes of the tables with names like this, and their indexes."""
    with _connected(dsn) as cursor:
        cursor.execute(
            "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = %s AND c.relname LIKE %s AND c.relkind = 'r'",
            (schema, names),
        )
        return int(cursor.fetchone()[0])


def postgres_octets(dsn: str, schema: str) -> int:
    """Return the size of all payloads in bytes."""
    with _connected(dsn) as cursor:
        cursor.execute(f"SELECT sum(octet_length(data)) FROM {schema}.agent_run_events")
        return int(cursor.fetchone()[0])


def server_processes(dsn: str) -> list[int]:
    """Return the server's first process, the parent of all later ones, and its sessions."""
    with _connected(dsn) as cursor:
        cursor.execute(
            "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int "
            "UNION ALL SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
        )
        return [pid for (pid,) in cursor.fetchall()]


def sessions(dsn: str) -> list[int]:
    """Return the processes of the server's other sessions."""
    with _connected(dsn) as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return [pid for (pid,) in cursor.fetchall()]


def server_version(dsn: str) -> str:
    with _connected(dsn) as cursor:
        cursor.execute("SHOW server_version")
        return str(cursor.fetchall()[0][0])


@contextmanager
def _connected(dsn: str) -> Iterator[Any]:
    """Return a cursor in autocommit mode."""
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
