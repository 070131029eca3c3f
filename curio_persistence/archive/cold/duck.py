"""Run queries of DuckDB over files of an archive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any

from curio_persistence.archive.scratch import ScratchFolder
from curio_persistence.concurrency import forking
from curio_persistence.errors import (
    ClosedError,
    ConfigurationError,
    CorruptDatabaseError,
    NotFoundError,
    PersistenceError,
    StorageFullError,
)

_ROWS = 400
"""The rows that are fetched at a time."""
_MISSING = ("No files found", "No such file")
SETTINGS = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "memory_limit": "1GB",
    "preserve_insertion_order": False,
}


class DuckDB(forking.Forkable):
    """A database of DuckDB in memory, which reads files. Each query has a cursor of its own.

    Its threads do not survive a fork: the child opens another one.
    """

    def __init__(self) -> None:
        self._duckdb = duckdb_module()
        self._closed = False
        self._lock = Lock()
        self._connection: Any = None
        self._cursors: set[Any] = set()
        self._scratch: ScratchFolder | None = None
        forking.follow(self)

    def start_again(self) -> None:
        """Keep what the parent opened, and forget it: to close it waits for threads for ever."""
        for each in (self._connection, *self._cursors):
            _keep(each)
        self._lock = Lock()
        self._connection, self._cursors, self._scratch = None, set(), None

    def rows(self, sql: str, values: Sequence[Any]) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a query, some hundred at a time."""
        cursor, process = self._cursor(), forking.generation
        try:
            cursor.execute(sql, list(values))
            while rows := cursor.fetchmany(_ROWS):
                yield rows
                if process != forking.generation:
                    raise _forked()
        except self._duckdb.Error as error:
            raise self._translated(error) from error
        finally:
            if process == forking.generation:
                self._cursors.discard(cursor)
                cursor.close()

    def _cursor(self) -> Any:
        with self._lock:
            if self._closed:
                raise _closed()
            if self._connection is None:
                self._connection = self._opened()
            cursor = self._connection.cursor()
            self._cursors.add(cursor)
            return cursor

    def _opened(self) -> Any:
        """Open DuckDB, which writes what does not fit into its memory to a folder, if it can."""
        with suppress(ConfigurationError, StorageFullError):
            self._scratch = ScratchFolder()
        folder = "" if self._scratch is None else self._scratch.name
        return self._duckdb.connect(":memory:", config=SETTINGS | {"temp_directory": folder})

    def _translated(self, error: Exception) -> PersistenceError:
        if self._closed:
            return _closed()
        said = str(error).strip().split("\n")[0]
        if isinstance(error, self._duckdb.OutOfMemoryException) or "No space left" in said:
            return StorageFullError(
                f"The memory for this query is full, and so is the folder for temporary files "
                f"({said}). Ask for less, or set TMPDIR to a folder with more space."
            )
        if any(word in said for word in _MISSING):
            return NotFoundError(
                f"A file of the archive was deleted while it was read ({said}). Ask again."
            )
        return CorruptDatabaseError(
            f"The archive has a file that DuckDB cannot read ({said}): another program changed it, "
            "or it is of another version."
        )

    def close(self) -> None:
        """End all queries."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
            if self._scratch is not None:
                self._scratch.remove()


def _keep(thing: Any) -> None:
    """Let an object never be deleted, not even at the end of the process."""
    import ctypes  # Only the child of a fork needs it.

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _forked() -> ClosedError:
    return ClosedError(
        "The process was forked while this archive was read. Ask again in the child."
    )


def _closed() -> ClosedError:
    return ClosedError("This archive was closed. Open it again.")


def duckdb_module() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise ConfigurationError(
            f"Reading an archive needs duckdb ({error}): pip install 'curio-persistence[archive]'"
        ) from error
    return duckdb
