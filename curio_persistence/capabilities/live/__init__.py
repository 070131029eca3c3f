"""Streams of what is stored, as it is committed: runs, events, model calls and spans."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Unpack

from curio_persistence.capabilities.live.choice import LiveFilters, choice_of
from curio_persistence.capabilities.live.hub import Hub
from curio_persistence.capabilities.live.items import LiveItem
from curio_persistence.capabilities.live.positions import parse_position
from curio_persistence.capabilities.live.stream import LiveStream
from curio_persistence.errors import InvalidValueError
from curio_persistence.store.base import Store

__all__ = ["Live", "LiveFilters", "LiveItem", "LiveStream"]


class Live:
    """The streams of a persistence, which share one reader."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._hub = Hub(store)

    def stream(
        self, *, after: str | None = None, until: str | None = None, **filters: Unpack[LiveFilters]
    ) -> LiveStream:
        """Return a stream of what is stored from now on, or between the ids of two items."""
        return self.prepare(after=after, until=until, **filters)()

    @property
    def listeners(self) -> int:
        """The number of open streams."""
        return self._hub.count()

    def prepare(
        self, *, after: str | None = None, until: str | None = None, **filters: Unpack[LiveFilters]
    ) -> Callable[[], LiveStream]:
        """Check the arguments, and return a function that opens the stream."""
        choice = choice_of(filters)
        begin = None if after is None else parse_position("after", after)
        end = None if until is None else parse_position("until", until)
        if end is not None and begin is None:
            raise InvalidValueError(
                "A stream until an id begins after another one: give after.", field="after"
            )
        return partial(LiveStream, self._store, self._hub, choice, begin, end)
