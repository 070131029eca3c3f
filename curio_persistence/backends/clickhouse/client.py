"""Run statements of ClickHouse, on a server or by chdb in this process."""

from __future__ import annotations

import ctypes
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import Lock
from types import MappingProxyType, ModuleType
from typing import Any

from curio_persistence.backends.clickhouse.address import Address, read_address
from curio_persistence.backends.clickhouse.errors import (
    is_missing_database,
    not_opened,
    translated,
)
from curio_persistence.concurrency import forking
from curio_persistence.errors import (
    ClosedError,
    ConfigurationError,
    InvalidValueError,
    MissingDatabaseError,
)

Params = Sequence[Any]
_SETTINGS: Mapping[str, Any] = {
    "max_query_size": 1 << 28,  # Lists of ids are a part of it.
    "max_partitions_per_insert_block": 0,  # Imported rows may be of any number of months.
    "max_bytes_before_external_sort": 1 << 28,  # A stream of all rows is sorted on the disk.
    "mutations_sync": 2,  # A statement that deletes has deleted when it returns.
}
_TIMEOUT = 10
_engine = 0
"""The generation of processes that chdb runs in; 0 until it is used."""
_NUMBERED = re.compile(r"'(?:[^'\\]|\\.)*'|\$(?P<number>\d+)", re.DOTALL)
"""Texts of a query, and what stands for its values."""


def open_client(url: str, *, create: bool = False) -> ClickHouseClient:
    """Open `clickhouse://user@host/database`, `clickhouses://…` (TLS) or `chdb:///directory`.

    With `create`, a directory of chdb and a database that do not exist are made. Raises
    UnavailableError without a server, BusyError for a directory that another process has open,
    and MissingDatabaseError for one that does not exist.
    """
    return ClickHouseClient(read_address(url), create=create)


class ClickHouseClient(forking.Forkable):
    """Runs statements. Threads may share it: each statement has a connection of its own.

    In a statement `%s` stands for a bound value, and `%%` for a percent sign. The clients of a
    process share the engine of chdb, which has one directory at a time.
    """

    def __init__(
        self,
        address: Address,
        *,
        create: bool = False,
        settings: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.address = address
        self._settings = {**_SETTINGS, **settings}
        self.location = f"The replica {address.name}"
        self._driver = _driver()
        self._closed = False
        self._idle: list[Any] = []
        self._lock = Lock()
        if address.directory is not None and not create and not _is_of_chdb(address.directory):
            raise MissingDatabaseError(
                f"{self.location} does not exist. `replicate` makes it; check the path."
            )
        self._idle.append(self._opened(create))
        forking.follow(self)

    def start_again(self) -> None:
        """Forget the connections: those of a parent are of no use in a child."""
        for connection in self._idle:
            if self.address.directory is not None:
                _leave_open(connection)
        self._lock = Lock()
        self._idle = []

    # --- statements ---------------------------------------------------------------------------

    def columns(self, sql: str, params: Params = ()) -> list[Sequence[Any]]:
        """Return the rows of a query, column by column; without rows, nothing."""
        with self._connection() as connection:
            return list(connection.query(self._bound(sql, params)).result_columns)

    def rows(self, sql: str, params: Params = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return list(zip(*self.columns(sql, params), strict=True))

    def blocks(self, sql: str, params: Params = ()) -> Iterator[list[Sequence[Any]]]:
        """Yield the rows of a query, column by column, some thousand at a time."""
        with (
            self._connection() as connection,
            connection.query_column_block_stream(self._bound(sql, params)) as stream,
        ):
            yield from stream

    def asked(
        self, query: str, params: Params, limit: int | None
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Return the names of the columns of a query of others, and its rows; it may only read.

        `$1` in it stands for the first of its values.
        """
        settings = {"limit": limit or 0, "readonly": 1}
        connection = self._opened(create=False)
        try:
            if self.address.directory is not None:  # Which would run several statements.
                for name in [*settings]:
                    connection.command(f"SET {name} = {settings.pop(name)}")
            result = connection.query(self._numbered(query, params), settings=settings)
            return tuple(result.column_names), [tuple(row) for row in result.result_rows]
        except self._driver.driver.exceptions.Error as error:
            raise translated(error, self.location) from error
        finally:
            connection.close()

    def _numbered(self, query: str, params: Params) -> str:
        """Return a query with its values, and without the semicolon at its end."""

        def literal(match: re.Match[str]) -> str:
            if match["number"] is None:
                return match[0]
            at = int(match["number"]) - 1
            if not 0 <= at < len(params):
                raise InvalidValueError(
                    f"params has no value for ${at + 1}: give it {at + 1}.", field="params"
                )
            value = params[at]
            if isinstance(value, datetime):
                return f"toDateTime64('{value:%Y-%m-%d %H:%M:%S.%f}', 6, 'UTC')"
            return str(self._driver.driver.binding.str_query_value(value))

        return _NUMBERED.sub(literal, query).strip().removesuffix(";")

    def command(self, sql: str, params: Params = ()) -> None:
        """Run a statement that returns no rows."""
        with self._connection() as connection:
            connection.command(self._bound(sql, params))

    def script(self, sql: str) -> None:
        """Run the statements of a file, each of which ends with a semicolon that ends a line."""
        for statement in sql.split(";\n"):
            if statement.strip():
                self.command(statement.replace("%", "%%"))

    def insert(self, table: str, rows: Any, *, token: str | None = None) -> None:
        """Insert a table of Arrow; one that was inserted with the same token is left out.

        The token is the id of the query as well, by which it is found while it runs.
        """
        settings = {"insert_deduplication_token": token, "query_id": token} if token else {}
        with self._connection() as connection:
            connection.insert_arrow(table, rows, settings=settings)

    def _bound(self, sql: str, params: Params) -> str:
        return sql % tuple(map(self._driver.driver.binding.str_query_value, params))

    # --- connections --------------------------------------------------------------------------

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        connection, process = self._take(), forking.generation
        try:
            yield connection
        except self._driver.driver.exceptions.Error as error:
            raise translated(error, self.location) from error
        finally:
            if process == forking.generation:
                self._give_back(connection)

    def check_open(self) -> None:
        """Raise ClosedError after `close()`."""
        if self._closed:
            raise ClosedError(f"{self.location} was closed. Open it again.")

    def _take(self) -> Any:
        self.check_open()
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._opened(create=False)

    def _give_back(self, connection: Any) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _opened(self, create: bool) -> Any:
        """Return a connection to the database, which is made first if it is to be."""
        try:
            return self._connected(self.address.database)
        except self._driver.driver.exceptions.Error as error:
            if not is_missing_database(error):
                raise not_opened(error, self.location) from error
            if not create:
                raise MissingDatabaseError(
                    f"{self.location} has no database {self.address.database!r}. `replicate` "
                    "makes it; check the name."
                ) from error
        first = self._connected("default")
        try:
            first.command(f"CREATE DATABASE IF NOT EXISTS `{self.address.database}`")
        except self._driver.driver.exceptions.Error as error:
            raise translated(error, self.location) from error
        finally:
            first.close()
        return self._opened(create=False)

    def _connected(self, database: str) -> Any:
        address = self.address
        if address.directory is not None:
            _check_engine(self.location)
            where: dict[str, Any] = {"interface": "chdb", "path": address.directory}
        else:
            where = {
                "interface": "https" if address.is_secure else "http",
                "host": address.host,
                "port": address.port,
                "username": address.user,
                "password": address.password or "",
                "connect_timeout": _TIMEOUT,
                "autogenerate_session_id": False,
            }
        return self._driver.get_client(**where, database=database, settings=self._settings)

    def close(self) -> None:
        """Close the connections; later calls fail."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def _check_engine(location: str) -> None:
    """Raise ClosedError in a child of a process with chdb, whose threads the child lacks."""
    global _engine
    _engine = _engine or forking.generation
    if _engine != forking.generation:
        raise ClosedError(
            f"{location} cannot be used: chdb does not survive a fork. Start the process that "
            "reads it by spawn, or read it only in children."
        )


def _leave_open(connection: Any) -> None:
    """Never close a connection of a parent, not even at exit: chdb would wait for ever."""
    connection._backend._release.detach()
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _is_of_chdb(directory: str) -> bool:
    return (Path(directory) / "metadata").is_dir()


def _driver() -> ModuleType:
    try:
        import clickhouse_connect
        import clickhouse_connect.driver.binding
        import clickhouse_connect.driver.exceptions
    except ImportError as error:
        raise ConfigurationError(
            f"A replica in ClickHouse needs clickhouse-connect ({error}): "
            "pip install 'curio-persistence[clickhouse]', or [chdb] for one without a server."
        ) from error
    # What it logs is raised as well.
    logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())
    return clickhouse_connect
