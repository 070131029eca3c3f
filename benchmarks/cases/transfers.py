"""Exports, imports, and copies from SQLite to PostgreSQL."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from io import StringIO
from itertools import count, groupby, islice
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks.cases.sides import Case, apart, check
from benchmarks.support import fill
from benchmarks.support.report import Goal, Line, rows_per_second
from benchmarks.support.timing import Timing, each, mean, sample, timed
from benchmarks.support.workspace import Workspace
from curio_persistence import (
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
    copy_records,
    export_records,
    import_records,
)

_BATCH = 1_000
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_TABLES = ("agent_runs", "agent_run_events")

Do = Callable[[], object]


def sqlite_export(work: Workspace) -> list[Line]:
    """Ours shows one moment, and is complete or absent."""
    with _folder(work) as folder, SQLitePersistence(work.sqlite_events, read_only=True) as ours:
        events = ours.count_events()

        def by_hand() -> None:
            with (folder / "raw.jsonl").open("w", encoding="utf-8") as file:
                for _, columns, row in _rows(work.sqlite_events):
                    file.write(json.dumps(dict(zip(columns, row, strict=True))) + "\n")

        def export() -> None:
            report = export_records(ours, folder / "ours.jsonl", overwrite=True)
            check(report.events, events)

        goal = Goal(0.6, 0.8, "speed")
        return [_line(work, "SQLite, export to JSON lines", goal, events, by_hand, export)]


def sqlite_import(work: Workspace) -> list[Line]:
    """Ours checks every value, and whether it is stored already."""
    with _folder(work) as folder, SQLitePersistence(work.sqlite_events, read_only=True) as source:
        path, events, numbers = folder / "events.jsonl", source.count_events(), count()
        export_records(source, path)

        def by_hand() -> None:
            with _new_file(folder, next(numbers)) as (new, _):
                check(_load(path, new), events)

        def import_it() -> None:
            with _new_file(folder, next(numbers)) as (_, ours):
                check(import_records(path, ours).events, events)

        goal = Goal(0.3, 0.4, "speed")
        return [_line(work, "SQLite, import of JSON lines", goal, events, by_hand, import_it)]


def postgres_copy(work: Workspace) -> list[Line]:
    """Ours also reads everything once more, and compares the hash of each run."""
    with SQLitePersistence(work.sqlite_events, read_only=True) as source, apart(work):
        events, numbers = source.count_events(), count()

        def by_hand() -> None:
            with _new_schema(work, next(numbers)) as (schema, _):
                check(_copy_by_hand(work, schema), events)

        def copy() -> None:
            with _new_schema(work, next(numbers)) as (_, ours):
                report = copy_records(source, ours)
                check((report.ok, report.new_events), (True, events))

        goal = Goal(0.3, 0.5, "speed")
        return [_line(work, "SQLite to PostgreSQL, a copy", goal, events, by_hand, copy)]


CASES: dict[str, Case] = {
    "sqlite-export": sqlite_export,
    "sqlite-import": sqlite_import,
    "postgres-copy": postgres_copy,
}


def _line(work: Workspace, title: str, goal: Goal, events: int, by_hand: Do, ours: Do) -> Line:
    theirs, mine = sample(
        lambda: timed(lambda _: by_hand(), [None]),
        lambda: timed(lambda _: ours(), [None]),
        chunks=1,
        repetitions=work.sizes.slow_repetitions,
        warm_up=False,
    )
    return Line(
        f"{title} of {events:,} events",
        goal,
        Timing(each(theirs, mean, events), each(mine, mean, events)),
        unit=rows_per_second,
        remark="raw by a loop over the rows, without a check",
    )


@contextmanager
def _folder(work: Workspace) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=work.directory) as folder:
        yield Path(folder)


@contextmanager
def _new_file(folder: Path, number: int) -> Iterator[tuple[Path, Persistence]]:
    path = folder / f"{number}.db"
    with SQLitePersistence(path) as ours:
        yield path, ours
    path.unlink()


@contextmanager
def _new_schema(work: Workspace, number: int) -> Iterator[tuple[str, Persistence]]:
    schema = f"curio_bench_{os.getpid()}_copy_{number}"
    try:
        with PostgresPersistence(dsn=work.dsn, schema=schema) as ours:
            yield schema, ours
    finally:
        fill.drop_schema(work.dsn, schema)


def _rows(path: Path) -> Iterator[tuple[str, list[str], tuple[Any, ...]]]:
    """Yield the rows of a file, each with its table and its columns."""
    with closing(sqlite3.connect(path)) as connection:
        for table in _TABLES:
            cursor = connection.execute(f"SELECT * FROM {table} ORDER BY id")
            columns = [column for column, *_ in cursor.description]
            for row in cursor:
                yield table, columns, row


def _load(path: Path, new: Path) -> int:
    """Read lines and store them in batches; return the number of events."""
    events = 0
    with path.open(encoding="utf-8") as lines, closing(sqlite3.connect(new)) as connection:
        entries = map(json.loads, lines)
        while batch := list(islice(entries, _BATCH)):
            for entry in batch:
                kind = entry.pop("kind")
                if kind not in ("run", "event"):
                    continue
                events += kind == "event"
                table = "agent_run_events" if kind == "event" else "agent_runs"
                marks = ", ".join("?" * len(entry))
                sql = f"INSERT INTO {table} ({', '.join(entry)}) VALUES ({marks})"
                connection.execute(sql, tuple(entry.values()))
            connection.commit()
    return events


def _copy_by_hand(work: Workspace, schema: str) -> int:
    """Copy with COPY, a thousand rows at a time; return the number of events."""
    events = 0
    with closing(psycopg2.connect(work.dsn)) as connection, connection.cursor() as cursor:
        for (table, columns), rows in groupby(_rows(work.sqlite_events), _place):
            while batch := list(islice(rows, _BATCH)):
                text = "".join(map(_copy_line, batch))
                sql = f"COPY {schema}.{table} ({columns}) FROM STDIN"
                cursor.copy_expert(sql, StringIO(text))
                connection.commit()
                events += len(batch) if table == "agent_run_events" else 0
    return events


def _place(row: tuple[str, list[str], tuple[Any, ...]]) -> tuple[str, str]:
    return row[0], ", ".join(row[1])


def _copy_line(row: tuple[str, list[str], tuple[Any, ...]]) -> str:
    cells = ("\\N" if cell is None else str(cell).translate(_ESCAPES) for cell in row[2])
    return "\t".join(cells) + "\n"
