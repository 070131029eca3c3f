"""Searching words by hand: each database's own index, filled by its own statements.

The index is beside the tables and has the positions of words, as is its default.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks.raw.columns import READ_EVENT

_COLUMNS = ", ".join(f"e.{name}" for name in READ_EVENT.split(", "))


class RawSQLiteWords:
    """A contentless FTS5 table in a separate file, beside that with the events."""

    def __init__(self, path: Path, events: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("ATTACH ? AS history", (str(events),))
        self._connection.execute("CREATE VIRTUAL TABLE words USING fts5(data, content = '')")
        self._upto = 0

    def index(self, count: int) -> None:
        """Index so many more events, in one transaction."""
        self._connection.execute(
            "INSERT INTO words (rowid, data) SELECT id, data FROM history.agent_run_events "
            "WHERE id > ? AND id <= ? ORDER BY id",
            (self._upto, self._upto + count),
        )
        self._upto += count

    def newest(self, words: tuple[str, ...], limit: int) -> list[tuple[Any, ...]]:
        return self._found(words, limit, "w.rowid DESC")

    def best(self, words: tuple[str, ...], limit: int) -> list[tuple[Any, ...]]:
        return self._found(words, limit, "w.rank")

    def _found(self, words: tuple[str, ...], limit: int, order: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(
            f"SELECT {_COLUMNS} FROM words w JOIN history.agent_run_events e ON e.id = w.rowid "
            f"WHERE words MATCH ? ORDER BY {order} LIMIT ?",
            (" AND ".join(words), limit),
        ).fetchall()

    def size(self) -> int:
        """Return the size of the index in bytes."""
        return sum(
            self._connection.execute(f"PRAGMA main.{name}").fetchone()[0] * factor
            for name, factor in (("page_count", 1), ("freelist_count", -1))
        ) * int(self._connection.execute("PRAGMA main.page_size").fetchone()[0])

    def close(self) -> None:
        self._connection.close()


class RawPostgresWords:
    """A table of `tsvector`s with a GIN index, beside the events."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._connection = psycopg2.connect(dsn)
        self._connection.autocommit = True
        self._cursor = self._connection.cursor()
        self._events = f"{schema}.agent_run_events"
        self._words = f"{schema}.raw_words"
        self._cursor.execute(
            f"CREATE TABLE {self._words} (id bigint PRIMARY KEY, words tsvector NOT NULL);"
            f"CREATE INDEX ON {self._words} USING gin (words)"
        )
        self._upto = 0

    def index(self, count: int) -> None:
        """Index so many more events, in one transaction."""
        self._cursor.execute(
            f"INSERT INTO {self._words} SELECT id, to_tsvector('simple', data) "
            f"FROM {self._events} WHERE id > %s AND id <= %s ORDER BY id",
            (self._upto, self._upto + count),
        )
        self._upto += count

    def newest(self, words: tuple[str, ...], limit: int) -> list[tuple[Any, ...]]:
        return self._found(words, limit, "w.id DESC")

    def best(self, words: tuple[str, ...], limit: int) -> list[tuple[Any, ...]]:
        return self._found(words, limit, "ts_rank(w.words, q) DESC")

    def _found(self, words: tuple[str, ...], limit: int, order: str) -> list[tuple[Any, ...]]:
        self._cursor.execute(
            f"SELECT {_COLUMNS} FROM to_tsquery('simple', %s) q JOIN {self._words} w "
            f"ON w.words @@ q JOIN {self._events} e USING (id) ORDER BY {order} LIMIT %s",
            (" & ".join(words), limit),
        )
        found: list[tuple[Any, ...]] = self._cursor.fetchall()
        return found

    def size(self) -> int:
        """Return the size in bytes of the index with its table."""
        self._cursor.execute("SELECT pg_total_relation_size(%s)", (self._words,))
        return int(self._cursor.fetchone()[0])  # type: ignore[index]

    def close(self) -> None:
        self._connection.close()
