"""A lock that serves threads in the order in which they came.

`threading.Lock` and `Semaphore` promise no order: under load a thread can wait for ever. A
KeyboardInterrupt between any two steps leaves no permit taken, if the caller follows this pattern:

    ticket = Ticket()
    try:
        if not lock.acquire(ticket, timeout):
            ...
    finally:
        lock.release(ticket)
        lock.wake()
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, RLock, get_ident
from typing import Any

from curio_persistence.concurrency.time_limit import within_limit

_LOOK_AGAIN = 1.0
"""Seconds after which a waiting thread looks unasked: an interrupt can swallow a wake-up."""


class Ticket:
    """One thread's claim to one permit, from before it waits until after it has released."""

    __slots__ = ("thread", "wakeup")

    def __init__(self) -> None:
        self.thread = get_ident()
        self.wakeup: Lock | None = None

    def prepare_to_wait(self) -> None:
        """Prepare to wait. The lock `wakeup` stays acquired until another thread signals it.

        An Event takes half as long again to wake a thread, and an interrupt of its wait can leave
        its inner lock unheld.
        """
        self.wakeup = Lock()
        self.wakeup.acquire()

    def signal(self) -> None:
        """Wake the thread that waits with this ticket, or let its next wait return at once."""
        if self.wakeup is not None:
            with suppress(RuntimeError):  # It was signalled already.
                self.wakeup.release()

    def wait(self, seconds: float) -> None:
        """Wait for the signal, but no longer than until a lost wake-up should be noticed."""
        if self.wakeup is not None:
            self.wakeup.acquire(timeout=min(max(seconds, 0), _LOOK_AGAIN))


class FairLock:
    """A lock with `permits`, handed from thread to thread in order of arrival.

    `release` is a method of a set, so that it cannot be interrupted half-way: it may be called by
    any thread, and does nothing for a ticket that holds no permit. `wake` must follow it.
    """

    def __init__(self, permits: int = 1) -> None:
        self._permits = permits
        self._holders: set[Ticket] = set()
        self._queue: deque[Ticket] = deque()
        # Reentrant: a garbage collection inside may end a transaction, which releases and wakes.
        self._mutex = RLock()
        self.release: Callable[[Ticket], None] = self._holders.discard

    def acquire(self, ticket: Ticket, timeout: float) -> bool:
        """Wait at most `timeout` seconds for a permit; return whether the ticket holds one."""
        return self.acquire_at_once(ticket) or self._wait(ticket, timeout)

    def acquire_at_once(self, ticket: Ticket) -> bool:
        """Acquire a permit if one is free and no thread waits; return whether it did."""
        with self._mutex:
            self._holders.add(ticket)
            if not self._queue and len(self._holders) <= self._permits:
                return True
            self._holders.discard(ticket)
        return False

    def wake(self) -> None:
        """Hand free permits to the threads that have waited longest."""
        while self._queue:
            with self._mutex:
                if not self._queue or len(self._holders) >= self._permits:
                    return
                first = self._queue[0]
                self._holders.add(first)  # First: an interrupt must not lose the ticket.
                self._forget(first)
            first.signal()

    def ring_first(self) -> None:
        """Wake the thread that has waited longest; unlike `wake`, for use in a finalizer."""
        with suppress(IndexError):
            self._queue[0].signal()

    def take(self, waiting: Callable[[Any], bool], taken: list[Any], most: int) -> None:
        """Move tickets out of the queue into `taken`: their threads wait for its owner instead."""
        with self._mutex:
            for ticket in list(self._queue):
                if len(taken) < most and waiting(ticket):
                    taken.append(ticket)
                    self._forget(ticket)

    def is_held_by(self, ticket: Ticket) -> bool:
        """Return whether the ticket holds a permit."""
        return ticket in self._holders

    def held(self) -> list[Ticket]:
        """Return the tickets that hold a permit."""
        with self._mutex:
            return list(self._holders)

    def waiting(self) -> int:
        """Return how many threads wait."""
        return len(self._queue)

    def holders(self) -> str:
        """Return the names of the threads that hold permits, for an error message."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        holding = [
            names.get(ticket.thread, f"thread {ticket.thread}, which has ended")
            for ticket in self.held()
        ]
        return ", ".join(holding) or "a thread that has just released it"

    def start_again(self) -> None:
        """Remove all other threads, which do not exist in the child of a fork."""
        self._mutex = RLock()
        self._queue.clear()
        mine = get_ident()
        self._holders.difference_update([t for t in self._holders if t.thread != mine])

    def _wait(self, ticket: Ticket, timeout: float) -> bool:
        deadline = time.monotonic() + within_limit(timeout)
        ticket.prepare_to_wait()
        try:
            with self._mutex:
                self._queue.append(ticket)
            while True:
                self.wake()
                remaining = deadline - time.monotonic()
                if ticket not in self._queue or remaining <= 0:
                    break
                ticket.wait(remaining)
        finally:
            with self._mutex:
                self._forget(ticket)
        return ticket in self._holders

    def _forget(self, ticket: Ticket) -> None:
        if ticket in self._queue:
            self._queue.remove(ticket)
