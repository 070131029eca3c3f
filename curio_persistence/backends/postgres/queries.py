"""Answer SQL that people wrote, without letting it change anything."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psycopg2
from psycopg2.extensions import (
    PYDATETIMETZ,
    encodings,
    new_array_type,
    new_type,
    register_type,
)
from psycopg2.extensions import cursor as DriverCursor

from curio_persistence.backends.postgres.pool import Connection, ReaderTicket
from curio_persistence.backends.postgres.statements import PostgresStatements
from curio_persistence.errors import PersistenceError
from curio_persistence.store.codecs import encode_time

_BEGIN = "BEGIN READ ONLY; SET LOCAL search_path = {schema}, public; SET LOCAL TimeZone = 'UTC'"
_CURSOR = "curio_persistence_query"
_OPEN = f"DECLARE c refcursor := '{_CURSOR}'; BEGIN OPEN c NO SCROLL FOR EXECUTE %s"
_AT_A_TIME = 10_000
_REFUSALS = ("0A", "21", "22", "25001", "25006", "2F", "34", "38", "42", "P0")
_DENIED = "42501"


class PostgresQueries(PostgresStatements):
    """The part of a PostgreSQL store that answers SQL of others."""

    def sql(
        self, query: str, params: Sequence[Any], limit: int | None
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        self.check_outside("sql()")
        self._prepare()
        with self._pool.lent(ReaderTicket()) as connection:
            cursor = self._cursor(connection)
            for kind in _KINDS:
                register_type(kind, cursor)
            try:
                self._run(connection, _BEGIN.format(schema=self._schema), ())
                self._open(connection, cursor, query, params)
                return self._rows(connection, cursor, limit)
            except PersistenceError as error:
                cause = error.__cause__
                if isinstance(cause, psycopg2.Error) and _is_refusal(cause.pgcode or ""):
                    raise self._refused_query(self._errors.message(cause)) from cause
                raise
            finally:
                self._leave_nothing(connection)

    def _open(
        self, connection: Connection, cursor: DriverCursor, query: str, params: Sequence[Any]
    ) -> None:
        """Open a cursor for a query.

        The driver would send several statements, of which a COMMIT ends what is READ ONLY: the
        server itself takes no more than one here.
        """
        using = f" USING {', '.join(['%s'] * len(params))}" if params else ""
        block = cursor.mogrify(f"{_OPEN}{using}; END", (query, *params))
        text = block.decode(encodings[connection.encoding])
        self._execute(connection, cursor, "DO %s", (text,))

    def _rows(
        self, connection: Connection, cursor: DriverCursor, limit: int | None
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        rows: list[tuple[Any, ...]] = []
        while True:
            count = _AT_A_TIME if limit is None else min(limit - len(rows), _AT_A_TIME)
            part, _ = self._execute(connection, cursor, f"FETCH {count} FROM {_CURSOR}", ())
            rows += part
            if len(part) < count or len(rows) == limit:
                assert cursor.description is not None, "FETCH returns rows"
                return tuple(column.name for column in cursor.description), rows

    def _leave_nothing(self, connection: Connection) -> None:
        """Take back what functions may have set, and locks that outlast a transaction."""
        self._roll_back(connection)
        with suppress(PersistenceError):
            self._run(connection, "SELECT pg_advisory_unlock_all()", ())


def _is_refusal(code: str) -> bool:
    """Return whether the statement is to blame, by its SQLSTATE."""
    return code.startswith(_REFUSALS) and code != _DENIED


def _number(value: Any, _: DriverCursor) -> int | float | None:
    if value is None:
        return None
    return int(value) if value.lstrip("-").isdigit() else float(value)


def _stored_time(value: Any, cursor: DriverCursor) -> Any:
    if value is None or "infinity" in value:
        return value
    try:
        return encode_time(PYDATETIMETZ(value, cursor))
    except (ValueError, OverflowError, psycopg2.DataError):
        return value  # Before the year 1 or after 9999: as the server writes it.


def _bytes(value: Any, cursor: DriverCursor) -> bytes | None:
    return None if value is None else bytes(psycopg2.BINARY(value, cursor))


def _text(value: Any, _: DriverCursor) -> Any:
    return value


_NUMBER = new_type((1700,), "CURIO_NUMBER", _number)
_TIME = new_type((1184,), "CURIO_TIME", _stored_time)
# JSON, dates, times of no zone, lengths of time.
_TEXT = new_type((114, 3802, 1082, 1083, 1114, 1186), "CURIO_TEXT", _text)
_KINDS = (
    *(_NUMBER, _TIME, _TEXT, new_type((17,), "CURIO_BYTES", _bytes)),
    new_array_type((1231,), "CURIO_NUMBERS", _NUMBER),
    new_array_type((1185,), "CURIO_TIMES", _TIME),
    new_array_type((199, 3807, 1182, 1183, 1115, 1187), "CURIO_TEXTS", _TEXT),
)
"""The forms in which SQLite has such values."""
