"""Opens a persistence without keeping the event loop waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from curio_persistence.aio.persistence import AsyncPersistence
from curio_persistence.aio.threads import Threads
from curio_persistence.persistence import Persistence


class ConnectContext(Awaitable[AsyncPersistence], AbstractAsyncContextManager[AsyncPersistence]):
    """A persistence that is about to be opened: await it, or enter it with `async with`.

    If the wait for it is cancelled, the persistence is closed once it is open.
    """

    def __init__(self, opener: Callable[[], Persistence], *, threads: int) -> None:
        self._opener = opener
        self._threads = Threads(threads)
        self._opened: AsyncPersistence | None = None

    def __await__(self) -> Generator[Any, None, AsyncPersistence]:
        return self._open().__await__()

    async def _open(self) -> AsyncPersistence:
        opening = self._threads.begin(self._opener)
        try:
            persistence = await asyncio.shield(asyncio.wrap_future(opening))
        except asyncio.CancelledError:
            opening.add_done_callback(_close)
            raise
        return AsyncPersistence(persistence, threads=self._threads.most)

    async def __aenter__(self) -> AsyncPersistence:
        self._opened = await self
        return await self._opened.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            await self._opened.__aexit__(kind, error, traceback)


def _close(opening: Future[Persistence]) -> None:
    if opening.exception() is None:
        opening.result().close()
