"""One reader for all streams of a persistence, and the entries that it has read last."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from itertools import islice
from threading import Condition, Lock, Thread
from typing import Protocol
from weakref import WeakSet

from curio_persistence.capabilities.live.positions import Position, position_now
from curio_persistence.capabilities.live.reading import Entry, read_news
from curio_persistence.concurrency import forking
from curio_persistence.errors import ClosedError
from curio_persistence.store.base import Store

INTERVAL = 0.25
"""Seconds between two reads."""
_LONGEST_INTERVAL = 5.0
"""Seconds between two reads while they fail."""
_MOMENT = 0.002
"""Seconds between two looks at the entries that listeners have taken."""
_KEPT = 10_000
_KEPT_BYTES = 64 << 20
"""The most entries that are kept for slow listeners, and the length of their texts."""


class Listener(Protocol):
    """A stream that takes entries from the hub."""

    def overtaken(self, dropped: Sequence[Entry], first: int) -> None:
        """Note that entries were dropped; the first one that is left has this number."""

    def has_passed(self, number: int) -> bool:
        """Return True if the reader need not wait until this takes the entries before a number."""

    def tell(self) -> None:
        """Note that there are new entries, or an error. Called in the thread of the reader."""


class Hub(forking.Forkable):
    """A thread that reads what is new once for all listeners, while there are any.

    The entries are numbered, and the last ones are kept. A listener is at one of these numbers, so
    the memory does not grow with the listeners, and a slow listener delays no other.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._begin()
        forking.follow(self)

    def _begin(self) -> None:
        self._reading = Lock()
        self.news = Condition(Lock())
        """Held for everything below."""
        self.end = 0
        """The number of the next entry."""
        self.error: Exception | None = None
        """The error of the last read; None if it succeeded."""
        self.failures = 0
        self._kept: deque[tuple[Entry, int]] = deque()
        self._size = 0
        self._position: Position = ()
        self._thread: Thread | None = None
        self._listeners: WeakSet[Listener] = WeakSet()

    def start_again(self) -> None:
        """Begin without the parent's thread, in a forked child. Its listeners join again."""
        self._begin()

    # --- listeners ----------------------------------------------------------------------------

    def join(self, listener: Listener) -> tuple[Position, int]:
        """Add a listener, and return the position behind all that is committed, and its number."""
        with self._reading:
            if self._thread is None:  # The position is old: no thread has read since.
                self._position = position_now(self._store)
            while self._read():
                self._wait_for_listeners()
            with self.news:
                self._listeners.add(listener)
                self._start()
                return self._position, self.end

    def leave(self, listener: Listener) -> None:
        """Remove a listener."""
        with self.news:
            self._listeners.discard(listener)
            self.news.notify_all()

    def count(self) -> int:
        """Return the number of listeners."""
        return len(self._listeners)

    def has(self, number: int) -> bool:
        """Return whether all entries from a number on are kept."""
        return number >= self.end - len(self._kept)

    def entries_from(self, number: int, most: int) -> list[Entry]:
        """Return the next entries from a number on."""
        start = len(self._kept) - (self.end - number)
        return [entry for entry, _ in islice(self._kept, start, start + most)]

    # --- the reader ---------------------------------------------------------------------------

    def _start(self) -> None:
        if self._thread is None:
            self._thread = Thread(
                target=self._run, args=(self.news,), name="curio-live", daemon=True
            )
            self._thread.start()

    def _run(self, news: Condition) -> None:
        pause = INTERVAL
        while self._waits(news, pause):
            try:
                while self._read_in_turn():
                    self._wait_for_listeners()
                pause = INTERVAL
            except Exception as error:  # The listeners raise it.
                pause = min(2 * pause, _LONGEST_INTERVAL)
                self._fail(error)

    def _waits(self, news: Condition, pause: float) -> bool:
        """Wait until the next read is due; return False if no listener is left."""
        until = time.monotonic() + pause
        with news:
            while len(self._listeners) and (left := until - time.monotonic()) > 0:
                news.wait(min(left, INTERVAL))
            if not len(self._listeners) or isinstance(self.error, ClosedError):
                self._thread = None
                self._drop(len(self._kept))
                return False
        return True

    def _read_in_turn(self) -> bool:
        with self._reading:
            return self._read()

    def _read(self) -> bool:
        """Read once, and return whether there is more; `_reading` is held."""
        news = read_news(self._store, self._position)
        with self.news:
            self._position = news.position
            self.error = None
            self._keep(news.entries, news.size)
        return news.more

    def _wait_for_listeners(self) -> None:
        """Let listeners take what came in many rows at once, unless they are slow."""
        until = time.monotonic() + INTERVAL
        while self._some_would_miss() and time.monotonic() < until:
            time.sleep(_MOMENT)

    def _some_would_miss(self) -> bool:
        with self.news:
            if len(self._kept) < _KEPT // 2 and self._size < _KEPT_BYTES // 2:
                return False
            middle = self.end - len(self._kept) // 2
            return not all(listener.has_passed(middle) for listener in list(self._listeners))

    def _keep(self, entries: list[Entry], size: int) -> None:
        if not entries:
            return
        each = size // len(entries)
        self._kept.extend((entry, each) for entry in entries)
        self._size += each * len(entries)
        self.end += len(entries)
        self._drop(self._too_many())
        self._tell()

    def _too_many(self) -> int:
        """Return how many of the oldest entries are more than is kept."""
        left, size = len(self._kept), self._size
        for _, each in self._kept:
            if left <= _KEPT and (size <= _KEPT_BYTES or left == 1):
                break
            left, size = left - 1, size - each
        return len(self._kept) - left

    def _drop(self, count: int) -> None:
        """Drop the oldest entries; tell the listeners that had not taken them."""
        if not count:
            return
        taken = [self._kept.popleft() for _ in range(count)]
        self._size -= sum(size for _, size in taken)
        dropped, first = [entry for entry, _ in taken], self.end - len(self._kept)
        for listener in list(self._listeners):
            listener.overtaken(dropped, first)

    def _fail(self, error: Exception) -> None:
        with self.news:
            self.error = error
            self.failures += 1
            self._tell()

    def _tell(self) -> None:
        self.news.notify_all()
        for listener in list(self._listeners):
            listener.tell()
