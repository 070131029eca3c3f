"""Every failure a caller can meet, so that no driver exception ever has to be caught.

::

    PersistenceError                 the root: `except PersistenceError` catches all of them
    ├── InvalidValueError            a value was refused, nothing was sent (also a ValueError)
    ├── ConflictError                a run with this run_id is there already
    ├── NotFoundError                what was asked for does not exist (also a LookupError)
    ├── UnavailableError             the database, or a receiver, did not serve the call; trying
    │   │                            again may help
    │   ├── BusyError                another connection holds the lock
    │   ├── PoolTimeoutError         every pooled connection stayed in use (also a TimeoutError)
    │   └── QueryTimeoutError        a reading outlasted its deadline (also a TimeoutError)
    ├── StorageFullError             the disk, or the database's quota, is full
    ├── CorruptDatabaseError         what is stored cannot be read as a database
    ├── SchemaMismatchError          the tables are not the ones this version works with
    ├── UnsupportedError             this backend cannot do that (also a NotImplementedError)
    ├── ClosedError                  the persistence was closed, or left behind by a fork
    └── ConfigurationError           a setting is wrong or missing
        └── AccessDeniedError        wrong password, missing rights, read-only file

The driver's own exception, where there was one, is the `__cause__`.
"""

from __future__ import annotations

from typing import Any


class PersistenceError(Exception):
    """The root of everything this library raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # By default unpickling calls the class with `args`, which lack the keyword arguments.
        return _restored, (type(self), self.args), vars(self)


def _restored(kind: type[PersistenceError], args: tuple[Any, ...]) -> PersistenceError:
    return kind.__new__(kind, *args)


class InvalidValueError(PersistenceError, ValueError):
    """A value that cannot be stored; `field` names it as `Model.field` where that is known."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class ConflictError(PersistenceError):
    """The record to create exists already."""


class NotFoundError(PersistenceError, LookupError):
    """The record to change, or the database to open, does not exist."""


class MissingRunError(NotFoundError):
    """A row names a run that was never created."""


class MissingDatabaseError(NotFoundError):
    """The database to open does not exist."""


class UnavailableError(PersistenceError):
    """The database, or a receiver, could not be reached or broke off; the call may be fine.

    A write whose answer was lost on the network, and only such a one, may have been stored.
    """


class BusyError(UnavailableError):
    """Another connection held the lock for longer than this call may wait."""


class PoolTimeoutError(UnavailableError, TimeoutError):
    """No pooled connection became free in time."""


class QueryTimeoutError(UnavailableError, TimeoutError):
    """A reading was not done at its deadline; a shorter window of time is read sooner."""


class StorageFullError(PersistenceError):
    """The disk, or the database's quota, is full; nothing of the row was stored."""


class CorruptDatabaseError(PersistenceError):
    """The file is damaged, or is not a database at all."""


class SchemaMismatchError(PersistenceError):
    """The tables differ from what this version needs; `command` mends it, if anything does."""

    def __init__(
        self, message: str, *, found: str, wanted: str, command: str | None = None
    ) -> None:
        super().__init__(message if command is None else f"{message} To mend it: {command}")
        self.found = found
        self.wanted = wanted
        self.command = command


class UnsupportedError(PersistenceError, NotImplementedError):
    """This backend has no way to do what was asked."""


class ClosedError(PersistenceError):
    """The persistence is closed; open a new one."""


class ConfigurationError(PersistenceError):
    """A setting is wrong, missing or contradicts another."""


class AccessDeniedError(ConfigurationError):
    """The database refused the credentials, or the right to do this."""
