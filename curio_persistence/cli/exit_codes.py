"""The exit code of each kind of failure."""

from __future__ import annotations

from curio_persistence import errors

OK, FAILED, USAGE, NOT_FOUND, UNAVAILABLE, DAMAGED = range(6)
INTERRUPTED = 128 + 2  # As a shell reports SIGINT,
OUTPUT_GONE = 128 + 13  # and SIGPIPE.

_CODES: tuple[tuple[type[errors.PersistenceError], int], ...] = (
    (errors.NotFoundError, NOT_FOUND),
    (errors.UnavailableError, UNAVAILABLE),
    (errors.CorruptDatabaseError, DAMAGED),
    (errors.AccessDeniedError, FAILED),
    (errors.ConfigurationError, USAGE),
)


def exit_code(error: errors.PersistenceError) -> int:
    """Return the exit code for a failure."""
    if isinstance(error, errors.InvalidValueError) and error.field:
        return USAGE  # An argument was refused, not a row.
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
