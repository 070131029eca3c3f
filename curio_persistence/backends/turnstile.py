"""A gate that lets threads through in the order they came."""

from __future__ import annotations

import threading
import time
from collections import deque
from threading import Event, RLock, get_ident


class Turnstile:
    """Lets `places` threads be inside at a time; the others wait their turn, first come first in.

    `threading.Lock` and `Semaphore` promise no order: under load a thread can wait for ever. The
    places are reentrant locks, so that a signal handler can do what the code it interrupted was
    about to do, and an interrupt (Ctrl-C) that lands between two steps never locks its own thread
    out. Appending to and popping from a deque is atomic.
    """

    def __init__(self, places: int = 1) -> None:
        self._places = [RLock() for _ in range(places)]
        self._waiting: deque[Event] = deque()
        self._inside: set[int] = set()

    def enter(self, timeout: float) -> bool:
        """Wait for a place for at most `timeout` seconds; whether there was one."""
        me = get_ident()
        # Who is inside already must not wait behind those who wait for him.
        if (not self._waiting or me in self._inside) and self._take_place():
            self._inside.add(me)
            return True
        return self._wait(timeout)

    def leave(self) -> None:
        """Give the place to whoever waits longest."""
        self._inside.discard(get_ident())
        for place in self._places:
            try:
                place.release()
                break
            except RuntimeError:  # It is another thread's.
                continue
        if self._waiting:
            self._call_next()

    def holders(self) -> str:
        """The names of the threads inside, for an error message."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        inside = [names.get(ident, f"thread {ident}") for ident in list(self._inside)]
        return ", ".join(inside) or "a thread that was interrupted"

    def _take_place(self) -> bool:
        return any(place.acquire(blocking=False) for place in self._places)

    def _wait(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        turn = Event()
        taken = False
        self._waiting.append(turn)
        try:
            while True:
                turn.clear()  # Before looking: a call that comes from here on is not missed.
                if self._waiting[0] is turn and (taken := self._take_place()):
                    self._inside.add(get_ident())
                    return True
                if not turn.wait(max(deadline - time.monotonic(), 0)):
                    return False
        except BaseException:
            if taken:
                self.leave()
            raise
        finally:
            self._waiting.remove(turn)
            self._call_next()

    def _call_next(self) -> None:
        try:
            self._waiting[0].set()
        except IndexError:  # Whoever waited has given up.
            return
