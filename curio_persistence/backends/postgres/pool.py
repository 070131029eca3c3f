"""Lend the connections of one database to threads, which wait for them in order."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from time import monotonic, sleep
from typing import Any
from weakref import WeakSet

from psycopg2.extensions import (
    TRANSACTION_STATUS_IDLE,
    get_wait_callback,
    new_type,
    register_type,
)
from psycopg2.extensions import connection as DriverConnection
from psycopg2.extensions import cursor as DriverCursor
from psycopg2.pool import ThreadedConnectionPool

from curio_persistence.concurrency.fair_lock import FairLock, Ticket
from curio_persistence.concurrency.time_limit import in_time, limit_ends
from curio_persistence.errors import ClosedError, PoolTimeoutError, UnavailableError


def _stored_number(value: Any, cursor: DriverCursor) -> int | None:
    """Return a sum or a cost, numeric in the database, as the whole number that rows hold."""
    return None if value is None else int(value.partition(".")[0])


_NUMERIC = new_type((1700,), "CURIO_NUMERIC", _stored_number)


_FULL = ("too many connections", "too many clients", "connection slots are reserved")
_LOOKS, _MOMENT = 20, 0.02
"""A thread looks so many times, at this interval in seconds, for a returned connection before it
tries to connect again."""


class Connection(DriverConnection):
    """A connection that yields stored values and commits each statement by itself."""

    has_input: Callable[[int], object]
    """Return whether there is anything to read, after so many milliseconds."""
    deadline: float | None = None
    """When the watchdog ends the statement that runs, None between statements.

    Only the thread that uses the connection writes it.
    """
    is_patient = False
    """True while statements run that have no deadline."""
    is_overdue = False
    """True once a statement outlived its deadline: the watchdog may be shutting it down."""

    def prepare(self) -> None:
        """Set the session up. Not on creation: there a traceback would show the password."""
        self.autocommit = True
        register_type(_NUMERIC, self)
        self.has_input = _poller(self.fileno())
        self.ticket = Ticket()


def _poller(descriptor: int) -> Callable[[int], object]:
    """Return a test whether a socket has anything to read, which waits so many milliseconds."""
    if not hasattr(select, "poll"):  # Windows.
        return lambda milliseconds: select.select([descriptor], [], [], milliseconds / 1000)[0]
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return poll.poll


def waits_by_callback() -> bool:
    """Return whether psycopg2 waits by the program's callback, which it does not do for COPY."""
    return get_wait_callback() is not None


class ReaderTicket(Ticket):
    """The ticket of a stream or snapshot, which keeps its connection while the caller uses rows."""

    __slots__ = ()


class WaitingPool(ThreadedConnectionPool):
    """psycopg2's pool, in which threads wait up to `timeout` seconds for a connection, in order.

    A fair lock counts the connections in use, so that threads connect at the same time, outside of
    any lock. Idle connections stay open, also those above `least`: a new one costs more than a
    hundred statements. A connection that an interrupt takes away is closed by its destructor.
    """

    def __init__(
        self,
        sizes: tuple[int, int],
        timeout: float,
        connect: Callable[[], Connection],
        closed_error: Callable[[], ClosedError],
    ) -> None:
        least, most = sizes
        super().__init__(0, most)  # Connects nothing: `fill` does.
        self._least = least
        self._timeout = timeout
        self._open = connect
        self._closed_error = closed_error
        self._permits = FairLock(most)
        self._idle: list[Connection] = []
        self._opened: WeakSet[Connection] = WeakSet()
        self._registering = Lock()
        self.release = self._permits.release

    @contextmanager
    def lent(self, ticket: Ticket) -> Iterator[Connection]:
        """Lend a connection for the time of the block."""
        connection = None
        try:
            connection = self.getconn(ticket)
            yield connection
        finally:
            try:
                self.putconn(connection, ticket)
            finally:
                self.release(ticket)

    def fill(self) -> None:
        """Open as many connections as there are to be at least."""
        while len(self._idle) < self._least:
            self._idle.append(self._new_connection())

    def getconn(self, key: Any = None) -> Connection:
        """Return a connection for this ticket alone: the one used last, or a new one."""
        if not self._permits.acquire(key, self._timeout):
            raise PoolTimeoutError(self._timeout_message())
        return self._idle_connection() or self._new_or_returned()

    def putconn(
        self, conn: DriverConnection | None = None, key: Any = None, close: bool = False
    ) -> None:
        """Take a connection back, and close it if it broke or a transaction is open on it."""
        try:
            if isinstance(conn, Connection):
                self._keep(conn)
        finally:
            self._permits.release(key)
            if isinstance(key, ReaderTicket):
                self._permits.ring_first()  # A finalizer may close a stream: it takes no lock.
            else:
                self._permits.wake()

    def closeall(self) -> None:
        """Close all connections, also those in use."""
        with self._registering:
            self.closed = True
            opened = list(self._opened)
        for connection in opened:
            connection.close()
        self._idle.clear()

    def in_use(self) -> int:
        """Return the number of connections lent."""
        return len(self._permits.held())

    def idle(self) -> int:
        """Return the number of open connections that no thread uses."""
        return len(self._idle)

    def refuse_if_closed(self) -> None:
        if self.closed:
            raise self._closed_error()

    def _keep(self, connection: Connection) -> None:
        connection.is_patient = False
        status = connection.get_transaction_status()
        if self.closed or connection.is_overdue or status != TRANSACTION_STATUS_IDLE:
            connection.close()
        else:
            self._idle.append(connection)

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

    def _new_or_returned(self) -> Connection:
        """Connect; if the server allows no more connections, wait for one that is returned."""
        until = min(monotonic() + self._timeout, limit_ends())
        while True:
            try:
                return self._connection_in_time()
            except UnavailableError as error:
                is_full = any(words in str(error) for words in _FULL)
                if not is_full or self.in_use() < 2 or monotonic() >= until:
                    raise
            for _ in range(_LOOKS):
                sleep(_MOMENT)
                if connection := self._idle_connection():
                    return connection

    def _connection_in_time(self) -> Connection:
        """Connect; libpq's own limit is 2 s at least, and without the search for the host.

        A connection that comes too late for this call serves the next one.
        """
        in_time(lambda: self._idle.append(self._new_connection()), "A new connection")
        return self._idle_connection() or self._connection_in_time()

    def _new_connection(self) -> Connection:
        self.refuse_if_closed()
        connection = self._open()
        with self._registering:  # Else `closeall` could miss it.
            self._opened.add(connection)
        self.refuse_if_closed()
        return connection

    def _timeout_message(self) -> str:
        streams = sum(isinstance(ticket, ReaderTicket) for ticket in self._permits.held())
        by_streams = (
            f" Open streams or snapshots keep {streams} of them: read those to their end, or close "
            "them, before the same thread goes on."
            if streams
            else ""
        )
        return (
            f"None of the {self.maxconn} connections became free for as long as this call may "
            f"wait; in use by {self._permits.holders()}.{by_streams} Raise max_connections or "
            f"pool_timeout ({self._timeout:g} s), or shorten transactions."
        )
