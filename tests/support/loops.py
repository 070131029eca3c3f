"""Watched event loops: do they run while a call waits, or are they blocked?"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

_TURNS = 20
_TRIES = 10


async def turns_while(work: Awaitable[T], let_go: Callable[[], object]) -> T:
    """Return the result of work that waits for something released after the loop has run."""
    task = asyncio.ensure_future(work)
    for _ in range(_TURNS):
        await asyncio.sleep(0.001)
    let_go()
    return await task


class HeldProgress:
    """A progress callback that blocks at the first batch until it is released."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self._begun, self._may_go_on = threading.Event(), threading.Event()

    def __call__(self, done: int, total: int | None) -> None:
        self.told.append(done)
        self.thread = threading.current_thread()
        self._begun.set()
        self._may_go_on.wait()

    async def begun(self) -> None:
        await asyncio.to_thread(self._begun.wait)

    def let_go(self) -> None:
        self._may_go_on.set()

    async def cancel(self, work: Coroutine[Any, Any, Any]) -> None:
        """Cancel the work in its first batch, and wait until its thread has ended too."""
        task = asyncio.create_task(work)
        await self.begun()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        self.let_go()
        await asyncio.to_thread(self.thread.join)


def stands_still(work: Callable[[], Coroutine[Any, Any, object]], seconds: float) -> bool:
    """Return whether this work always blocks the loop for longer than the limit.

    It is tried several times, because other processes use the processors too.
    """
    return all(asyncio.run(_watched(work())) > seconds for _ in range(_TRIES))


async def _watched(work: Coroutine[Any, Any, object]) -> float:
    """Return the longest time for which the loop was blocked."""
    task = asyncio.create_task(work)
    longest, before = 0.0, time.perf_counter()
    while not task.done():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
    await task
    return longest
