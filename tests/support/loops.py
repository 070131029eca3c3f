"""Event loops that are watched: whether they turn while something waits, or stand still."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_TURNS = 20
_TRIES = 10


async def turns_while(work: Awaitable[T], let_go: Callable[[], object]) -> T:
    """What comes of work that waits for something, which is let go once the loop has turned."""
    task = asyncio.ensure_future(work)
    for _ in range(_TURNS):
        await asyncio.sleep(0.001)
    let_go()
    return await task


def stands_still(work: Callable[[], Coroutine[Any, Any, object]], seconds: float) -> bool:
    """Whether the loop always stands still for longer at some moment of this work.

    It is tried several times: others want the processors too.
    """
    return all(asyncio.run(_watched(work())) > seconds for _ in range(_TRIES))


async def _watched(work: Coroutine[Any, Any, object]) -> float:
    """For how long it stood at most."""
    task = asyncio.create_task(work)
    longest, before = 0.0, time.perf_counter()
    while not task.done():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
    await task
    return longest
