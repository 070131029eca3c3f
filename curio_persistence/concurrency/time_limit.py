"""Limit the time that one call may wait, whatever the timeouts of its database are.

All that waits asks `within_limit` how long it may: locks, pools, new connections, statements.
Readings have a limit of their own, in which they must be done.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from queue import Empty, SimpleQueue
from typing import NoReturn, TypeVar, TypeVarTuple, Unpack

from curio_persistence.concurrency.timeouts import checked_seconds
from curio_persistence.errors import QueryTimeoutError, UnavailableError

Ts = TypeVarTuple("Ts")
R = TypeVar("R")


class _Thread(threading.local):
    ends = math.inf
    """When the waits of this thread end, by the monotonic clock."""


_thread = _Thread()
_readings_end: ContextVar[float] = ContextVar("curio_persistence_readings_end", default=math.inf)
"""When the readings of this thread or task have to be done, by the monotonic clock."""


def call_within(seconds: float, call: Callable[[Unpack[Ts]], R], *args: *Ts) -> R:
    """Call a function, of which no wait lasts longer than until `seconds` from now."""
    before = _thread.ends
    try:
        _thread.ends = min(time.monotonic() + seconds, before)
        return call(*args)
    finally:
        _thread.ends = before


def within_limit(timeout: float) -> float:
    """Return a timeout, or the seconds left of this thread's limit if those are fewer."""
    if _thread.ends == math.inf:
        return timeout
    left = _thread.ends - time.monotonic()
    return timeout if timeout < left else max(left, 0.0)


def not_counted(call: Callable[[], R]) -> R:
    """Call a function that waits for no database: this thread's limit ends so much later."""
    begin = time.monotonic()
    try:
        return call()
    finally:
        _thread.ends += time.monotonic() - begin


def in_time(call: Callable[[], R], what: str) -> R:
    """Call a function that heeds no limit; where this thread has one, in another thread.

    If the limit ends first, UnavailableError says that `what` is not done, and the other thread
    goes on for those that come later.
    """
    seconds = within_limit(math.inf)
    if seconds == math.inf:
        return call()
    outcome: SimpleQueue[Callable[[], R]] = SimpleQueue()
    threading.Thread(target=_call, args=(call, outcome), name="curio-in-time", daemon=True).start()
    try:
        result = outcome.get(timeout=seconds)
    except Empty:
        raise UnavailableError(f"{what} took longer than this call may wait.") from None
    return result()


def _call(call: Callable[[], R], outcome: SimpleQueue[Callable[[], R]]) -> None:
    """Put a function into `outcome` that returns the call's result, or raises its error."""
    try:
        result = call()
    except BaseException as error:
        outcome.put(partial(_raise, error))
    else:
        outcome.put(lambda: result)


def _raise(error: BaseException) -> NoReturn:
    raise error


def limit_ends() -> float:
    """Return when this thread's limit ends by the monotonic clock; infinite without a limit."""
    return _thread.ends


@contextmanager
def reading_within(seconds: float) -> Iterator[None]:
    """Have all readings in the block done within so many seconds from its begin."""
    ends = time.monotonic() + checked_seconds("seconds", seconds)
    token = _readings_end.set(min(ends, _readings_end.get()))
    try:
        yield
    finally:
        _readings_end.reset(token)


def readings_end() -> float:
    """Return when readings have to be done by the monotonic clock; infinite without a limit."""
    return _readings_end.get()


def check_reading_time() -> None:
    """Raise QueryTimeoutError if the time for readings is over."""
    if time.monotonic() >= _readings_end.get():
        raise _too_late()


def in_reading_time(call: Callable[[Unpack[Ts]], R], *args: *Ts) -> R:
    """Call a function that reads and heeds `limit_ends`, with what is left of the readings' time.

    Raise QueryTimeoutError if that is over before the function is done.
    """
    ends = _readings_end.get()
    if ends == math.inf:
        return call(*args)
    check_reading_time()
    try:
        return call_within(ends - time.monotonic(), call, *args)
    except UnavailableError as error:
        if time.monotonic() < ends:
            raise
        raise _too_late() from error


def _too_late() -> QueryTimeoutError:
    return QueryTimeoutError(
        "What was asked for could not be read in time. Ask for less, such as a shorter window of "
        "time, or set a longer deadline."
    )
