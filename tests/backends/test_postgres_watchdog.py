"""The watchdog of statements without an answer; see also the silent network in tests/faults."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from curio_persistence.backends.postgres.watchdog import Watchdog


class Connection:
    """An end of a socket pair, instead of a database connection."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.deadline: float | None = None

    def fileno(self) -> int:
        return self.end.fileno()


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    watchdog = Watchdog(0.0)
    yield watchdog
    watchdog.stop()


@pytest.fixture
def pair(watchdog: Watchdog) -> Iterator[tuple[Connection, socket.socket]]:
    """A watched connection, and its other end."""
    one, other = socket.socketpair()
    with one, other:
        other.settimeout(10)
        connection = Connection(one)
        watchdog.watch(connection)
        yield connection, other


def test_a_connection_is_shut_down_after_its_deadline(
    watchdog: Watchdog, pair: tuple[Connection, socket.socket]
) -> None:
    connection, other = pair
    begin = time.monotonic()
    connection.deadline = begin + watchdog.seconds
    assert other.recv(1) == b""
    assert time.monotonic() - begin > 0.4, "the server had no time to report its own timeout"
    assert connection.fileno() != -1, "closing is for its owner"


def test_a_statement_that_ended_in_time_is_not_affected(
    watchdog: Watchdog, pair: tuple[Connection, socket.socket]
) -> None:
    connection, other = pair
    connection.deadline = time.monotonic() + 0.05
    connection.deadline = None
    time.sleep(0.4)
    connection.end.sendall(b"still there")
    assert other.recv(20) == b"still there"


def test_a_connection_that_ends_by_itself_does_not_end_the_watchdog(
    watchdog: Watchdog, pair: tuple[Connection, socket.socket]
) -> None:
    gone = Connection(socket.socket())
    gone.end.close()
    gone.deadline = 0.0
    watchdog.watch(gone)
    connection, other = pair
    connection.deadline = 0.0
    assert other.recv(1) == b""


def test_a_garbage_collected_connection_is_removed(watchdog: Watchdog) -> None:
    one, other = socket.socketpair()
    with one, other:
        watchdog.watch(Connection(one))
        deadline = time.monotonic() + 10
        while watchdog._watched:
            assert time.monotonic() < deadline
            time.sleep(0.01)
