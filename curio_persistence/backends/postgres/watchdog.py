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
from threading import Event, Lock, Thread
from typing import Protocol
from weakref import ref

_GRACE = 0.5
"""Seconds for the server to report its own timeout first, which keeps the connection."""
_LOOKS_EVERY = 0.25


class Watched(Protocol):
    """A connection. Only the thread that uses it writes the `deadline`, None between statements."""

    deadline: float | None

    def fileno(self) -> int: ...


class Watchdog:
    """Shut down connections whose statement takes more than `seconds`, or outlives its deadline."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds + _GRACE
        self.start_again()

    def start_again(self) -> None:
        """Begin with nothing to watch, as after a fork, which leaves the thread behind."""
        self._watched: deque[ref[Watched]] = deque()
        self._starting = Lock()
        self._stopped = Event()
        self._thread: Thread | None = None

    def watch(self, connection: Watched) -> None:
        """Look after a connection for as long as it lives."""
        self._watched.append(ref(connection))
        with self._starting:
            if self._thread is None and not self._stopped.is_set():
                self._thread = Thread(
                    target=_watch, args=(ref(self),), name="curio-watchdog", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def look(self) -> None:
        """Shut down what is overdue. Only the watchdog's own thread calls this."""
        for _ in range(len(self._watched)):
            reference = self._watched.popleft()
            connection = reference()
            if connection is None:
                continue
            deadline = connection.deadline
            if deadline is None or time.monotonic() <= deadline:
                self._watched.append(reference)
            else:
                _shut_down(connection)

    def pause(self) -> tuple[Event, float]:
        """Return the event that ends the watch, and the seconds between two looks."""
        return self._stopped, min(self.seconds / 4, _LOOKS_EVERY)


def _watch(watchdog: ref[Watchdog]) -> None:
    """Look again and again, until the watchdog is stopped or collected."""
    while (watching := watchdog()) is not None:
        stopped, seconds = watching.pause()
        watching.look()
        del watching  # While waiting, this thread must not keep it alive.
        if stopped.wait(seconds):
            return


def _shut_down(connection: Watched) -> None:
    # On a duplicate, so that the descriptor stays the driver's to close. An error means that the
    # connection has ended in this very moment, and must not end the watch over the others.
    with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)
