"""Answer SQL that people wrote, without letting it change anything."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from curio_persistence.backends.sqlite.connections import SQLiteConnections
from curio_persistence.backends.sqlite.file import DRIVER_ERRORS
from curio_persistence.errors import UnsupportedError
from curio_persistence.store.codecs import encode_time

_READING = frozenset(
    (
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
    )
)
_HARMLESS = frozenset(
    (
        # How functions such as json_each declare their columns; the table itself is read-only.
        (sqlite3.SQLITE_UPDATE, "sqlite_master"),
        (sqlite3.SQLITE_PRAGMA, "data_version"),  # The full-text index asks for it.
        *((sqlite3.SQLITE_PRAGMA, f"table_{what}") for what in ("info", "xinfo", "list")),
        *((sqlite3.SQLITE_PRAGMA, f"index_{what}") for what in ("info", "xinfo", "list")),
    )
)
_REFUSALS = (
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_TOOBIG,
)


class SQLiteQueries(SQLiteConnections):
    """The part of a SQLite store that answers SQL of others."""

    def sql(
        self, query: str, params: Sequence[Any], limit: int | None
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        self.check_outside("sql()")
        if self._in_memory:
            raise UnsupportedError(
                "Only this process sees a :memory: database, and only through its records. Use a "
                "file for SQL."
            )
        values = {str(at): _bound(value) for at, value in enumerate(params, start=1)}
        with self._own_reader() as reader, reader.lock:
            connection = self._connect_reader(reader)
            connection.set_authorizer(_only_reading)
            try:
                cursor = connection.lasting_cursor().execute(query, values)
                rows = cursor.fetchall() if limit is None else cursor.fetchmany(limit)
            except (*DRIVER_ERRORS, sqlite3.Warning) as error:
                if _is_refusal(error):
                    raise self._refused_query(error) from error
                raise self._translate(error) from error
        if cursor.description is None:
            raise self._refused_query("it returns no rows")
        return tuple(name for name, *_ in cursor.description), rows


def _only_reading(action: int, name: str | None, *_: str | None) -> int:
    reads = action in _READING or (action, name) in _HARMLESS
    return sqlite3.SQLITE_OK if reads else sqlite3.SQLITE_DENY


def _bound(value: Any) -> Any:
    return encode_time(value) if isinstance(value, datetime) else value


def _is_refusal(error: Exception) -> bool:
    """Return whether the statement, and not the file, is to blame."""
    if isinstance(error, UnicodeDecodeError):
        return False
    code = getattr(error, "sqlite_errorcode", None)  # None if the driver refused it.
    return code is None or code & 0xFF in _REFUSALS
