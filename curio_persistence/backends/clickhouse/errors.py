"""Translate errors of ClickHouse's client into ours, with advice."""

from __future__ import annotations

import re

from curio_persistence.errors import (
    AccessDeniedError,
    BusyError,
    ConfigurationError,
    InvalidValueError,
    PersistenceError,
    QueryTimeoutError,
    SchemaMismatchError,
    StorageFullError,
    UnavailableError,
)

_NO_DATABASE = 81
_LACKS = (16, 47, 60, _NO_DATABASE)
"""No such column, identifier, table, database."""
_DENIED = (192, 193, 194, 497, 516)
_TOO_LONG = (159, 160)
_FULL = (241, 243)
"""Memory or disk."""
_AWAY = (209, 210, 216, 242, 279, 999)
"""Timeouts, network, an insert that still runs, read-only replicas, all tried, Keeper."""
_REASON = re.compile(r"\[Errno -?\d+\] [^\"')]+|timed out|[Cc]onnection aborted")
"""The part of a long message that tells why a server was not reached."""
_MAY_NOT_SET = "is readonly"
_ANOTHER_DIRECTORY = "already initialized with path"


def translated(error: Exception, location: str) -> PersistenceError:
    """Return our error for one of the client."""
    said = _first_line(error)
    code = getattr(error, "code", None)
    if code in _LACKS:
        return SchemaMismatchError(
            f"{location} lacks tables or columns of a replica ({said}). `replicate` makes them.",
            found="none",
            wanted="the tables of a replica",
        )
    for codes, kind in _KINDS.items():
        if code in codes:
            return kind(f"{location} refused a statement: {said}")
    if code is None or code in _AWAY:
        found = _REASON.search(str(error))
        why = said if found is None else found[0]
        return UnavailableError(f"{location} did not answer ({why}). Trying again may help.")
    return InvalidValueError(f"{location} refused a statement: {said}")


def is_missing_database(error: Exception) -> bool:
    """Return whether a server has no database of that name."""
    return getattr(error, "code", None) == _NO_DATABASE


def not_opened(error: Exception, location: str) -> PersistenceError:
    """Return our error for a client that could not be made."""
    said = str(error)
    if _ANOTHER_DIRECTORY in said:
        return ConfigurationError(
            f"{location} cannot be opened: this process has another directory of chdb open, and "
            "chdb has one in each process. Use another process, or databases of one directory "
            "(?database=NAME)."
        )
    if "EmbeddedServer" in said:
        return BusyError(
            f"{location} is open in another process, and chdb's directories are read and written "
            "by one at a time. End that process, or use a server (clickhouse://…)."
        )
    if _MAY_NOT_SET in said:
        return AccessDeniedError(
            f"{location} does not let this user set what a reader needs ({said}). Give the user "
            "readonly = 2, which lets it read and no more, in place of 1."
        )
    return translated(error, location)


_KINDS: dict[tuple[int, ...], type[PersistenceError]] = {
    _DENIED: AccessDeniedError,
    _TOO_LONG: QueryTimeoutError,
    _FULL: StorageFullError,
}


def _first_line(error: Exception) -> str:
    said = str(error).strip().split("\n")[0].removeprefix("Code: ")
    return said.partition(" DB::Exception: ")[2] or said
