"""Limit the time that one call may wait, whatever the timeouts of its database are.

All that waits asks `within_limit` how long it may: locks, pools, new connections, statements.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class _Thread(threading.local):
    ends = math.inf
    """When the waits of this thread end, by the monotonic clock."""


_thread = _Thread()


def call_within(seconds: float, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function, of which no wait lasts longer than until `seconds` from now."""
    before = _thread.ends
    try:
        _thread.ends = min(time.monotonic() + seconds, before)
        return call(*args, **kwargs)
    finally:
        _thread.ends = before


def within_limit(timeout: float) -> float:
    """Return a timeout, or the seconds left of this thread's limit if those are fewer."""
    ends = _thread.ends
    return timeout if ends == math.inf else max(min(timeout, ends - time.monotonic()), 0.0)


def limit_ends() -> float:
    """Return when this thread's limit ends by the monotonic clock; infinite without a limit."""
    return _thread.ends
