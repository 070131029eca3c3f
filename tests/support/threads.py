"""Threads that start together, and one that holds a transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, Event

from curio_persistence import AgentRun, Persistence


def all_at_once(*calls: Callable[[], object]) -> None:
    """Run every call in its own thread, all at the same time; raise the exception of any."""
    ready = Barrier(len(calls))

    def begin(call: Callable[[], object]) -> None:
        ready.wait()
        call()

    with ThreadPoolExecutor(len(calls)) as threads:
        list(threads.map(begin, calls))


@contextmanager
def transaction_elsewhere(persistence: Persistence) -> Iterator[None]:
    """Hold a transaction open in another thread, which has created the run `held` in it."""
    is_open, may_end = Event(), Event()

    def hold() -> None:
        with persistence.transaction():
            persistence.create_agent_run(AgentRun("agent", "held"))
            is_open.set()
            may_end.wait()

    with ThreadPoolExecutor(1) as threads:
        holding = threads.submit(hold)
        is_open.wait()
        try:
            yield
        finally:
            may_end.set()
            holding.result()
