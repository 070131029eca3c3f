"""The threads that do the work: a few, and one for each transaction; the loop never waits."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from curio_persistence.errors import ConfigurationError, UnsupportedError

P = ParamSpec("P")
T = TypeVar("T")


class _Level:
    """A transaction, or one in another: its thread, and whose turn it is in it.

    What several tasks do in it is done one after the other, a transaction in it as a whole:
    otherwise it would swallow what the others write.
    """

    def __init__(self, threads: Threads, executor: ThreadPoolExecutor) -> None:
        self.threads = threads
        self.executor = executor
        self.turn = asyncio.Lock()
        self.is_over = False


_levels: ContextVar[tuple[_Level, ...]] = ContextVar("curio_persistence_levels", default=())
"""The transactions around this task, or around the one that began it; the innermost is last."""


class Threads:
    """A few threads, and as many more for transactions, one for each.

    What a call finds in context variables is what its caller has there. A call that is cancelled
    before a thread took it up is never made; one that is under way goes on to its end.
    """

    def __init__(self, most: int) -> None:
        if type(most) is not int or most < 1:
            raise ConfigurationError(f"threads is a whole number from 1 on, not {most!r}.")
        self.most = most
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0
        self._places: WeakKeyDictionary[Any, asyncio.Semaphore] = WeakKeyDictionary()

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in a thread, and return or raise what it does."""
        async with self._turn():
            return await asyncio.wrap_future(self.begin(function, *args, **kwargs))

    async def call_to_the_end(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same, but made even if it is cancelled before a thread took it up."""
        async with self._turn():
            return await _to_the_end(self.begin(function, *args, **kwargs))

    async def call_apart(self, function: Callable[[], T]) -> T:
        """The same, for what takes long: in a thread of its own, as a transaction has."""
        if self._level():
            return await self.call(function)
        async with self._permit():
            executor = ThreadPoolExecutor(1, "curio-apart")
            try:
                return await asyncio.wrap_future(_submit(executor, function))
            finally:
                executor.shutdown(wait=False)

    def begin(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Submit the call; raise UnsupportedError where no asyncio loop could await it."""
        running_loop()
        return self.start(function, *args, **kwargs)

    def start(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Submit the call, whether or not its result is awaited."""
        level = self._level()
        executor = level.executor if level else self._few()
        return _submit(executor, partial(function, *args, **kwargs))

    async def last_call(self, function: Callable[[], T]) -> T:
        """Do the same ahead of waiting calls, and then end the threads."""
        running_loop()
        try:
            with self._next_level() as level:
                return await _to_the_end(_submit(level.executor, function))
        finally:
            if self._pool is not None:
                self._pool.shutdown(wait=False)
                self._pool = None

    @asynccontextmanager
    async def inside(self, manager: AbstractContextManager[Any]) -> AsyncIterator[None]:
        """Enter and leave it in one thread, in which all is done that is called in between.

        Calls of tasks that were begun in the block run there too. A cancelled task does not wait
        until the block is left.
        """
        async with self._turn() if self._level() else self._permit():
            with self._next_level() as level:
                held = ExitStack()
                try:
                    entering = _submit(level.executor, partial(held.enter_context, manager))
                    await asyncio.wrap_future(entering)
                    yield
                except BaseException as error:
                    leave = partial(held.__exit__, type(error), error, error.__traceback__)
                    leaving = _submit(level.executor, leave)
                    if not isinstance(error, asyncio.CancelledError):
                        await _to_the_end(leaving)
                    raise
                await _to_the_end(_submit(level.executor, held.close))

    def _level(self) -> _Level | None:
        levels = reversed(_levels.get())
        mine = (level for level in levels if level.threads is self and not level.is_over)
        return next(mine, None)

    def _turn(self) -> AbstractAsyncContextManager[None]:
        level = self._level()
        return level.turn if level else nullcontext()

    def _permit(self) -> asyncio.Semaphore:
        """The places for transactions. To make hundreds of threads would keep the loop waiting."""
        return self._places.setdefault(running_loop(), asyncio.Semaphore(self.most))

    @contextmanager
    def _next_level(self) -> Iterator[_Level]:
        outer = self._level()
        executor = outer.executor if outer else ThreadPoolExecutor(1, "curio-transaction")
        level = _Level(self, executor)
        _levels.set((*_levels.get(), level))
        try:
            yield level
        finally:
            level.is_over = True  # For tasks that were begun in the block and go on after it.
            _levels.set(tuple(each for each in _levels.get() if each is not level))
            if outer is None:
                executor.shutdown(wait=False)

    def _few(self) -> ThreadPoolExecutor:
        if self._pool is None or self._process != os.getpid():  # Threads do not survive a fork.
            self._pool = ThreadPoolExecutor(self.most, "curio-awaited")
            self._process = os.getpid()
        return self._pool


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running asyncio loop; raise UnsupportedError in a loop of another kind."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError as error:
        raise UnsupportedError(
            "This can be awaited in an event loop of asyncio, by asyncio.run(…), and nowhere else. "
            "In another, as trio's, call the blocking persistence in a thread."
        ) from error


def _submit(executor: ThreadPoolExecutor, function: Callable[[], T]) -> Future[T]:
    return executor.submit(copy_context().run, function)


async def _to_the_end(future: Future[T]) -> T:
    return await asyncio.shield(asyncio.wrap_future(future))
