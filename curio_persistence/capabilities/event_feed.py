"""Follow events as they are stored, with any number of listeners."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from threading import Lock
from typing import NamedTuple

from curio_persistence.concurrency import forking
from curio_persistence.errors import UnsupportedError
from curio_persistence.models import AgentRunEvent
from curio_persistence.results.pages import read_page
from curio_persistence.store.base import Store
from curio_persistence.store.change_feed import Watermark, read_changes, watermark_now
from curio_persistence.store.filters import Filter, Select, Where, matches
from curio_persistence.store.table import Row, Table

_REMEMBERED = 64
_REMEMBERED_BYTES = 32 * 2**20
"""Batches for listeners that are behind the others; one that is farther behind reads by itself."""


class _Batch(NamedTuple):
    rows: list[Row]
    watermark: Watermark
    size: int
    more: bool


class SharedFeed(forking.Forkable):
    """A table's change feed, each batch of it read once for all listeners."""

    def __init__(self, store: Store, table: Table[AgentRunEvent]) -> None:
        self._store = store
        self._table = table
        self._lock = Lock()
        self._batches: OrderedDict[Watermark, _Batch] = OrderedDict()
        self._end: Watermark | None = None
        self._read_at = 0.0
        forking.follow(self)

    def join(self) -> Watermark:
        """Return the position from which a listener sees only rows committed from now on."""
        with self._lock:
            # At the position of the others, or the new listener would read every batch by itself.
            if self._end is None or self._read(self._end).more:
                self._end = watermark_now(self._store, self._table)
            return self._end

    def after(self, watermark: Watermark, max_age: float) -> _Batch:
        """Return the next rows behind a watermark.

        At the end of the feed, the store is polled only once in `max_age` seconds.
        """
        with self._lock:
            if watermark in self._batches:
                return self._batches[watermark]
            if watermark == self._end and time.monotonic() - self._read_at < max_age:
                return _Batch([], watermark, 0, more=False)
            return self._read(watermark)

    def _read(self, watermark: Watermark) -> _Batch:
        if self._store._is_inside():
            raise UnsupportedError(
                "A transaction is open in this thread, which sees rows that are not committed: "
                "end it before you follow."
            )
        if len(self._store.replicated()) > 1:
            raise UnsupportedError(
                f"{self._store.location} has several sources, whose rows come in no common order: "
                "follow one of them (?source=NAME in the URL)."
            )
        changes = read_changes(self._store, self._table, since=watermark)
        rows = [self._table.filled | row for row in self._table.rows(changes.columns)]
        batch = _Batch(rows, changes.watermark, changes.size, changes.more)
        if watermark == self._end:
            self._end, self._read_at = batch.watermark, time.monotonic()
        if batch.watermark != watermark:
            self._batches[watermark] = batch
            self._drop_old()
        return batch

    def _drop_old(self) -> None:
        size = sum(batch.size for batch in self._batches.values())
        while len(self._batches) > _REMEMBERED or (
            len(self._batches) > 1 and size > _REMEMBERED_BYTES
        ):
            size -= self._batches.popitem(last=False)[1].size

    def start_again(self) -> None:
        """Begin without a reading thread, as in a forked child."""
        self._lock, self._end = Lock(), None
        self._batches.clear()


class EventFeed(Iterator[list[AgentRunEvent]]):
    """Endless lists of events: each has the events stored between two polls, and may be empty.

    The first list has the newest stored events, oldest first. After a poll that fails, the next
    list has its events: none is lost or repeated.
    """

    def __init__(
        self,
        store: Store,
        table: Table[AgentRunEvent],
        feed: SharedFeed,
        where: Where,
        last: int,
        interval: float,
    ) -> None:
        self._store = store
        self._feed = feed
        self._table = table
        self._where = tuple(f for f in where if not isinstance(f.value, Select))
        self._selecting = tuple(f for f in where if isinstance(f.value, Select))
        self._interval = interval
        self._newest = partial(
            read_page, store, table, where, order="newest", limit=last, cursor=None
        )
        self._watermark: Watermark | None = None
        self._more = False

    def __next__(self) -> list[AgentRunEvent]:
        time.sleep(self.pause)
        return self.look()

    @property
    def pause(self) -> float:
        """The seconds until the next poll."""
        return 0 if self._watermark is None or self._more else self._interval

    def look(self) -> list[AgentRunEvent]:
        """Return the next list, at once."""
        if self._watermark is None:
            return self._begin()
        # Half the interval, or a poll that comes a moment too early would find nothing.
        batch = self._feed.after(self._watermark, self._interval / 2)
        rows = self._selected([row for row in batch.rows if matches(row, self._where)])
        self._watermark, self._more = batch.watermark, batch.more
        return self._table.decode(self._table.columns_of(rows)) if rows else []

    def _selected(self, rows: list[Row]) -> list[Row]:
        """Return those of the rows that belong to a selected row of another table, as it is now."""
        for column, _, select, _ in self._selecting if rows else ():
            values = Filter(select.column, "in", tuple({row[column] for row in rows}))
            where = (*select.where, values)
            found = {*self._store.select_columns(select.table, (select.column,), where)}
            rows = [row for row in rows if (row[column],) in found]
        return rows

    def _begin(self) -> list[AgentRunEvent]:
        watermark = self._feed.join()
        page = self._newest()
        self._watermark = watermark
        # The second poll returns the events stored since.
        return [e for e in reversed(list(page)) if watermark.has_passed(e.id or 0)]
