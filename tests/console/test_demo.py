"""The demonstration's records: believable, the same again, and about as many as were asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from curio_persistence import InMemoryPersistence, Persistence
from curio_persistence.clock import Clock
from curio_persistence.console.demo import record_demo

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def recorded(**options: int) -> Persistence:
    persistence = InMemoryPersistence(clock=Clock(lambda: NOON))
    record_demo(persistence, until=NOON, **{"events": 3_000, "days": 14} | options)
    return persistence


@pytest.fixture(scope="module")
def demo() -> Persistence:
    return recorded()


def test_all_statuses_and_scripts_are_there(demo: Persistence) -> None:
    statuses = demo.get_agent_run_stats()["runs_by_status"]
    assert {"completed", "error", "running"} <= statuses.keys()
    written = "".join(run.objective for run in demo.iter_agent_runs())
    assert any("\u0400" < letter < "\u04ff" for letter in written)


def test_agents_delegate_and_tools_fail_and_some_costs_are_unknown(demo: Persistence) -> None:
    assert any(run.parent_run_id for run in demo.iter_agent_runs())
    assert any(tool["error_count"] for tool in demo.get_agent_run_stats()["tool_metrics"].values())
    assert any(call.cost_usd is None for call in demo.iter_llm_usage())


def test_nothing_happens_after_its_end_or_before_its_beginning(demo: Persistence) -> None:
    times = [event.timestamp for event in demo.iter_agent_run_events()]
    assert NOON - timedelta(days=14) <= min(times) < max(times) < NOON + timedelta(minutes=1)


def test_the_same_arguments_give_the_same_records(demo: Persistence) -> None:
    first, second = demo.iter_agent_runs(), recorded().iter_agent_runs()
    assert [run.run_id for run in first] == [run.run_id for run in second]


def test_about_as_many_events_are_recorded_as_asked_for() -> None:
    assert 6_000 < recorded(events=9_000).count_events() < 13_000
