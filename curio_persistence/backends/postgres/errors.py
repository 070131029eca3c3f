"""Translate errors of PostgreSQL's driver into ours, with advice."""

from __future__ import annotations

import re
from typing import Any

import psycopg2

from curio_persistence.errors import (
    AccessDeniedError,
    BusyError,
    ConfigurationError,
    CorruptDatabaseError,
    InvalidValueError,
    MissingDatabaseError,
    PersistenceError,
    StorageFullError,
    UnavailableError,
    UnsupportedError,
)
from curio_persistence.store.base import conflict, missing_reference
from curio_persistence.store.table import Row, Table

_MISUSED = (psycopg2.ProgrammingError, psycopg2.DataError, psycopg2.NotSupportedError)
_MISSING = re.compile('database ".*" does not exist')
_UNKNOWN = re.compile('role ".*" (does not exist|is not permitted to log in)')
_ERRORS: tuple[tuple[tuple[str, ...], type[PersistenceError], str], ...] = (
    (("22", "23", "54"), InvalidValueError, "The row was not stored."),
    (("53100", "53400"), StorageFullError, "Nothing of this call was stored; free some space."),
    (("42501",), AccessDeniedError, "Ask for the right with GRANT."),
    (("25006",), AccessDeniedError, "The server, or this session, is read-only."),
    (("28",), AccessDeniedError, "Check user and password."),
    (("42939",), ConfigurationError, "Give the schema another name."),
    (("0A",), UnsupportedError, "This server cannot do that."),
    (("40", "55P03"), BusyError, "Another transaction was in the way; try again."),
    (
        ("57014",),
        UnavailableError,
        "It took longer than statement_timeout, or was cancelled; see CURIO_STATEMENT_TIMEOUT.",
    ),
    (("XX001", "XX002"), CorruptDatabaseError, "Restore the damaged table or index."),
)
_PASSING = ("08", "25P03", "25P04", "53", "55006", "57", "58")
"""Classes of SQLSTATE, and codes, of failures after which the same call may succeed."""


class PostgresErrors:
    """Translate the driver's errors for one database. The password is in none of ours."""

    def __init__(self, location: str, password: str) -> None:
        self._location = location
        self._password = password

    def message(self, error: psycopg2.Error) -> str:
        """Return the first line of the driver's message, without the password."""
        line = str(error).strip().partition("\n")[0]
        return line.replace(f'"{self._password}"', '"***"') if self._password else line

    def translate(self, error: psycopg2.Error) -> PersistenceError:
        """Return our error for the driver's."""
        code, said = error.pgcode or "", self.message(error)
        for prefixes, kind, advice in _ERRORS:
            if code.startswith(prefixes):
                return kind(f"{self._location}: {said}. {advice}")
        # Without a code the driver speaks: of a broken connection, or of a wrong use of it.
        if code.startswith(_PASSING) or not (code or isinstance(error, _MISUSED)):
            return UnavailableError(f"{self._location} did not serve the call: {said}.")
        return PersistenceError(f"{self._location} refused a statement: {said}.")

    def translate_connecting(self, error: psycopg2.Error) -> PersistenceError:
        """Return our error for a failed attempt to connect, of which libpq tells only the text."""
        said = self.message(error)
        if any(word in said for word in ("authentication failed", "no password", "pg_hba.conf")):
            return AccessDeniedError(
                f"{self._location} refused the login: {said}. Check user and password."
            )
        if _MISSING.search(said):
            return MissingDatabaseError(
                f"{self._location} is not there: {said}. Create the database, or check its name."
            )
        if _UNKNOWN.search(said) or "permission denied for database" in said:
            return AccessDeniedError(
                f"{self._location} refused the login: {said}. Check the names of database and user."
            )
        if "unsupported startup parameter" in said:
            return ConfigurationError(
                f"{self._location}: {said}. Drop options from the DSN or PGOPTIONS."
            )
        if isinstance(error, psycopg2.ProgrammingError) or "invalid " in said:
            return ConfigurationError(f"A connection setting is wrong: {said}.")
        return UnavailableError(
            f"{self._location} cannot be reached: {said}. "
            "Is the server running, and are host and port right?"
        )


def refusal(error: PersistenceError, table: Table[Any], row: Row) -> PersistenceError:
    """Return the error for a failed insert, more exact where the server gave the reason."""
    match getattr(error.__cause__, "pgcode", None):
        case "23503":
            return missing_reference(table, row)
        case "23505":
            return conflict(table, row)
    return error
