"""Ctrl-C at any moment leaves the queue unlocked, its thread alive and nothing half stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path
from threading import enumerate as threads

import pytest

from curio_persistence import (
    BufferedPersistence,
    InMemoryPersistence,
    Persistence,
    SQLitePersistence,
)
from tests.support.children import Fork
from tests.support.everypoint import EVENTS, Action, Point, event, interrupted_everywhere


def log_event(buffered: Persistence, run_id: str) -> None:
    buffered.log_agent_run_event(event(run_id, "one"))


def log_batch(buffered: Persistence, run_id: str) -> None:
    buffered.log_agent_run_events([event(run_id, data) for data in "abc"])


def log_and_read(buffered: Persistence, run_id: str) -> None:
    log_event(buffered, run_id)
    buffered.get_agent_run_events(run_id)


def log_in_transaction(buffered: Persistence, run_id: str) -> None:
    with buffered.transaction():
        log_batch(buffered, run_id)


ACTIONS: dict[str, tuple[Action, set[int]]] = {
    "event": (log_event, {EVENTS, EVENTS + 1}),
    "batch": (log_batch, {EVENTS, EVENTS + 3}),
    "read": (log_and_read, {EVENTS, EVENTS + 1}),
    "transaction": (log_in_transaction, {EVENTS, EVENTS + 3}),
}
"""The interrupted actions, and the numbers of events that the run may have afterwards."""


@pytest.fixture
def buffered(tmp_path: Path) -> Iterator[BufferedPersistence]:
    """A queue that is often full: an append waits for free space in every second action."""
    persistence = SQLitePersistence(tmp_path / "agents.db", lock_timeout=2)
    with closing(persistence.buffered(max_items=4, max_seconds=0.5)) as buffered:
        yield buffered


@pytest.mark.parametrize("name", ACTIONS)
def test_an_interrupt_at_any_point_locks_nothing_and_stores_nothing_in_part(
    buffered: BufferedPersistence, name: str
) -> None:
    action, allowed = ACTIONS[name]
    for point, _, run_id in interrupted_everywhere(buffered, action):
        found = len(buffered.get_agent_run_events(run_id))
        assert found in allowed, f"{found} events after {point.place}"
        assert buffered.pending == 0
    assert buffered.dropped == {}


FIRST: dict[str, Callable[[BufferedPersistence], object]] = {
    "append": lambda buffered: log_event(buffered, "run"),
    "flush": lambda buffered: (log_event(buffered, "run"), buffered.flush()),
    "close": lambda buffered: (log_event(buffered, "run"), buffered.close()),
}


@pytest.mark.parametrize("name", FIRST)
def test_an_interrupt_at_any_point_of_the_first_calls_does_not_break_later_ones(name: str) -> None:
    """The first calls start the thread, and close ends it.

    Runs in a separate process, because Python's own `start()`, interrupted, may leave a thread that
    never begins.
    """
    assert Fork(partial(interrupted_at_first, name)).result() > 20


def interrupted_at_first(name: str) -> int:
    """Interrupt calls on new queues, and return the number of points."""
    with ThreadPoolExecutor(1) as other:
        for number in count():
            point = Point(number)
            buffered = InMemoryPersistence().buffered(max_seconds=3600)
            point.interrupt(partial(FIRST[name], buffered))
            other.submit(buffered.close).result(timeout=20)
            assert (buffered.pending, buffered.dropped) == (0, {}), point.place
            if not point.reached:
                break
    assert not [each for each in threads() if each.name == "curio-write-behind" and each.is_alive()]
    return number
