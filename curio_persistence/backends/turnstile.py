"""A gate that lets threads through in the order they came."""

from __future__ import annotations

import threading
from collections import deque
from threading import Lock, get_ident


class Turnstile:
    """Lets `places` threads be inside at a time; the others wait their turn, first come first in.

    `threading.Lock` and `Semaphore` promise no order: under load a thread can wait for ever. A
    thread that finds a free place takes no lock; appending to and popping from a deque is atomic.
    """

    def __init__(self, places: int = 1) -> None:
        self._free = deque([None] * places)
        self._waiting: deque[Lock] = deque()
        self._mutex = Lock()
        self._inside: set[int] = set()

    def enter(self, timeout: float) -> bool:
        """Wait for a place for at most `timeout` seconds; whether there was one."""
        if self._waiting:
            entered = self._wait(timeout)
        else:
            try:
                self._free.pop()
                entered = True
            except IndexError:
                entered = self._wait(timeout)
        if entered:
            self._inside.add(get_ident())
        return entered

    def leave(self) -> None:
        """Give the place to whoever waits longest."""
        self._inside.discard(get_ident())
        self._free.append(None)
        if self._waiting:
            with self._mutex:
                self._call_next()

    def holders(self) -> str:
        """The names of the threads inside, for an error message."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        return ", ".join(names.get(ident, f"thread {ident}") for ident in list(self._inside))

    def _wait(self, timeout: float) -> bool:
        turn = Lock()
        turn.acquire()
        with self._mutex:
            self._waiting.append(turn)
            self._call_next()  # A place may have become free before this thread stood in line.
        try:
            called = turn.acquire(timeout=max(timeout, 0))
        except BaseException:  # An interrupt: nobody is left to use the place and to give it back.
            if self._step_out(turn):
                self.leave()
            raise
        return called or self._step_out(turn)

    def _step_out(self, turn: Lock) -> bool:
        """Stop waiting; True if this thread was called in that very moment."""
        with self._mutex:
            if turn not in self._waiting:
                return True
            self._waiting.remove(turn)
            return False

    def _call_next(self) -> None:
        while self._waiting and self._free:
            try:
                self._free.pop()
            except IndexError:  # A newcomer was faster.
                return
            self._waiting.popleft().release()
