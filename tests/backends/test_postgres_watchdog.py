"""The watch over statements that nobody answers; see also the swallowing network."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from curio_persistence.backends.postgres.watchdog import Watchdog

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two ends of a connection."""
    one, other = socket.socketpair()
    with one, other:
        other.settimeout(10)
        yield one, other


def test_a_connection_is_shut_down_when_its_time_is_over(pair: Pair) -> None:
    connection, other = pair
    watchdog, begin = Watchdog(0.0), time.monotonic()
    watchdog.begin(connection)
    assert other.recv(1) == b""
    assert time.monotonic() - begin > 0.4, "the server had no time to report its own timeout"
    assert connection.fileno() != -1, "closing is for its owner"
    watchdog.stop()


def test_a_statement_that_ended_in_time_is_left_alone(pair: Pair) -> None:
    connection, other = pair
    with socket.socket() as unconnected:
        watchdog = Watchdog(0.0)
        watchdog.begin(connection)
        watchdog.end(connection)
        watchdog.begin(unconnected)
        while unconnected in watchdog._running:
            time.sleep(0.01)
    connection.sendall(b"still there")
    assert other.recv(20) == b"still there"
    watchdog.stop()


def test_a_connection_that_ends_by_itself_does_not_end_the_watch(pair: Pair) -> None:
    connection, other = pair
    gone = socket.socket()
    gone.close()
    watchdog = Watchdog(0.0)
    watchdog.begin(gone)
    while gone in watchdog._running:
        time.sleep(0.01)
    watchdog.begin(connection)
    assert other.recv(1) == b""
    watchdog.stop()
