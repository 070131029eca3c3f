"""Ctrl-C at any moment leaves no lock held, no connection lost and nothing half stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from curio_persistence import (
    InMemoryPersistence,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
)
from tests.support.backends import chosen
from tests.support.everypoint import EVENTS, Action, event, interrupted_everywhere


def log_event(persistence: Persistence, run_id: str) -> None:
    persistence.log_agent_run_event(event(run_id, "one"))


def log_batch(persistence: Persistence, run_id: str) -> None:
    persistence.log_agent_run_events([event(run_id, data) for data in "abc"])


def log_in_transaction(persistence: Persistence, run_id: str) -> None:
    with persistence.transaction():
        persistence.log_agent_run_event(event(run_id, "a"))
        with persistence.transaction():
            persistence.log_agent_run_event(event(run_id, "b"))
        persistence.log_agent_run_event(event(run_id, "c"))


def record(persistence: Persistence, run_id: str) -> None:
    with persistence.record_run(agent_id="agent", run_id=f"recorded {run_id}") as run:
        run.log("custom", {"number": 1})


def read(persistence: Persistence, run_id: str) -> None:
    persistence.get_agent_run(run_id)
    persistence.get_agent_run_events(run_id)


def stream(persistence: Persistence, run_id: str) -> None:
    for _ in persistence.iter_agent_run_events(run_id=run_id):
        pass


def delete(persistence: Persistence, run_id: str) -> None:
    persistence.delete_agent_run(run_id)


ACTIONS: dict[str, tuple[Action, set[int]]] = {
    "event": (log_event, {EVENTS, EVENTS + 1}),
    "batch": (log_batch, {EVENTS, EVENTS + 3}),
    "transaction": (log_in_transaction, {EVENTS, EVENTS + 3}),
    "run": (record, {EVENTS}),
    "read": (read, {EVENTS}),
    "stream": (stream, {EVENTS}),
    "delete": (delete, {0, EVENTS}),
}
"""The interrupted actions, and the numbers of events that the run may have afterwards."""

Open = Callable[[Path], Persistence]

BACKENDS: dict[str, Open] = {
    "memory": lambda folder: InMemoryPersistence(),
    "sqlite": lambda folder: SQLitePersistence(folder / "agents.db", lock_timeout=2),
    "sqlite_memory": lambda folder: SQLitePersistence(":memory:", lock_timeout=2),
}


@pytest.fixture(params=[*BACKENDS, *chosen("postgres18")])
def persistence(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Persistence]:
    if request.param in BACKENDS:
        opened = BACKENDS[request.param](tmp_path)
    else:
        dsn, schema = map(request.getfixturevalue, ("postgres18", "schema_name"))
        opened = PostgresPersistence(dsn=dsn, schema=schema, max_connections=1, pool_timeout=3)
    with closing(opened) as persistence:
        yield persistence


@pytest.mark.parametrize("name", ACTIONS)
def test_an_interrupt_at_any_point_locks_nothing_and_stores_nothing_in_part(
    persistence: Persistence, name: str
) -> None:
    action, allowed = ACTIONS[name]
    for point, _, run_id in interrupted_everywhere(persistence, action):
        found = len(persistence.get_agent_run_events(run_id))
        assert found in allowed, f"{found} events after {point.place}"
        assert (persistence.get_agent_run(run_id) is None) == (found == 0), point.place
