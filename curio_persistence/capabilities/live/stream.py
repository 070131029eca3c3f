"""A stream: what is stored from now on, or from a position on, for one listener."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from curio_persistence.capabilities.live.choice import Choice
from curio_persistence.capabilities.live.hub import Hub
from curio_persistence.capabilities.live.items import LiveItem
from curio_persistence.capabilities.live.positions import FEEDS, Position, replaced, text_of
from curio_persistence.capabilities.live.reading import Entry, items_of, read_news
from curio_persistence.concurrency import forking
from curio_persistence.concurrency.timeouts import checked_seconds
from curio_persistence.errors import ClosedError
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Measure, checked_count
from curio_persistence.tables import CHANGES

_AT_ONCE = 1_000
"""Entries that are looked at while the reader waits."""
_BATCH, _BATCH_BYTES = 200, 1 << 20
"""Rows that a stream reads by itself, and the length of their texts: thousands may do so."""


class LiveStream(Iterator[LiveItem]):
    """The items that are stored from now on, without an end until it is closed.

    One thread takes items; any thread may close it. A listener that is so slow that its next items
    are not kept any more gets an item `missed` in their place. A stream `until` a position ends
    there.
    """

    def __init__(
        self,
        store: Store,
        hub: Hub,
        choice: Choice,
        after: Position | None,
        until: Position | None,
    ) -> None:
        self._store = store
        self._hub = hub
        self._choice = choice
        self._until = until
        self._is_over = False
        self._ready: deque[Entry | LiveItem] = deque()
        self._last: Entry | None = None
        self._missed = 0
        self._since = ""
        self._number: int | None = None
        """The number of the next entry; None while this stream reads by itself."""
        self._generation = 0
        self._failures = hub.failures
        self.closed = False
        """True after `close()`."""
        self.on_news: Callable[[], object] | None = None
        """Called in another thread when there may be items, so that none has to wait for them."""
        if after is None:
            self._attach(*hub.join(self))
        else:
            self._position = self._behind_forgotten(after)
        self._told = text_of(self._position)

    def _behind_forgotten(self, after: Position) -> Position:
        """Return the position to begin at; changes before the oldest that is kept are missed."""
        feed = FEEDS.index(CHANGES)
        upto = after[feed].upto
        [(oldest,)] = self._store.aggregate(CHANGES, (Measure("min", "id"),))
        if oldest is None or oldest <= upto + 1 or not {"run", "span"} & self._choice.kinds:
            return after
        position = replaced(after, feed, after[feed]._replace(upto=oldest - 1))
        missed = oldest - 1 - upto
        self._ready.append(LiveItem(text_of(position), "missed", missed=missed))
        return position

    def __repr__(self) -> str:
        return f"<LiveStream, {'closed' if self.closed else f'behind {self.id}'}>"

    # --- taking items -------------------------------------------------------------------------

    def __next__(self) -> LiveItem:
        for item in self.take(1):
            return item
        raise StopIteration

    def take(self, limit: int = 100, *, timeout: float | None = None) -> list[LiveItem]:
        """Return the next items, at most `limit`; wait up to `timeout` seconds for the first one.

        The list is empty if none has come in time, or the stream is closed.
        """
        if not checked_count("limit", limit):
            return []
        if timeout is not None:
            timeout = checked_seconds("timeout", timeout)
        taken = self._take(limit, timeout)
        told = iter(items_of([each for each in taken if isinstance(each, Entry)]))
        return [next(told) if isinstance(each, Entry) else each for each in taken]

    def take_texts(self, limit: int = 100) -> list[tuple[str, str, str]]:
        """Return the id, kind and JSON of the items at hand, each made once for all streams."""
        return [
            (each.id, each.kind, json.dumps(each.to_dict()))
            if isinstance(each, LiveItem)
            else (each.id, each.kind, each.text)
            for each in self._take(limit, 0)
        ]

    def _take(self, limit: int, timeout: float | None) -> list[Entry | LiveItem]:
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.closed:
            if not self._ready:
                self._fetch(limit)
            if self._is_over and not self._ready:
                self.close()
            elif self._ready:
                taken = [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
                self._told = taken[-1].id
                return taken
            elif not self._wait(deadline):
                break
        return []

    @property
    def has_caught_up(self) -> bool:
        """Return whether items are taken without reading the database."""
        return self._number is not None and self._generation == forking.generation

    @property
    def id(self) -> str:
        """The id from which another stream goes on where this one is."""
        return self._told if self._ready else text_of(self._reached())

    def _reached(self) -> Position:
        return self._position if self._last is None else self._last.position

    def _fetch(self, limit: int) -> None:
        """Put the next entries that pass the filters into `_ready`."""
        if self._until is not None:
            self._read_up_to(self._until)
            return
        if not self.has_caught_up:
            self._catch_up()
            return
        with self._hub.news:
            assert self._number is not None
            if self._missed:
                self._ready.append(self._missing())
                return
            for entry in self._hub.entries_from(self._number, _AT_ONCE):
                self._number, self._last = self._number + 1, entry
                if self._choice.passes(entry):
                    self._ready.append(entry)
                    if len(self._ready) >= limit:
                        break

    def _missing(self) -> LiveItem:
        missed, self._missed = self._missed, 0
        return LiveItem(text_of(self._reached()), "missed", missed=missed, since=self._since)

    def _wait(self, deadline: float | None) -> bool:
        """Wait for entries; return False if the time is over."""
        with self._hub.news:
            while not self._has_news():
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._hub.news.wait(left)
        return True

    def _has_news(self) -> bool:
        """Return whether there is something to fetch; raise what made the last read fail."""
        if self.closed or self._missed or not self.has_caught_up:
            return True
        error, failures = self._hub.error, self._hub.failures
        if error is not None and (failures != self._failures or isinstance(error, ClosedError)):
            self._failures = failures
            raise error.with_traceback(None)
        return self._number != self._hub.end

    # --- being told ---------------------------------------------------------------------------

    def overtaken(self, dropped: Sequence[Entry], first: int) -> None:
        """Count the dropped entries that this stream would have told."""
        if self._number is None or self._number >= first:
            return
        passed = dropped[self._number - first :]
        missed = sum(map(self._choice.passes, passed))
        if missed and not self._missed:
            self._since = text_of(self._reached())
        self._missed += missed
        self._number, self._last = first, passed[-1]

    def has_passed(self, number: int) -> bool:
        """Return True if the reader need not wait until this takes the entries before a number."""
        return self._number is None or self._number >= number or bool(self._missed)

    def tell(self) -> None:
        """Call `on_news`, if it is set."""
        if self.on_news is not None:
            self.on_news()

    # --- joining, and catching up -------------------------------------------------------------

    def _read_up_to(self, until: Position) -> None:
        """Read what comes next in front of a position."""
        news = read_news(self._store, self._position, limit=_BATCH, max_bytes=_BATCH_BYTES)
        self._position, self._is_over = news.position, not news.more
        self._ready += [
            entry for entry in news.entries if self._choice.passes(entry) and entry.is_before(until)
        ]

    def _catch_up(self) -> None:
        """Read what comes next by itself; at the end of it, join the hub."""
        since = self._reached()
        news = read_news(self._store, since, limit=_BATCH, max_bytes=_BATCH_BYTES)
        number = None
        if not news.more:
            until, number = self._hub.join(self)
            news = read_news(self._store, since, until, limit=_BATCH, max_bytes=_BATCH_BYTES)
        self._attach(news.position, None if news.more else number)
        self._ready += [entry for entry in news.entries if self._choice.passes(entry)]

    def _attach(self, position: Position, number: int | None) -> None:
        """Go on from a position, which is at this number of the hub; without one, by itself."""
        with self._hub.news:
            self._position, self._last = position, None
            self._generation = forking.generation
            self._number = number if number is not None and self._hub.has(number) else None
        if self._number is None:
            self._hub.leave(self)

    # --- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """End the iteration, also for a thread that waits for an item. Closing twice is fine."""
        self.closed = True
        self._hub.leave(self)
        self.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
