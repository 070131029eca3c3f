"""The import of an original Curio's database."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg2

from benchmarks.cases.sides import Case, apart, check, events_to_write
from benchmarks.support import fill
from benchmarks.support.report import Goal, Line, rows_per_second
from benchmarks.support.rows import run_id
from benchmarks.support.timing import Timing, each, mean, sample, timed
from benchmarks.support.workspace import Workspace
from curio_persistence import PostgresPersistence, SQLitePersistence, import_curio
from tests.schema import original
from tests.schema.conftest import Database, PostgresSchema, SQLiteFile

_GOAL = Goal(0.5, 0.7, "speed")
"""Ours also preserves the old rows, checks every value, and reads back its rows."""
_BATCH = 1_000
_ZONE = "Europe/Paris"
_RUN = "id, agent_id, run_id, created_at, updated_at"
_EVENT = "id, agent_id, run_id, agent_name, timestamp, event_type, data, created_at"
_STORED = "SELECT id, run_id, timestamp, data FROM {schema}.agent_run_events ORDER BY id"
_REMARK = "raw copies to new tables beside the old, in batches of 1,000, without a check"

Rows = list[tuple[Any, ...]]


def sqlite_import_curio(work: Workspace) -> list[Line]:
    with tempfile.TemporaryDirectory(dir=work.directory) as folder:
        old = Path(folder, "old.db")
        _fill(work, SQLiteFile(old))
        numbers = count()

        def copy() -> Path:
            path = Path(folder, f"{next(numbers)}.db")
            shutil.copy(old, path)
            with path.open("rb+") as file:
                os.fsync(file)
            return path

        def ours(path: Path) -> Database:
            import_curio(f"sqlite:///{path}", timezone=_ZONE)
            return SQLiteFile(path)

        return [_line("SQLite", work, copy, _copy_sqlite, ours)]


def postgres_import_curio(work: Workspace) -> list[Line]:
    old, numbers = f"curio_bench_{os.getpid()}_old", count()
    made = [old]
    _fill(work, PostgresSchema(work.dsn, old))

    def make() -> str:
        made.append(f"{old}_{next(numbers)}")
        copy = PostgresSchema(work.dsn, made[-1])
        copy.run(original.tables("postgres"))
        for table, columns, _ in _tables():
            copy.run(
                f"INSERT INTO {{schema}}.{table} ({columns}) SELECT {columns} FROM {old}.{table}"
            )
        return made[-1]

    def theirs(schema: str) -> Database:
        made.append(f"{schema}_new")
        _copy_postgres(work.dsn, schema, made[-1])
        return PostgresSchema(work.dsn, made[-1])

    def ours(schema: str) -> Database:
        import_curio(f"{work.dsn}&schema={schema}", timezone=_ZONE)
        return PostgresSchema(work.dsn, schema)

    try:
        with apart(work):
            return [_line("PostgreSQL", work, make, theirs, ours)]
    finally:
        for schema in made:
            fill.drop_schema(work.dsn, schema)


CASES: dict[str, Case] = {
    "sqlite-import-curio": sqlite_import_curio,
    "postgres-import-curio": postgres_import_curio,
}


def _line(
    name: str,
    work: Workspace,
    make: Callable[[], Any],
    theirs: Callable[[Any], Database],
    ours: Callable[[Any], Database],
) -> Line:
    made: dict[Any, Database] = {}

    def once(side: Callable[[Any], Database]) -> int:
        return timed(lambda old: made.update({side: side(old)}), [make()])

    samples = sample(
        lambda: once(theirs),
        lambda: once(ours),
        chunks=1,
        repetitions=work.sizes.slow_repetitions,
    )
    check(made[ours].ask(_STORED), made[theirs].ask(_STORED))
    raw, our = (each(side, mean, _rows(work)) for side in samples)
    title = f"{name}, the import of {_rows(work):,} events of an original Curio"
    return Line(title, _GOAL, Timing(raw, our), unit=rows_per_second, remark=_REMARK)


def _rows(work: Workspace) -> int:
    return 2 * work.sizes.batched


def _fill(work: Workspace, database: Database) -> None:
    """Fill in runs and events as an original Curio stored them: in local time."""
    moment = "2026-11-20T10:30:00.123456"
    times = {"created_at": moment, "updated_at": moment}
    original.make(
        database,
        runs=({"agent_id": "a", "run_id": run_id(run)} | times for run in work.written_runs),
        events=(
            {
                "agent_id": event.agent_id,
                "run_id": event.run_id,
                "agent_name": event.agent_name,
                "timestamp": _on_the_wall(event.timestamp),
                "event_type": event.event_type,
                "data": event.data,
                "created_at": _on_the_wall(event.timestamp),
            }
            for event in events_to_write(work).take(_rows(work))
        ),
        usage=(),
    )


def _on_the_wall(moment: datetime | None) -> str:
    assert moment is not None
    local = moment.astimezone(ZoneInfo(_ZONE))
    return local.replace(tzinfo=None).isoformat(timespec="microseconds")


def _utc(text: str) -> str:
    local = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(_ZONE))
    return local.astimezone(UTC).isoformat(timespec="microseconds")


def _copy_sqlite(path: Path) -> Database:
    new = path.with_suffix(".new")
    SQLitePersistence(new).close()
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(new)) as copy:
        copy.execute("PRAGMA synchronous = NORMAL")
        for table, columns, in_utc in _tables():
            into = f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(in_utc))})"
            rows = old.execute(f"SELECT {columns} FROM {table} ORDER BY id")
            for batch in _batches(rows, in_utc):
                copy.executemany(into, batch)
        copy.commit()
    return SQLiteFile(new)


def _copy_postgres(dsn: str, schema: str, new: str) -> None:
    PostgresPersistence(dsn=dsn, schema=new).close()
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as copy:
        for table, columns, in_utc in _tables():
            rows = connection.cursor(name=f"old_{table}")
            texts = columns.replace("_at", "_at::text").replace("timestamp", "timestamp::text")
            rows.execute(f"SELECT {texts} FROM {schema}.{table} ORDER BY id")
            for batch in _batches(rows, in_utc):
                lines = "".join("\t".join(map(_cell, row)) + "\n" for row in batch)
                copy.copy_expert(f"COPY {new}.{table} ({columns}) FROM STDIN", StringIO(lines))
            rows.close()
        connection.commit()


def _tables() -> Iterator[tuple[str, str, list[bool]]]:
    """Return name, columns and time columns of each copied table."""
    for table, columns in (("agent_runs", _RUN), ("agent_run_events", _EVENT)):
        names = columns.split(", ")
        yield table, columns, [name == "timestamp" or name.endswith("_at") for name in names]


def _batches(cursor: Any, in_utc: list[bool]) -> Iterator[Rows]:
    while rows := cursor.fetchmany(_BATCH):
        yield [
            tuple(
                _utc(value) if is_time else value
                for value, is_time in zip(row, in_utc, strict=True)
            )
            for row in rows
        ]


def _cell(value: Any) -> str:
    return str(value).replace("\\", "\\\\")
