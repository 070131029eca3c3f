"""Read tables in SQLite files of other programs, and leave nothing beside them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from curio_persistence.backends.sqlite.errors import SQLiteErrors
from curio_persistence.errors import InvalidValueError

_PATIENCE = 5.0
_JOURNAL = slice(18, 20)
_WAL = b"\x02\x02"
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
