"""Iterate by `async for` over streams of records, and over events as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterable
from threading import Lock
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from curio_persistence.aio.threads import Threads, running_loop
from curio_persistence.capabilities.event_feed import EventFeed
from curio_persistence.models import AgentRunEvent
from curio_persistence.results.pages import Stream
from curio_persistence.store.table import Record

M = TypeVar("M", bound=Record)


class AsyncStream(Generic[M]):
    """All of a query's records: `async for event in persistence.iter_agent_run_events(): …`.

    A thread reads some hundred at a time, and the next ones when these are used up, so that a slow
    consumer does not fill the memory. A pass that is left before its end gives its connection back
    a moment later; with `async with` it is given back when the block ends.
    """

    def __init__(self, stream: Stream[M], threads: Threads) -> None:
        self._stream = stream
        self._threads = threads

    async def __aiter__(self) -> AsyncIterator[M]:
        reading = _Reading(self._stream.batches())
        try:
            while records := await self._threads.call(reading.next):
                for record in records:
                    yield record
        finally:
            # Not waited for: this may be a cancelled task, or a dropped loop.
            self._threads.start(reading.close)

    async def to_dicts(self) -> list[dict[str, Any]]:
        """Return each record's `to_dict()`, all in memory."""
        return await self._threads.call(self._stream.to_dicts)

    async def to_pandas(self, *, expand: str | Iterable[str] = ()) -> Any:
        """All records as a `pandas.DataFrame`; see `Stream.to_pandas`."""
        return await self._threads.call(self._stream.to_pandas, expand=expand)

    async def to_arrow(self) -> Any:
        """All records as a `pyarrow.Table`; see `Stream.to_arrow`."""
        return await self._threads.call(self._stream.to_arrow)

    async def close(self) -> None:
        """End the passes that are under way and give their connections back."""
        await self._threads.call_to_the_end(self._stream.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncStream: {self._stream!r}>"


class _Reading(Generic[M]):
    """One pass; its calls come from several threads, and wait for one another."""

    def __init__(self, batches: Generator[list[M], None, None]) -> None:
        self._batches = batches
        self._lock = Lock()

    def next(self) -> list[M]:
        with self._lock:
            return next(self._batches, [])

    def close(self) -> None:
        with self._lock:
            self._batches.close()


class AsyncEventFeed:
    """Lists of events, for ever; see `EventFeed`. To be asked by one task at a time.

    If a wait for a list is cancelled, as by a timeout, the next call returns that list.
    """

    def __init__(self, following: EventFeed, threads: Threads) -> None:
        self._following = following
        self._threads = threads
        self._look: asyncio.Future[list[AgentRunEvent]] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[AgentRunEvent]:
        running_loop()
        if self._look is None:
            await asyncio.sleep(self._following.pause)
            self._look = asyncio.wrap_future(self._threads.start(self._following.look))
        await asyncio.wait([self._look])
        look, self._look = self._look, None
        return look.result()
