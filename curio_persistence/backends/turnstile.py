"""A gate that lets threads through in the order they came."""

from __future__ import annotations

import threading
from collections import deque
from threading import Lock, get_ident


class Turnstile:
    """Lets `places` threads be inside at a time; the others wait their turn, first come first in.

    `threading.Lock` and `Semaphore` promise no order: under load a thread can wait for ever.
    """

    def __init__(self, places: int = 1) -> None:
        self._mutex = Lock()
        self._free = places
        self._waiting: deque[Lock] = deque()
        self._inside: dict[int, int] = {}

    def enter(self, timeout: float) -> bool:
        """Wait for a place for at most `timeout` seconds; whether there was one."""
        me = get_ident()
        with self._mutex:
            if self._free:
                self._free -= 1
                self._inside[me] = self._inside.get(me, 0) + 1
                return True
            turn = Lock()
            turn.acquire()
            self._waiting.append(turn)
        return self._wait(turn, timeout, me)

    def _wait(self, turn: Lock, timeout: float, me: int) -> bool:
        came = False
        try:
            came = turn.acquire(timeout=max(timeout, 0))
        finally:
            with self._mutex:
                if not came and turn not in self._waiting:
                    came = True  # The place was handed over in the very moment the wait ended.
                if came:
                    self._inside[me] = self._inside.get(me, 0) + 1
                else:
                    self._waiting.remove(turn)
        return came

    def leave(self) -> None:
        """Give the place to whoever waits longest."""
        me = get_ident()
        with self._mutex:
            places = self._inside.pop(me, 1) - 1
            if places:
                self._inside[me] = places
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1

    def holders(self) -> str:
        """The names of the threads inside, for an error message."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        return ", ".join(names.get(ident, f"thread {ident}") for ident in list(self._inside))
