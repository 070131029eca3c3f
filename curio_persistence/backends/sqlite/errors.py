"""Translate errors of SQLite's driver into ours, with advice."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from pathlib import Path

from curio_persistence.errors import (
    AccessDeniedError,
    BusyError,
    ClosedError,
    ConfigurationError,
    CorruptDatabaseError,
    InvalidValueError,
    MissingDatabaseError,
    PersistenceError,
    StorageFullError,
    UnavailableError,
)

_SCARCE_BYTES = 1 << 20
_DESCRIPTORS = 3
"""The files that a connection may open: the database, its log and the log's index."""


class SQLiteErrors:
    """Translate errors for one file; `path` is its name for users, `migrate_command` creates it."""

    def __init__(self, path: Path, *, lock_timeout: float, migrate_command: str) -> None:
        self._path = path
        self._location = f"The database {path}"
        # Absolute, because the process may change its directory.
        self._file = path.absolute()
        self._lock_timeout = lock_timeout
        self._migrate_command = migrate_command

    def translate(self, error: Exception) -> PersistenceError:
        """Return our error for the driver's."""
        if isinstance(error, UnicodeDecodeError) or "Could not decode" in str(error):
            return self._corrupt(error)
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:  # Raised by the sqlite3 module, not by SQLite.
            kind = ClosedError if "closed" in str(error) else InvalidValueError
            return kind(f"{self._location} refused the call: {error}.")
        match code & 0xFF:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return BusyError(
                    f"{self._location} is locked by another process or persistence, and stayed so "
                    "for as long as this call may wait. Try again, or raise lock_timeout "
                    f"({self._lock_timeout:g} s)."
                )
            case sqlite3.SQLITE_FULL:
                return self._full()
            case sqlite3.SQLITE_IOERR if self._disk_is_full():
                return self._full()
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                return self._corrupt(error)
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
                return AccessDeniedError(
                    f"{self._location} cannot be written to ({error}). "
                    "Check the rights of the file and of its folder."
                )
            case sqlite3.SQLITE_CANTOPEN:
                return self.cannot_open()
            case sqlite3.SQLITE_CONSTRAINT | sqlite3.SQLITE_TOOBIG | sqlite3.SQLITE_MISMATCH:
                return InvalidValueError(f"{self._location} refused the row: {error}.")
        if "integer overflow" in str(error):
            return InvalidValueError(
                f"{self._location} holds numbers too large to add up: {error}."
            )
        return UnavailableError(f"{self._location} did not serve the call: {error}.")

    def _corrupt(self, error: Exception) -> CorruptDatabaseError:
        return CorruptDatabaseError(
            f"{self._path} is damaged or not a SQLite database ({error}). "
            "Nothing was changed; name another file, or restore this one from a backup."
        )

    def _full(self) -> StorageFullError:
        return StorageFullError(
            f"{self._location} cannot grow: the disk, or the database's size limit, is full. "
            "Nothing of this call was stored; free some space and try again."
        )

    def _disk_is_full(self) -> bool:
        try:
            disk = os.statvfs(self._file.parent)
        except (OSError, AttributeError):
            return False
        return disk.f_bavail * disk.f_frsize < _SCARCE_BYTES

    def cannot_open(self) -> PersistenceError:
        folder = self._file.parent
        try:
            mode = self._file.stat().st_mode
        except FileNotFoundError:
            return self._not_found(folder)
        except PermissionError:
            return AccessDeniedError(
                f"{self._location} cannot be opened. Check the rights of the folder {folder}."
            )
        except OSError as error:
            return ConfigurationError(f"{self._path} cannot be opened: {error.strerror}.")
        if stat.S_ISDIR(mode):
            return ConfigurationError(f"{self._path} is a folder; name a file in it.")
        if not stat.S_ISREG(mode):
            return ConfigurationError(f"{self._path} is not an ordinary file; name another one.")
        if self._lacks_descriptors():
            return UnavailableError(
                f"{self._location} cannot be opened: this process or system has too many open "
                "files. Raise the limit (ulimit -n), or read from fewer threads."
            )
        return AccessDeniedError(
            f"{self._location} cannot be opened. Check the rights of the file and of its folder."
        )

    def _lacks_descriptors(self) -> bool:
        """Return whether no more files can be opened: SQLite needs three for a connection."""
        opened: list[int] = []
        try:
            for _ in range(_DESCRIPTORS):
                # Not the database: to close it would end every lock that this process has on it.
                opened.append(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            return error.errno in (errno.EMFILE, errno.ENFILE)
        finally:
            for descriptor in opened:
                os.close(descriptor)
        return False

    def _not_found(self, folder: Path) -> PersistenceError:
        if not folder.is_dir():
            return ConfigurationError(f"The folder {folder} does not exist; create it first.")
        if not os.access(folder, os.W_OK):
            return AccessDeniedError(
                f"No database exists at {self._path}, and none can be made there. "
                f"Check the rights of the folder {folder}."
            )
        return MissingDatabaseError(
            f"No database exists at {self._path}. To make one: {self._migrate_command}"
        )
