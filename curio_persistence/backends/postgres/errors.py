"""Our errors for what PostgreSQL's driver raises: what it means, and what helps."""

from __future__ import annotations

import re
from typing import Any

import psycopg2

from curio_persistence.errors import (
    AccessDeniedError,
    BusyError,
    ConfigurationError,
    InvalidValueError,
    PersistenceError,
    StorageFullError,
    UnavailableError,
)
from curio_persistence.store.base import conflict, missing_reference
from curio_persistence.store.table import Row, Table

_UNKNOWN = re.compile('(database|role) ".*" (does not exist|is not permitted to log in)')
_ERRORS: tuple[tuple[tuple[str, ...], type[PersistenceError], str], ...] = (
    (("22", "23"), InvalidValueError, "The row was not stored."),
    (("53100", "53400"), StorageFullError, "Nothing of this call was stored; free some space."),
    (("42501",), AccessDeniedError, "Ask for the right with GRANT."),
    (("25006",), AccessDeniedError, "The server, or this session, is read-only."),
    (("28",), AccessDeniedError, "Check user and password."),
    (("42939",), ConfigurationError, "Give the schema another name."),
    (("40", "55P03"), BusyError, "Another transaction was in the way; try again."),
    (("57014",), UnavailableError, "It took longer than statement_timeout, or was cancelled."),
)


class PostgresErrors:
    """The errors of one database; `place` is where, in words. The password is in none of them."""

    def __init__(self, place: str, password: str) -> None:
        self._place = place
        self._password = password

    def said(self, error: psycopg2.Error) -> str:
        """The first line of the driver's message, without the password."""
        line = str(error).strip().partition("\n")[0]
        return line.replace(f'"{self._password}"', '"***"') if self._password else line

    def translate(self, error: psycopg2.Error) -> PersistenceError:
        """Our error for the driver's."""
        code, said = error.pgcode or "", self.said(error)
        for prefixes, kind, advice in _ERRORS:
            if code.startswith(prefixes):
                return kind(f"{self._place}: {said}. {advice}")
        return UnavailableError(f"{self._place} did not serve the call: {said}.")

    def translate_connecting(self, error: psycopg2.Error) -> PersistenceError:
        """Our error for a failed attempt to connect, of which libpq tells nothing but the text."""
        said = self.said(error)
        if any(word in said for word in ("authentication failed", "no password", "pg_hba.conf")):
            return AccessDeniedError(
                f"{self._place} refused the login: {said}. Check user and password."
            )
        if _UNKNOWN.search(said) or "permission denied for database" in said:
            return AccessDeniedError(
                f"{self._place} refused the login: {said}. Check the names of database and user."
            )
        if "unsupported startup parameter" in said:
            return ConfigurationError(f"{self._place}: {said}. Say pgbouncer=True.")
        if isinstance(error, psycopg2.ProgrammingError) or "invalid " in said:
            return ConfigurationError(f"A connection setting is wrong: {said}.")
        return UnavailableError(
            f"{self._place} cannot be reached: {said}. "
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
