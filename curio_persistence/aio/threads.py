"""Where the work is done: a few threads, and one for each transaction; the loop never waits."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, ParamSpec, TypeVar

from curio_persistence.errors import ConfigurationError

P = ParamSpec("P")
T = TypeVar("T")


class _Lane:
    """The one thread in which a transaction is held, for as long as it lasts."""

    def __init__(self, threads: Threads) -> None:
        self.threads = threads
        self.executor = ThreadPoolExecutor(1, "curio-transaction")
        self.is_over = False


_lanes: ContextVar[tuple[_Lane, ...]] = ContextVar("curio_persistence_lanes", default=())
"""Those of the transactions that this task, or one that began it, is inside of."""


class Threads:
    """A few threads, and one more for each transaction that goes on.

    What a call finds in context variables is what its caller has there. A call that is cancelled
    before a thread took it up is never made; one that is under way goes on to its end.
    """

    def __init__(self, most: int) -> None:
        if type(most) is not int or most < 1:
            raise ConfigurationError(f"threads is a whole number from 1 on, not {most!r}.")
        self.most = most
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns, or raises, in a thread."""
        return await asyncio.wrap_future(self.start(function, *args, **kwargs))

    async def call_to_the_end(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same, but made even if it is cancelled before a thread took it up."""
        return await _to_the_end(self.start(function, *args, **kwargs))

    def start(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have it done, without anybody waiting for it."""
        lane = self._lane()
        return _submit(lane.executor if lane else self._few(), partial(function, *args, **kwargs))

    async def last_call(self, function: Callable[[], T]) -> T:
        """The same, but not behind others, who may wait for long. Then the threads are let go."""
        try:
            with self._lane_or_new() as lane:
                return await _to_the_end(_submit(lane.executor, function))
        finally:
            if self._pool is not None:
                self._pool.shutdown(wait=False)
                self._pool = None

    @asynccontextmanager
    async def inside(self, manager: AbstractContextManager[Any]) -> AsyncIterator[None]:
        """Enter and leave it in one thread, in which all is done that is called in between.

        That is also what tasks call that were begun in the block. Whoever is cancelled does not
        wait until it is left.
        """
        with self._lane_or_new() as lane:
            held = ExitStack()
            try:
                await asyncio.wrap_future(
                    _submit(lane.executor, partial(held.enter_context, manager))
                )
                yield
            except BaseException as error:
                left = _submit(
                    lane.executor, partial(held.__exit__, type(error), error, error.__traceback__)
                )
                if not isinstance(error, asyncio.CancelledError):
                    await _to_the_end(left)
                raise
            await _to_the_end(_submit(lane.executor, held.close))

    def _lane(self) -> _Lane | None:
        lanes = _lanes.get()
        mine = (lane for lane in lanes if lane.threads is self and not lane.is_over)
        return next(mine, None)

    @contextmanager
    def _lane_or_new(self) -> Iterator[_Lane]:
        if lane := self._lane():
            yield lane
            return
        lane = _Lane(self)
        _lanes.set((*_lanes.get(), lane))
        try:
            yield lane
        finally:
            lane.is_over = True  # For tasks that were begun in the block and go on after it.
            _lanes.set(tuple(each for each in _lanes.get() if each is not lane))
            lane.executor.shutdown(wait=False)

    def _few(self) -> ThreadPoolExecutor:
        if self._pool is None or self._process != os.getpid():  # Threads do not survive a fork.
            self._pool = ThreadPoolExecutor(self.most, "curio-awaited")
            self._process = os.getpid()
        return self._pool


def _submit(executor: ThreadPoolExecutor, function: Callable[[], T]) -> Future[T]:
    return executor.submit(copy_context().run, function)


async def _to_the_end(future: Future[T]) -> T:
    return await asyncio.shield(asyncio.wrap_future(future))
