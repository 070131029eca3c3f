"""Take the items of a stream by `async for`; no thread waits for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

from curio_persistence.aio.threads import Threads, running_loop
from curio_persistence.capabilities.live import LiveItem, LiveStream


class AsyncLiveStream:
    """The items that are stored from now on; see `LiveStream`. To be asked by one task at a time.

    It begins with the block of `async with`, or when the first item is asked for. If a wait for an
    item is cancelled, as by a timeout, no item is lost.
    """

    def __init__(self, open_stream: Callable[[], LiveStream], threads: Threads) -> None:
        self._open_stream = open_stream
        self._threads = threads
        self._stream: LiveStream | None = None
        self._news = asyncio.Event()
        self._call: asyncio.Future[list[LiveItem]] | None = None
        self._ready: deque[LiveItem] = deque()
        self._told: str | None = None
        self._closed = False

    async def _open(self) -> None:
        if self._stream is None and not self._closed:
            loop = running_loop()
            self._stream = await self._threads.call(self._open_stream)
            self._stream.on_news = partial(wake, loop, self._news)
            self._news.set()  # There may have been some before this line.

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LiveItem:
        while not self._ready:
            await self._open()
            if self._stream is None or self._stream.closed:
                raise StopAsyncIteration
            self._ready += await self._take(self._stream)
            if not self._ready and not self._stream.closed:
                await self._news.wait()
        item = self._ready.popleft()
        self._told = item.id
        return item

    async def _take(self, stream: LiveStream) -> list[LiveItem]:
        if self._call is None:
            self._news.clear()
            self._call = asyncio.wrap_future(self._threads.start(partial(stream.take, timeout=0)))
        await asyncio.wait([self._call])
        call, self._call = self._call, None
        return call.result()

    @property
    def id(self) -> str | None:
        """The id from which another stream goes on where this one is; None before it has begun."""
        if self._ready or self._stream is None:
            return self._told
        return self._stream.id

    async def close(self) -> None:
        """End the iteration, also for a task that waits for an item. Closing twice is fine."""
        self._closed = True
        if self._stream is not None:
            self._stream.close()
        self._news.set()

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def wake(loop: asyncio.AbstractEventLoop, news: asyncio.Event) -> None:
    """Set an event of a loop, from another thread."""
    with suppress(RuntimeError):  # The loop is closed.
        loop.call_soon_threadsafe(news.set)
