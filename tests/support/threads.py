"""Threads that begin together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier


def all_at_once(*calls: Callable[[], object]) -> None:
    """Every call in a thread of its own, none before all are ready; what one raises is raised."""
    ready = Barrier(len(calls))

    def begin(call: Callable[[], object]) -> None:
        ready.wait()
        call()

    with ThreadPoolExecutor(len(calls)) as threads:
        list(threads.map(begin, calls))
