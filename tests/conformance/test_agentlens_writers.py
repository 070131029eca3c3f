"""Several writers append to AgentLens' chains at once, in threads and processes: none forks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from functools import partial
from threading import Lock
from typing import Any

import pytest

from curio_persistence import Persistence
from curio_persistence.compat.agentlens import (
    ChainVerificationResult,
    EventStore,
    HashChainError,
    create_event,
)
from tests.conformance.conftest import Open
from tests.support.children import Fork
from tests.support.lens import append, event
from tests.support.threads import all_at_once

VALID = ChainVerificationResult(valid=True)


def append_many(store: EventStore, events: int, session_id: str = "s") -> int:
    """Append events one by one, each again until no other writer comes first; count attempts."""
    attempts = 0
    for _ in range(events):
        while True:
            attempts += 1
            made = create_event(
                session_id=session_id,
                agent_id="a",
                event_type="tool_call",
                payload={},
                prev_hash=store.get_last_event_hash(session_id),
            )
            try:
                store.insert_events([made])
                break
            except HashChainError:
                continue
    return attempts


def assert_whole(store: EventStore, events: int, session_id: str = "s") -> None:
    session = store.get_session(session_id)
    assert session is not None
    assert session.event_count == session.tool_call_count == events
    assert len(store.get_session_timeline(session_id)) == events
    assert store.verify_session(session_id) == VALID


def test_one_of_two_writers_with_the_same_hash_succeeds(persistence: Persistence) -> None:
    store = EventStore(persistence)
    [first] = append(store, event("tool_call"))
    outcomes: list[Any] = []
    lock = Lock()

    def insert(made: Any) -> None:
        try:
            store.insert_events([made])
            outcome = None
        except HashChainError as error:
            outcome = error
        with lock:
            outcomes.append(outcome)

    rivals = [event("tool_call", prev=first.hash) for _ in range(4)]
    all_at_once(*[partial(insert, rival) for rival in rivals])
    assert outcomes.count(None) == 1
    assert_whole(store, 2)


def test_threads_append_to_one_session(persistence: Persistence) -> None:
    store = EventStore(persistence)
    all_at_once(*[partial(append_many, store, 8)] * 4)
    assert_whole(store, 32)


def test_ingesting_threads_need_no_hash(persistence: Persistence) -> None:
    store = EventStore(persistence)
    given = {"sessionId": "s", "agentId": "a", "eventType": "tool_call"}
    all_at_once(*[lambda: [store.ingest_events([given, given]) for _ in range(5)]] * 4)
    assert_whole(store, 40)


def test_the_same_events_from_several_threads_are_stored_once(persistence: Persistence) -> None:
    store, source = EventStore(persistence), []
    prev = None
    for _ in range(20):
        source.append(event("tool_call", prev=prev))
        prev = source[-1].hash
    all_at_once(*[partial(store.insert_events, source)] * 4)
    assert_whole(store, 20)


def test_agents_and_sessions_that_threads_describe_keep_all_fields(
    persistence: Persistence,
) -> None:
    store = EventStore(persistence)
    fields = {"eventCount": 5, "toolCallCount": 4, "errorCount": 3, "totalInputTokens": 2}
    all_at_once(*[partial(store.upsert_session, {"id": "s", n: v}) for n, v in fields.items()])
    session = store.get_session("s")
    assert session is not None
    assert fields.items() <= session.to_dict().items()
    described = ({"name": "Ada"}, {"description": "counts"}, {"lastSeenAt": "2027-01-01T00:00:00Z"})
    all_at_once(*[partial(store.upsert_agent, {"id": "a", **each}) for each in described])
    agent = store.get_agent("a")
    assert agent is not None
    assert (agent.name, agent.description) == ("Ada", "counts")
    assert agent.last_seen_at == "2027-01-01T00:00:00Z"


def _processes(open_again: Open, processes: int, events: int) -> None:
    start = multiprocessing.get_context("fork").Barrier(processes)

    def work() -> int:
        with EventStore(open_again()) as store:
            start.wait(20)
            return append_many(store, events)

    forks = [Fork(work) for _ in range(processes)]
    assert all(fork.result() >= events for fork in forks)
    with EventStore(open_again()) as store:
        assert_whole(store, processes * events)


@pytest.mark.slow
def test_processes_append_to_one_session(open_again: Open, lasting: None) -> None:
    _processes(open_again, 3, 10)


@pytest.mark.slow
@pytest.mark.thorough
def test_many_processes_append_to_one_session(open_again: Open, lasting: None) -> None:
    _processes(open_again, 8, 20)


@pytest.mark.slow
def test_a_chain_survives_a_writer_that_is_killed(open_again: Open, lasting: None) -> None:
    def work() -> None:
        with EventStore(open_again()) as store:
            append_many(store, 10_000)

    writer = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    writer.start()
    with EventStore(open_again()) as store:
        until = time.monotonic() + 30
        while store.count_events() < 10 and time.monotonic() < until:
            time.sleep(0.01)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        stored = store.count_events()
        assert stored >= 10
        append_many(store, 1)
        assert_whole(store, stored + 1)
