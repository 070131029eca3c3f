"""The base of the capabilities of a persistence."""

from __future__ import annotations

from curio_persistence.clock import Clock
from curio_persistence.store.base import Store


class Capability:
    """A part of what a persistence does, above its store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store!r})"
