"""Lend the connections of one database to threads, which wait for them in order."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

from psycopg2.extensions import TRANSACTION_STATUS_IDLE, new_type, register_type
from psycopg2.extensions import connection as DriverConnection
from psycopg2.extensions import cursor as DriverCursor
from psycopg2.pool import ThreadedConnectionPool

from curio_persistence.concurrency.fair_lock import FairLock, Ticket
from curio_persistence.errors import ClosedError, PoolTimeoutError


def _stored_time(value: Any, cursor: DriverCursor) -> str | None:
    """Return a time that was selected in UTC as text that says so."""
    return None if value is None else f"{value}+00"


def _stored_number(value: Any, cursor: DriverCursor) -> int | None:
    """Return a sum or a cost, numeric in the database, as the whole number that rows hold."""
    return None if value is None else int(value.partition(".")[0])


_TYPES = (
    new_type((1114,), "CURIO_TIMESTAMP", _stored_time),
    new_type((1700,), "CURIO_NUMERIC", _stored_number),
)


class Connection(DriverConnection):
    """A connection that yields stored values and commits each statement by itself."""

    deadline: float | None = None
    """When the watchdog ends the statement that runs; see `watchdog.Watched`."""
    is_patient = False
    """True while statements run that have no deadline."""
    is_overdue = False
    """True once a statement outlived its deadline: the watchdog may be shutting it down."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.autocommit = True
        for kind in _TYPES:
            register_type(kind, self)
        self.has_input = _poller(self.fileno())
        self.ticket = Ticket()


def _poller(descriptor: int) -> Callable[[int], object]:
    """Return a test whether a socket has anything to read, which waits so many milliseconds."""
    if not hasattr(select, "poll"):  # Windows.
        return lambda milliseconds: select.select([descriptor], [], [], milliseconds / 1000)[0]
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return poll.poll


class WaitingPool(ThreadedConnectionPool):
    """psycopg2's pool, whose threads wait up to `timeout` seconds for a connection, in order.

    A fair lock counts the connections in use, so that threads connect at the same time, outside of
    any lock. Idle connections stay open, also those above `least`: a new one costs more than a
    hundred statements. `connect` opens one and raises our errors.
    """

    def __init__(
        self,
        least: int,
        most: int,
        timeout: float,
        connect: Callable[[], Connection],
        closed_error: Callable[[], ClosedError],
    ) -> None:
        super().__init__(0, most)  # Connects nothing yet: the first caller does.
        self._least = least
        self._timeout = timeout
        self._open = connect
        self._closed_error = closed_error
        self._idle: list[Connection] = []
        self._in_use: dict[int, Connection] = {}
        self._permits = FairLock(most)

    def getconn(self, key: object = None) -> Connection:
        """Return a connection for the calling thread alone: the one used last, or a new one."""
        ticket = Ticket()
        if not self._permits.acquire(ticket, self._timeout):
            raise PoolTimeoutError(
                f"None of the {self.maxconn} connections became free within "
                f"{self._timeout:g} s; in use by {self._permits.holders()}. "
                "Raise max_connections or pool_timeout, or shorten transactions."
            )
        try:
            connection = self._idle_connection() or self._new_connection()
            self._in_use[id(connection)] = connection
            connection.ticket = ticket
            self._refuse_if_closed()
            return connection
        except BaseException:
            self._permits.release(ticket)
            self._permits.wake()
            raise

    def putconn(
        self, conn: DriverConnection | None = None, key: object = None, close: bool = False
    ) -> None:
        """Take a connection back, and close it if it broke or a transaction is open on it."""
        assert isinstance(conn, Connection)
        try:
            self._in_use.pop(id(conn), None)
            conn.is_patient = False
            if conn.is_overdue or conn.get_transaction_status() != TRANSACTION_STATUS_IDLE:
                conn.close()
            else:
                self._idle.append(conn)
            if self.closed:
                self._close_idle()
        finally:
            self._permits.release(conn.ticket)
            self._permits.wake()

    def closeall(self) -> None:
        """Close all connections, also those in use."""
        self.closed = True
        for connection in list(self._in_use.values()):
            connection.close()
        self._close_idle()

    def in_use(self) -> int:
        """Return the number of connections lent."""
        return len(self._permits.held())

    def idle(self) -> int:
        """Return the number of open connections that no thread uses."""
        return len(self._idle)

    def _idle_connection(self) -> Connection | None:
        """Return the connection used last of which the server has not ended the session."""
        try:
            while True:
                connection = self._idle.pop()
                if not connection.closed and not connection.has_input(0):
                    return connection
                connection.close()
        except IndexError:  # Tried, not tested: another thread may take the last one.
            return None

    def _new_connection(self) -> Connection:
        self._refuse_if_closed()
        connection = self._open()
        while self._least > 1:
            self._least -= 1
            self._idle.append(self._open())
        return connection

    def _refuse_if_closed(self) -> None:
        if self.closed:
            self.closeall()
            raise self._closed_error()

    def _close_idle(self) -> None:
        while connection := self._idle_connection():
            connection.close()
