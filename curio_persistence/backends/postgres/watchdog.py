"""Watchdog for statements that nobody answers.

A server's `statement_timeout` needs a server that can be heard, and TCP's timeouts a network that
does not acknowledge: behind a proxy that swallows traffic both wait for ever. Here a thread of our
own shuts the socket down, which ends the driver's wait with an error.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import Protocol
from weakref import ref

_GRACE = 0.5
"""Seconds for the server to report its own timeout first, which keeps the connection."""


class Connection(Protocol):
    def fileno(self) -> int: ...


class Watchdog:
    """Watches the statements of one pool; each may take `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds + _GRACE
        self.start_again()

    def start_again(self) -> None:
        """Begin with nothing to watch, as after a fork, which leaves the thread behind."""
        self._lock = Lock()
        self._running: dict[Connection, float] = {}
        self._stopped = Event()
        self._thread: Thread | None = None

    def begin(self, connection: Connection) -> None:
        """A statement starts now."""
        with self._lock:
            self._running[connection] = time.monotonic() + self._seconds
            if self._thread is None and not self._stopped.is_set():
                self._thread = Thread(
                    target=_watch, args=(ref(self),), name="curio-watchdog", daemon=True
                )
                self._thread.start()

    def end(self, connection: Connection) -> None:
        """The statement is over."""
        with self._lock:
            self._running.pop(connection, None)

    def stop(self) -> None:
        self._stopped.set()

    def look(self) -> None:
        """Shut down what is overdue."""
        now = time.monotonic()
        with self._lock:
            overdue = [c for c, deadline in self._running.items() if now > deadline]
            for connection in overdue:
                del self._running[connection]
                _shut_down(connection)

    def pause(self) -> tuple[Event, float]:
        """What ends the watch, and how many seconds may pass between two looks."""
        return self._stopped, min(self._seconds / 4, 1.0)


def _watch(watched: ref[Watchdog]) -> None:
    """Look again and again, until told to stop or nobody has the watchdog any more."""
    while (watchdog := watched()) is not None:
        stopped, seconds = watchdog.pause()
        watchdog.look()
        del watchdog  # While waiting, this thread must not keep them alive.
        if stopped.wait(seconds):
            return


def _shut_down(connection: Connection) -> None:
    # On a duplicate, so that the descriptor stays the driver's to close. An error means that the
    # connection has ended in this very moment, and must not end the watch over the others.
    with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)
