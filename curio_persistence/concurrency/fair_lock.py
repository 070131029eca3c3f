"""A gate that lets threads through in the order they came."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from threading import Lock, RLock, get_ident

_LOOK_AGAIN = 1.0
"""Seconds after which a waiter looks of his own accord: an interrupt can swallow a call."""


class Waiter:
    """Somebody in the queue.

    He may bring work that another can do for him while he waits; then `is_served` and `withdraw`
    tell more. His bell is a bare lock: to wake somebody by an Event takes half as long again.
    """

    __slots__ = ("_bell", "thread")

    def __init__(self) -> None:
        self.thread = get_ident()
        self._bell = Lock()
        self._bell.acquire()

    def is_served(self) -> bool:
        """Whether what he came for is done, so that he need not go in."""
        return False

    def withdraw(self) -> bool:
        """Let nobody serve him any more; False while somebody is about to."""
        return True

    def call(self) -> None:
        """Make him look how things stand."""
        with suppress(RuntimeError):  # He has been called already.
            self._bell.release()

    def wait(self, seconds: float) -> None:
        """Wait to be called; where no time is left, then by whoever is about to serve him."""
        self._bell.acquire(timeout=min(seconds, _LOOK_AGAIN) if seconds > 0 else _LOOK_AGAIN)


class Turnstile:
    """Lets `places` threads be inside at a time; the others wait their turn, first come first in.

    `threading.Lock` and `Semaphore` promise no order: under load a thread can wait for ever. The
    places are reentrant locks, so that a signal handler can do what the code it interrupted was
    about to do, and an interrupt (Ctrl-C) that lands between two steps never locks its own thread
    out. Appending to and removing from a deque is atomic.
    """

    def __init__(self, places: int = 1) -> None:
        self._places = [RLock() for _ in range(places)]
        self._waiting: deque[Waiter] = deque()
        self._inside: set[int] = set()  # For `holders` only: an interrupt may make it wrong.
        # The lock's own method, if there is one lock: before a function in Python has begun, an
        # interrupt may end it. So what has to be safe from that calls this, and then `pass_on`.
        self.release = self._places[0].release if places == 1 else self._release_place

    def enter(self, timeout: float, waiter: Waiter | None = None) -> bool:
        """Wait for a place for at most `timeout` seconds; whether there was one.

        There was none either if the waiter is served: it is he who tells.
        """
        return self.enter_at_once() or self._wait(timeout, waiter or Waiter())

    def enter_at_once(self) -> bool:
        """Enter if there is a place for which nobody waits; whether there was one."""
        # Who is inside already must not wait behind those who wait for him.
        return (not self._waiting or self._am_inside()) and self._take_place()

    def leave(self) -> None:
        """Give the place to whoever waits longest."""
        try:
            self._release_place()
        finally:
            self.pass_on()

    def pass_on(self) -> None:
        """Call whoever waits longest, after `release`."""
        self._inside.discard(get_ident())
        if self._waiting:
            self._call_next()

    def waiting(self) -> list[Waiter]:
        """Those in the queue, in order."""
        return list(self._waiting)

    def holders(self) -> str:
        """The names of the threads inside, for an error message."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        inside = [names.get(ident, f"thread {ident}") for ident in list(self._inside)]
        return ", ".join(inside) or "a thread that was interrupted"

    def occupied(self) -> int:
        """How many threads are inside."""
        return len(self._inside)

    def _am_inside(self) -> bool:
        for place in self._places:  # `any` takes three times as long  # noqa: SIM110
            if place._is_owned():  # type: ignore[attr-defined]  # as threading.Condition asks it
                return True
        return False

    def _take_place(self) -> bool:
        inside = self._am_inside()
        try:
            for place in self._places:
                if place.acquire(blocking=False):
                    self._inside.add(get_ident())
                    return True
        except BaseException:
            if not inside:  # The interrupt may have come when the place was taken.
                self.leave()
            raise
        return False

    def _release_place(self) -> None:
        for place in self._places:
            try:
                place.release()
                break
            except RuntimeError:  # It is another thread's.
                continue

    def _wait(self, timeout: float, waiter: Waiter) -> bool:
        deadline = time.monotonic() + timeout
        entered = False
        try:
            self._join(waiter)
            while not waiter.is_served():
                remaining = deadline - time.monotonic()
                if remaining <= 0 and waiter.withdraw():
                    break
                if self._is_next(waiter) and (entered := self._take_place()):
                    break
                waiter.wait(remaining)
            self._go(waiter, entered)
            if entered and waiter.is_served():  # By whoever was inside just before.
                entered = False
                self.leave()
            return entered
        except BaseException:
            waiter.withdraw()
            self._go(waiter, entered)
            if entered:
                self.leave()
            raise

    def _join(self, waiter: Waiter) -> None:
        # A signal handler does not wait behind its own thread, which cannot go on before it.
        if any(other.thread == waiter.thread for other in self.waiting()):
            self._waiting.appendleft(waiter)
        else:
            self._waiting.append(waiter)

    def _go(self, waiter: Waiter, entered: bool) -> None:
        """Take somebody out of the queue, and let the next one come forward."""
        with suppress(ValueError):  # Being served, he was taken out.
            self._waiting.remove(waiter)
            if not entered or len(self._places) > 1:
                self._call_next()

    def _is_next(self, waiter: Waiter) -> bool:
        try:
            return self._waiting[0] is waiter
        except IndexError:
            return False

    def _call_next(self) -> None:
        with suppress(IndexError, ValueError):  # Whoever waited has gone.
            while (first := self._waiting[0]).is_served():
                self._waiting.remove(first)
            first.call()
