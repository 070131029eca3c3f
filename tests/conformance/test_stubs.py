"""An event of an unknown run creates a stub run, which `create_agent_run` fills in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, ConflictError, Persistence
from tests.support.hands import Hands
from tests.support.records import everything
from tests.support.threads import all_at_once

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def stopped(clock: Hands) -> None:
    clock.put(NOON + MINUTE)


def stored(persistence: Persistence) -> AgentRun:
    run = persistence.get_agent_run("run")
    assert run is not None
    return run


def test_a_stub_has_the_fields_of_its_first_event(persistence: Persistence) -> None:
    event = AgentRunEvent("agent", "run", "Agent", NOON, "custom")
    persistence.log_agent_run_event(event)
    run = stored(persistence)
    assert run == AgentRun(
        "agent",
        "run",
        "Agent",
        started_at=NOON,
        status="running",
        id=run.id,
        created_at=NOON + MINUTE,
        updated_at=NOON + MINUTE,
    )
    assert persistence.get_agent_run_stats()["runs_by_status"] == {"running": 1}


def test_a_stub_starts_with_its_first_event_even_without_a_time(
    persistence: Persistence,
) -> None:
    persistence.log_agent_run_event(AgentRunEvent("agent", "run"))
    assert stored(persistence).started_at == NOON + MINUTE


def test_later_events_do_not_change_the_stub(persistence: Persistence) -> None:
    persistence.log_agent_run_event(AgentRunEvent("agent", "run", timestamp=NOON))
    stub = stored(persistence)
    persistence.log_agent_run_event(AgentRunEvent("other", "run", timestamp=NOON - MINUTE))
    assert stored(persistence) == stub


def test_usage_creates_no_stub(persistence: Persistence) -> None:
    persistence.log_llm_usage(AgentLLMUsage("agent", "run"))
    assert persistence.get_agent_run("run") is None


def test_creating_a_stubs_run_fills_it_in_and_keeps_its_events(
    persistence: Persistence, clock: Hands
) -> None:
    persistence.log_agent_run_event(AgentRunEvent("agent", "run", timestamp=NOON))
    stub = stored(persistence)
    clock.move(minutes=1)
    run = AgentRun("known", "run", objective="find out", session_id="session")
    persistence.create_agent_run(run)
    after = stored(persistence)
    assert (after.agent_id, after.objective, after.status) == ("known", "find out", "pending")
    assert after.session_id == "session"
    assert (after.id, after.created_at, after.started_at) == (stub.id, stub.created_at, NOON)
    assert after.updated_at == NOON + 2 * MINUTE
    assert (run.id, run.created_at, run.updated_at) == (after.id, after.created_at, clock())
    assert len(persistence.get_agent_run_events("run")) == 1


def test_the_creators_times_take_precedence_over_the_stubs(
    persistence: Persistence,
) -> None:
    persistence.log_agent_run_event(AgentRunEvent("agent", "run", timestamp=NOON))
    began = NOON - timedelta(days=1)
    persistence.create_agent_run(AgentRun("agent", "run", started_at=began, created_at=began))
    assert (stored(persistence).started_at, stored(persistence).created_at) == (began, began)


@pytest.mark.parametrize("fill", ["create", "update"])
def test_a_created_run_is_no_longer_a_stub(persistence: Persistence, fill: str) -> None:
    persistence.log_agent_run_event(AgentRunEvent("agent", "run"))
    if fill == "create":
        persistence.create_agent_run(AgentRun("agent", "run"))
    else:
        persistence.update_agent_run("run", AgentRun("agent", "run", status="completed"))
    with pytest.raises(ConflictError):
        persistence.create_agent_run(AgentRun("agent", "run"))


def test_an_update_of_a_stub_keeps_its_id_and_when_it_was_created(persistence: Persistence) -> None:
    persistence.log_agent_run_event(AgentRunEvent("agent", "run"))
    stub = stored(persistence)
    run = AgentRun("agent", "run", status="completed", started_at=NOON)
    persistence.update_agent_run("run", run)
    assert stored(persistence) == run
    assert (run.id, run.created_at) == (stub.id, stub.created_at)


def test_a_refused_event_creates_no_stub(persistence: Persistence) -> None:
    with pytest.raises(ValueError, match="event_type"):
        persistence.log_agent_run_event(AgentRunEvent("agent", "run", event_type="\0"))
    assert everything(persistence) == []


def test_a_stub_can_be_deleted(persistence: Persistence) -> None:
    persistence.log_agent_run_event(AgentRunEvent("agent", "run"))
    assert persistence.delete_agent_run("run") is True
    assert everything(persistence) == []


def test_many_first_events_at_once_create_one_stub(persistence: Persistence) -> None:
    for name in "abcde":
        events = [AgentRunEvent("agent", name) for _ in range(6)]
        all_at_once(*(partial(persistence.log_agent_run_event, event) for event in events))
        assert len(persistence.get_agent_run_events(name)) == 6
    assert len(persistence.get_agent_runs()) == 5


def test_a_run_created_while_its_first_events_come_is_filled_in(persistence: Persistence) -> None:
    for name in "abcde":
        run = AgentRun("agent", name, objective="find out")
        all_at_once(
            partial(persistence.log_agent_run_event, AgentRunEvent("agent", name)),
            partial(persistence.create_agent_run, run),
        )
        after = persistence.get_agent_run(name)
        assert after is not None
        assert (after.objective, after.id) == ("find out", run.id)
        assert len(persistence.get_agent_run_events(name)) == 1


def test_a_concurrent_deletion_leaves_no_event_without_its_run(
    persistence: Persistence,
) -> None:
    def append() -> None:
        for _ in range(5):
            persistence.log_agent_run_events(AgentRunEvent("agent", name) for name in ("a", "b"))
            persistence.log_agent_run_event(AgentRunEvent("agent", "a"))

    def delete() -> None:
        for _ in range(10):
            persistence.delete_agent_run("a")

    all_at_once(append, delete, append)
    persistence.log_agent_run_event(AgentRunEvent("agent", "a"))
    runs = {run.run_id for run in persistence.get_agent_runs()}
    assert {event.run_id for event in persistence.iter_agent_run_events()} == runs == {"a", "b"}


def test_concurrent_batches_that_create_the_same_stubs_are_all_stored(
    persistence: Persistence,
) -> None:
    names = [f"run {number}" for number in range(30)]
    batches = [[AgentRunEvent("agent", name) for name in some] for some in (names, names[::-1])]
    all_at_once(*(partial(persistence.log_agent_run_events, batch) for batch in batches * 2))
    assert persistence.count_events() == 120
    assert len(persistence.get_agent_runs(limit=None)) == 30


def test_one_of_many_creators_of_a_stub_succeeds(persistence: Persistence) -> None:
    persistence.log_agent_run_event(AgentRunEvent("agent", "run"))
    conflicts = []

    def create() -> None:
        try:
            persistence.create_agent_run(AgentRun("agent", "run"))
        except ConflictError as error:
            conflicts.append(error)

    all_at_once(*[create] * 4)
    assert len(conflicts) == 3
