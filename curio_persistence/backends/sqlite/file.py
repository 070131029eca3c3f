"""One SQLite file: its path, and the connections to it."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from curio_persistence.backends.sql.store import SQLStore
from curio_persistence.backends.sqlite import payloads, wal
from curio_persistence.backends.sqlite.driver import Connection
from curio_persistence.backends.sqlite.errors import SQLiteErrors
from curio_persistence.backends.sqlite.readers import Reader, Readers
from curio_persistence.concurrency.timeouts import checked_seconds
from curio_persistence.errors import (
    AccessDeniedError,
    ClosedError,
    ConfigurationError,
    PersistenceError,
    StorageFullError,
)
from curio_persistence.store.transaction import ThreadTransaction

Durability = Literal["normal", "full"]

DRIVER_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""The second for messages and names that are not UTF-8, as damaged files have them."""

_OLDEST_ENGINE = (3, 37, 0)
_STATEMENTS = 256
_URL = re.compile("[A-Za-z][A-Za-z0-9+.-]+:/")  # At least two letters: C:/ is a drive.
_BATCH_CACHE = 16_000
"""KB that the writer may keep in memory: with random event_ids a batch changes a page per row."""
_READER_CACHE = 2_000


class ReadingThread(ThreadTransaction):
    """The state of each thread: its transaction, and its reader."""

    reader: Reader | None = None


class SQLiteFile(SQLStore):
    """The part of a SQLite store that opens connections, and translates their errors."""

    dialect = "sqlite"
    placeholder = "?"
    size_of_value = "length({})"
    _mine: ReadingThread
    _begin = "BEGIN IMMEDIATE"
    _no_limit = -1
    _any_of = "IN (SELECT value FROM json_each(?))"
    _greatest = "max({}, {})"
    _conditions: ClassVar[Mapping[str, str]] = {
        "differs from": "{column} IS NOT {value}",
        "has": "EXISTS (SELECT 1 FROM json_each({column}) WHERE value = ?)",
        "has any": f"EXISTS (SELECT 1 FROM json_each({{column}}) WHERE value {_any_of})",
        # SQLite's own lower() is for ASCII only.
        "has text": "instr(lower({column}), lower(?)) > 0",
        "may contain": payloads.MAY_CONTAIN,
        "contains": f"{payloads.FUNCTION}({{column}}, ?)",
    }

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "normal",
        read_only: bool = False,
        lock_timeout: float = 30.0,
    ) -> None:
        super().__init__(ReadingThread(), read_only=read_only)
        if sqlite3.sqlite_version_info < _OLDEST_ENGINE:
            raise ConfigurationError(
                f"This Python is linked with SQLite {sqlite3.sqlite_version}; "
                f"{'.'.join(map(str, _OLDEST_ENGINE))} or newer is needed. Use a newer Python."
            )
        if durability not in ("normal", "full"):
            raise ConfigurationError(f"durability is 'normal' or 'full', not {durability!r}.")
        self._in_memory = str(path) == ":memory:"
        if self._in_memory and read_only:
            raise ConfigurationError("A :memory: database cannot be opened read-only: it is empty.")
        self._path = _path(path)
        # Absolute, because the process may change its directory before the next thread reads.
        self._file = self._path.absolute()
        self._readers = Readers()
        self._log = wal.WriteAheadLog(self._file, self._readers.oldest_snapshot)
        self._synchronous = durability.upper()
        self._lock_timeout = checked_seconds("lock_timeout", lock_timeout)
        self._errors = SQLiteErrors(
            self._path, lock_timeout=self._lock_timeout, migrate_command=self._migrate_command
        )
        self._closed = ""
        self._inode = 0

    @property
    def location(self) -> str:
        return f"The database {self._path}"

    def _file_exists(self) -> bool:
        return self._in_memory or os.path.exists(self._file)  # it never raises  # noqa: PTH110

    def _connect_reader(self, reader: Reader) -> Connection:
        """Open a reader's connection; the caller holds its lock."""
        reader.connection = connection = self._connect_for_reading(reader)
        connection.execute(f"PRAGMA cache_size = -{_READER_CACHE}")
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _connect_for_reading(self, reader: Reader) -> Connection:
        if not self.read_only:
            return self._connect("mode=rw")
        reader.for_one_read = False
        try:
            # Not `mode=ro`, which leaves -wal and -shm files behind; `query_only` forbids writes.
            return self._connect("mode=rw")
        except (AccessDeniedError, StorageFullError):
            # A WAL database in a read-only directory, or on a full disk, has no room for its -shm
            # file. Without a log, no connection is writing, and the file can be read as it is. But
            # only once, because SQLite would not notice a new writer.
            if self._has_log():
                raise
            reader.for_one_read = True
            return self._connect("immutable=1")

    def _has_log(self) -> bool:
        """Return whether a log or journal exists beside the file."""
        return any(wal.length(f"{self._file.resolve()}{end}") for end in ("-wal", "-journal"))

    def _connect_writer(self, *, create: bool) -> Connection:
        if self.read_only:
            raise AccessDeniedError(f"{self.location} was opened read-only.")
        connection = self._connect("mode=rwc" if create else "mode=rw")
        self._inode = self._inode_now()
        return connection

    def _inode_now(self) -> int:
        """Return a number that identifies the file at this path, or 0."""
        try:
            return 0 if self._in_memory else os.stat(self._file).st_ino  # faster  # noqa: PTH116
        except OSError:
            return 0

    def _is_replaced(self) -> bool:
        """Return whether the file of the writer was deleted, or another put in its place."""
        if self._inode_now() == self._inode:
            return False
        import logging  # Imported here: the import takes longer than that of this package.

        logging.getLogger("curio_persistence").error(
            "%s was deleted or replaced while it was open: what was written to it since is lost. "
            "Later writes go to the file that is there.",
            self.location,
        )
        return True

    def _connect(self, options: str) -> Connection:
        if self._closed:
            raise self._closed_error()
        if self._file_exists() and not self._in_memory and not self._file.is_file():
            raise self._errors.cannot_open()  # SQLite would wait for ever at the end of a pipe.
        try:
            return self._configure(self._driver_connect(options))
        except DRIVER_ERRORS as error:
            raise self._translate(error) from error

    def _driver_connect(self, options: str) -> Connection:
        memory = self._in_memory
        return sqlite3.connect(
            ":memory:" if memory else f"{self._file.as_uri()}?{options}",
            uri=not memory,
            timeout=self._lock_timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS,
            factory=Connection,
        )

    def _configure(self, connection: Connection) -> Connection:
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA cache_size = -{_BATCH_CACHE}")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            wal.configure(connection)
            payloads.configure(connection)
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # Reads the first page.
        except BaseException:
            connection.close()
            raise
        return connection

    def _closed_error(self) -> ClosedError:
        reason = self._closed or "its connection was lost inside a transaction"
        return ClosedError(f"{self.location} cannot be used: {reason}. Open a new persistence.")

    def _translate(self, error: Exception) -> PersistenceError:
        if "no such table" in str(error) or "no such column" in str(error):
            return self._lacks_tables(error)
        return self._errors.translate(error)


def _path(given: str | os.PathLike[str]) -> Path:
    """Return the path that a caller gave; raise ConfigurationError if it cannot be a file."""
    if _URL.match(str(given)):
        # Not repeated: a URL may hold a password.
        raise ConfigurationError("db_path is a URL. Use connect(url), or name a file.")
    if str(given).startswith("file:"):
        raise ConfigurationError(
            'db_path is a file: URI. Name the file itself, or ":memory:" for one in memory; '
            "use read_only=True for mode=ro."
        )
    try:
        path = Path(given).expanduser()
        path.absolute()
    except (TypeError, RuntimeError, OSError) as error:
        # Not a text; ~user without a home; a relative path in a deleted directory.
        said = str(error).rstrip(".")
        raise ConfigurationError(f"db_path {given!r} names no file: {said}.") from error
    if "\0" in str(path):
        raise ConfigurationError(f"db_path {given!r} names no file: it contains NUL.")
    return path
