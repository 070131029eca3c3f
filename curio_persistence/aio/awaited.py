"""Make a class with awaited methods from a class whose methods block."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import getdoc, signature
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from curio_persistence.aio.streams import AsyncStream
from curio_persistence.aio.threads import Threads
from curio_persistence.results.pages import Stream

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
M = TypeVar("M", bound=Any)


class Awaited(Generic[S]):
    """Stands for an object whose methods block, and calls them in other threads."""

    def __init__(self, sync: S, threads: Threads) -> None:
        self._sync = sync
        self._threads = threads

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._sync!r})"


def awaited(
    method: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """This method, awaited: of the same name, with the same parameters."""

    @wraps(method)
    async def call(self: Awaited[Any], /, *args: P.args, **kwargs: P.kwargs) -> T:
        # By its name, for it may be another's: of a subclass.
        own: Callable[P, T] = getattr(self._sync, method.__name__)
        return await self._threads.call(own, *args, **kwargs)

    call.__doc__ = getdoc(method)
    return call


def streamed(
    method: Callable[Concatenate[Any, P], Stream[M]],
) -> Callable[Concatenate[Any, P], AsyncStream[M]]:
    """This method, whose stream is gone through by `async for`; itself it is not awaited."""

    @wraps(method)
    def call(self: Awaited[Any], /, *args: P.args, **kwargs: P.kwargs) -> AsyncStream[M]:
        own: Callable[P, Stream[M]] = getattr(self._sync, method.__name__)
        return AsyncStream(own(*args, **kwargs), self._threads)

    call.__doc__ = getdoc(method)
    shown = signature(method)
    returns = f"Async{shown.return_annotation}"
    call.__signature__ = shown.replace(return_annotation=returns)  # type: ignore[attr-defined]
    return call
