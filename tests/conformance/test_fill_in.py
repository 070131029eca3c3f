"""A write fills in generated fields; a failed write leaves the object unchanged."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence, PersistenceError
from tests.support.hands import Hands
from tests.support.records import Record, write

THEN = datetime(2020, 2, 29, 12, tzinfo=UTC)
NOW = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def stopped(clock: Hands) -> None:
    clock.put(NOW)


def test_creating_fills_in_id_and_both_times(persistence: Persistence) -> None:
    run = AgentRun("agent", "run")
    persistence.create_agent_run(run)
    assert run.id is not None
    assert run.created_at == run.updated_at == NOW
    assert persistence.get_agent_run("run") == run


def test_creating_keeps_given_times(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run", created_at=THEN, updated_at=THEN))
    run = persistence.get_agent_run("run")
    assert run is not None
    assert (run.created_at, run.updated_at) == (THEN, THEN)


def test_updating_fills_in_unchanged_fields_and_the_time_of_the_update(
    persistence: Persistence, clock: Hands
) -> None:
    created = AgentRun("agent", "run", created_at=THEN)
    persistence.create_agent_run(created)
    clock.move(hours=1)
    changed = AgentRun("agent", "run", updated_at=THEN)
    persistence.update_agent_run("run", changed)
    assert (changed.id, changed.created_at, changed.updated_at) == (created.id, THEN, clock())


def test_logging_an_event_fills_in_id_and_times(persistence: Persistence) -> None:
    event = AgentRunEvent("agent", "run")
    persistence.log_agent_run_event(event)
    assert event.id is not None
    assert event.timestamp == event.created_at == NOW


def test_logging_an_event_keeps_given_times(persistence: Persistence) -> None:
    given = AgentRunEvent("agent", "run", timestamp=THEN, created_at=THEN)
    persistence.log_agent_run_event(given)
    [event] = persistence.get_agent_run_events("run")
    assert (event.timestamp, event.created_at) == (THEN, THEN)


def test_the_time_of_an_event_is_not_that_of_storing(persistence: Persistence) -> None:
    persistence.log_agent_run_event(AgentRunEvent("agent", "run", timestamp=THEN))
    [event] = persistence.get_agent_run_events("run")
    assert (event.timestamp, event.created_at) == (THEN, NOW)


def test_logging_a_model_call_fills_in_id_time_and_cost(persistence: Persistence) -> None:
    usage = AgentLLMUsage("agent", "run", usage_metrics={"cost_usd": 0.1})
    persistence.log_llm_usage(usage)
    assert usage.id is not None
    assert (usage.created_at, usage.cost_usd) == (NOW, Decimal("0.1"))


def test_a_model_call_keeps_given_cost_and_time(persistence: Persistence) -> None:
    usage = AgentLLMUsage(
        "agent", "run", usage_metrics={"cost_usd": 0.1}, cost_usd=Decimal(0), created_at=THEN
    )
    persistence.log_llm_usage(usage)
    [stored] = persistence.get_llm_usage()
    assert (stored.cost_usd, stored.created_at) == (Decimal(0), THEN)


def test_a_callers_id_is_ignored(persistence: Persistence) -> None:
    first, second = AgentRunEvent("agent", "run", id=7), AgentRunEvent("agent", "run", id=7)
    persistence.log_agent_run_event(first)
    persistence.log_agent_run_event(second)
    assert first.id != second.id


@pytest.mark.parametrize(
    "record",
    [
        AgentRun("agent", "taken"),
        AgentRun("agent", "run", status=""),
        AgentRunEvent("agent", "run", data={"itself": float}, event_type="\0"),
        AgentLLMUsage("agent", "run", usage_metrics={"cost_usd": 1}, input_tokens=2**63),
    ],
    ids=["duplicate", "run", "event", "usage"],
)
def test_a_failed_write_fills_nothing_in(persistence: Persistence, record: Record) -> None:
    persistence.create_agent_run(AgentRun("agent", "taken"))
    given = deepcopy(record)
    with pytest.raises(PersistenceError):
        write(persistence, given)
    assert given == record


def test_a_failed_update_fills_nothing_in(persistence: Persistence) -> None:
    run = AgentRun("agent", "unknown")
    with pytest.raises(PersistenceError):
        persistence.update_agent_run("unknown", run)
    assert run == AgentRun("agent", "unknown")


def test_a_record_that_cannot_be_filled_in_is_stored(
    persistence: Persistence,
) -> None:
    """Curio's own usage class has no cost, and an event may be frozen."""

    @dataclass(frozen=True)
    class Frozen:
        agent_id: str = "agent"
        run_id: str = "run"
        agent_name: str = ""
        timestamp: None = None
        event_type: str = "thought"
        data: None = None
        created_at: None = None

    persistence.log_agent_run_event(Frozen())  # type: ignore[arg-type]
    assert [event.event_type for event in persistence.get_agent_run_events("run")] == ["thought"]
