"""A persistence that is opened by the first call, and works in other threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, TypeVar

from curio_persistence.aio.persistence import THREADS
from curio_persistence.aio.threads import Threads
from curio_persistence.errors import InvalidValueError
from curio_persistence.persistence import Persistence

T = TypeVar("T")


class Opened:
    """The base of Agiwo's storages: over any persistence that a function opens.

    It is opened by the first call, closed by `close()`, and opened again by the next call. With
    `closes=False` the persistence is left open, for it is the caller's.
    """

    def __init__(self, open_persistence: Callable[[], Persistence], *, closes: bool = True) -> None:
        self._open_persistence = open_persistence
        self._closes = closes
        self._opening = Lock()
        self._persistence: Persistence | None = None
        self._threads = Threads(THREADS)

    @property
    def initialized(self) -> bool:
        """Return whether it is open: from the first call to `close()`."""
        return self._persistence is not None

    async def initialize(self) -> None:
        """Open the persistence; its tables are made if there are none."""
        await self._call(Persistence.initialize_schema)

    async def close(self) -> None:
        """Close the persistence. Closing twice is fine."""
        if self._persistence is not None:
            await self._threads.last_call(self._close)

    async def _call(self, work: Callable[[Persistence], T]) -> T:
        """Do the work in a thread, and return or raise what it does."""
        return await self._threads.call(self._work, work)

    def _work(self, work: Callable[[Persistence], T]) -> T:
        with self._opening:
            if self._persistence is None:
                self._persistence = self._open_persistence()
            persistence = self._persistence
        return work(persistence)

    def _close(self) -> None:
        with self._opening:
            if self._persistence is not None and self._closes:
                self._persistence.close()
            self._persistence = None


def made(
    purpose: str, types: Mapping[str, Callable[..., T]], name: str, settings: Mapping[str, Any]
) -> T:
    """Return the storage of a type, with its settings."""
    make = types.get(name)
    if make is None:
        raise InvalidValueError(
            f"Unknown {purpose} type: {name!r:.80}. It is one of {', '.join(types)}.",
            field="storage_type",
        )
    try:
        return make(**settings)
    except TypeError as error:
        raise InvalidValueError(
            f"The config of {purpose} {name!r}: {error}.", field="config"
        ) from error
