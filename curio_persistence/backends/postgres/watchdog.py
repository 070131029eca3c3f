"""Deadlines for statements that get no answer.

A server's `statement_timeout` needs a server that can be heard, and TCP's timeouts need a network
that does not acknowledge: behind a proxy that swallows traffic both wait for ever. Here a thread
shuts the socket down, which ends the driver's wait with an error.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from contextlib import suppress
from functools import partial
from threading import Event, Lock, Thread
from weakref import finalize, ref

from curio_persistence.backends.postgres.pool import Connection

_GRACE = 0.5
"""Seconds for the server to report its own timeout first, which keeps the connection."""
_LOOKS_EVERY = 0.25


class Watchdog:
    """Shut down connections whose statement takes more than `seconds`, or outlives its deadline."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds + _GRACE
        self.start_again()

    def start_again(self) -> None:
        """Begin with nothing to watch, as after a fork, which leaves the thread behind."""
        self._watched: deque[ref[Connection]] = deque()
        self._starting = Lock()
        self._thread: Thread | None = None
        stopped = Event()
        self.stop = stopped.set
        finalize(self, stopped.set)
        pause = min(self.seconds / 4, _LOOKS_EVERY)
        self._watch = partial(_watch, self._watched, stopped, pause)

    def watch(self, connection: Connection) -> None:
        """Look after a connection for as long as it lives."""
        self._watched.append(ref(connection))
        with self._starting:
            if self._thread is None:
                self._thread = Thread(target=self._watch, name="curio-watchdog", daemon=True)
                self._thread.start()


def _watch(watched: deque[ref[Connection]], stopped: Event, pause: float) -> None:
    """Shut down what is overdue, until the watchdog is stopped or collected."""
    while not stopped.wait(pause):
        for _ in range(len(watched)):
            reference = watched.popleft()
            connection = reference()
            if connection is None:
                continue
            deadline = connection.deadline
            if deadline is None or time.monotonic() <= deadline:
                watched.append(reference)
            else:
                _shut_down(connection)
        connection = None  # While waiting, this thread must not keep it alive.


def _shut_down(connection: Connection) -> None:
    # On a duplicate, so that the descriptor stays the driver's to close. An error means that the
    # connection has ended in this very moment, and must not end the watch over the others.
    with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)
