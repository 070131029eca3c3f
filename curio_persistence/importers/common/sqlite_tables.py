"""Read tables in SQLite files of other programs, and leave nothing beside them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from curio_persistence.backends.sqlite.errors import SQLiteErrors
from curio_persistence.errors import InvalidValueError
from curio_persistence.importers.common.limits import MAX_BYTES
from curio_persistence.importers.common.report import ReportBuilder

_PATIENCE = 5.0
_JOURNAL = slice(18, 20)
_WAL = b"\x02\x02"
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0"
_COLUMNS = "SELECT name FROM pragma_table_info(?)"
_IS_THERE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND rootpage > 0 AND name = ?"


class MissingTableError(InvalidValueError):
    """The file is a database, but has no ordinary table of this name."""


def read_rows(path: Path, table: str, *, most_bytes: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of an ordinary table, by column name, in the order they were added.

    A value of more than `most_bytes` ends it with an error. Bytes that are not UTF-8 come as
    surrogates.
    """
    errors = SQLiteErrors(path, lock_timeout=_PATIENCE, migrate_command="")
    try:
        with closing(_open(path)) as connection:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, most_bytes)
            # A view, or a table that a program makes up, could go on for ever.
            if not connection.execute(_IS_THERE, (table,)).fetchall():
                raise MissingTableError(f"{path} has no table {table}.")
            rows = connection.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in rows.description]
            for row in rows:
                yield dict(zip(names, row, strict=True))
    except sqlite3.Error as error:
        raise errors.translate(error) from error


class Database:
    """A SQLite file that another program may be writing.

    Each query is over before it returns: a reader that stays would keep that program from writing.
    """

    def __init__(self, connection: sqlite3.Connection, report: ReportBuilder | None) -> None:
        self._connection, self._report = connection, report
        self.tables = {
            table: {name for (name,) in self._select(_COLUMNS, (table,))}
            for (table,) in self._select(_TABLES, ())
        }
        """The columns of each ordinary table."""

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return all rows, which must be few or small."""
        return self._select(sql, values)

    def row(self, table: str, key: str, value: Any) -> dict[str, Any] | None:
        """Return the row with this key; of a value that is too long, no more than shows that."""
        columns = sorted(self.tables[table])
        shown = ", ".join(map(_beginning, columns))
        query = f"SELECT {shown} FROM {quoted(table)} WHERE {quoted(key)} = ? LIMIT 1"
        found = self._select(query, (value,))
        if self._report is not None and found:
            self._report.bytes_read += sum(len(v) for v in found[0] if isinstance(v, str | bytes))
        return dict(zip(columns, found[0], strict=True)) if found else None

    def _select(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()


def _beginning(column: str) -> str:
    name = quoted(column)
    return f"iif(length({name}) > {MAX_BYTES}, substr({name}, 1, {MAX_BYTES} + 1), {name})"


def quoted(name: str) -> str:
    """Return the name of a table or a column as it is written in SQL."""
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def open_database(path: Path, report: ReportBuilder | None = None) -> Iterator[Database]:
    """Open a SQLite file to read; its errors are raised as ours. The report counts the bytes."""
    errors = SQLiteErrors(path, lock_timeout=_PATIENCE, migrate_command="")
    try:
        with closing(_open(path)) as connection:
            yield Database(connection, report)
    except sqlite3.Error as error:
        raise errors.translate(error) from error


def _open(path: Path) -> sqlite3.Connection:
    # A reader of a database in WAL mode leaves files beside it, unless it opens it as immutable.
    # The file is immutable as long as no log exists.
    with path.open("rb") as file:
        is_wal = file.read(_JOURNAL.stop)[_JOURNAL] == _WAL
    has_log = path.with_name(f"{path.name}-wal").exists()
    mode = "immutable=1" if is_wal and not has_log else "mode=ro"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=_PATIENCE)
    connection.execute("PRAGMA trusted_schema = OFF").close()
    connection.text_factory = _text
    return connection


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogateescape")
