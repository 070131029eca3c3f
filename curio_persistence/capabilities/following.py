"""Events as they come, to those who watch."""

from __future__ import annotations

import time
from collections.abc import Iterator

from curio_persistence.models import AgentRunEvent
from curio_persistence.results.pages import read_page
from curio_persistence.store.base import Store
from curio_persistence.store.change_feed import Arrivals
from curio_persistence.store.filters import Filter, Order, Where
from curio_persistence.store.table import Table

_AT_A_TIME = 1_000


class Following(Iterator[list[AgentRunEvent]]):
    """Lists of events, for ever: those that were stored between two looks, none where none were.

    The first list is of the newest ones that were there, oldest first; what follows comes in the
    order of ids. When a look fails it can be taken again, by asking for the next list: nothing is
    lost or shown twice.
    """

    def __init__(
        self, store: Store, table: Table[AgentRunEvent], where: Where, last: int, interval: float
    ) -> None:
        self._store = store
        self._table = table
        self._where = where
        self._last = last
        self._interval = interval
        self._arrivals: Arrivals | None = None
        self._ids: list[int] = []
        """Of rows that have come, but were not read yet."""

    def __next__(self) -> list[AgentRunEvent]:
        time.sleep(self.pause)
        return self.look()

    @property
    def pause(self) -> float:
        """How many seconds are to pass before the next look."""
        return 0 if self._arrivals is None or self._ids else self._interval

    def look(self) -> list[AgentRunEvent]:
        """The next list, at once."""
        if self._arrivals is None:
            return self._begin()
        if not self._ids:
            self._ids = self._arrivals.ids()
        events = self._read(self._ids[:_AT_A_TIME])
        del self._ids[:_AT_A_TIME]
        return events

    def _begin(self) -> list[AgentRunEvent]:
        arrivals = Arrivals(self._store, self._table)
        page = read_page(
            self._store, self._table, self._where, order="newest", limit=self._last, cursor=None
        )
        self._arrivals = arrivals
        # What was stored since the first look comes with the second one.
        return [e for e in reversed(list(page)) if arrivals.were_there(e.id or 0)]

    def _read(self, ids: list[int]) -> list[AgentRunEvent]:
        if not ids:
            return []
        where = (*self._where, Filter("id", "in", tuple(ids)))
        return self._table.decode(self._store.select(self._table, where, order=(Order("id"),)))
