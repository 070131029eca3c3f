"""Run queries of DuckDB over files of an archive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from curio_persistence.errors import (
    ClosedError,
    ConfigurationError,
    CorruptDatabaseError,
    PersistenceError,
)

_ROWS = 400
"""The rows that are fetched at a time."""
SETTINGS = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "memory_limit": "1GB",
    "preserve_insertion_order": False,
}


class DuckDB:
    """A database of DuckDB in memory, which reads files. Each query has a cursor of its own."""

    def __init__(self) -> None:
        self._duckdb = duckdb_module()
        self._connection = self._duckdb.connect(":memory:", config=SETTINGS)
        self._closed = False

    def rows(self, sql: str, values: Sequence[Any]) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a query, some hundred at a time."""
        if self._closed:
            raise _closed()
        cursor = self._connection.cursor()
        try:
            cursor.execute(sql, list(values))
            while rows := cursor.fetchmany(_ROWS):
                yield rows
        except self._duckdb.Error as error:
            raise self._translated(error) from error
        finally:
            cursor.close()

    def _translated(self, error: Exception) -> PersistenceError:
        if self._closed:
            return _closed()
        said = str(error).strip().split("\n")[0]
        return CorruptDatabaseError(
            f"The archive has a file that DuckDB cannot read ({said}): another program changed it, "
            "or it is of another version."
        )

    def close(self) -> None:
        """End all queries."""
        self._closed = True
        self._connection.close()


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
