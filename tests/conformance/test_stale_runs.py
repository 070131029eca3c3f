"""Stale runs, `running` although their agent is gone, are found and closed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    InvalidValueError,
    Persistence,
)
from tests.support.hands import Hands

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture(autouse=True)
def stopped(clock: Hands) -> None:
    clock.put(NOON)


def start(persistence: Persistence, name: str, *, status: str = "running") -> AgentRun:
    run = AgentRun("agent", name, status=status)
    persistence.create_agent_run(run)
    return run


def left(persistence: Persistence, older_than: timedelta = HOUR) -> list[str]:
    return [run.run_id for run in persistence.runs.stale(older_than=older_than)]


def test_a_silent_running_run_is_stale(persistence: Persistence, clock: Hands) -> None:
    start(persistence, "first")
    clock.move(minutes=1)
    start(persistence, "second")
    clock.move(minutes=60)
    assert left(persistence) == ["first"]
    clock.move(microseconds=1)
    assert left(persistence) == ["second", "first"]


def test_the_default_age_is_an_hour(persistence: Persistence, clock: Hands) -> None:
    start(persistence, "run")
    clock.put(NOON + HOUR)
    assert persistence.runs.stale() == []
    clock.move(microseconds=1)
    assert [run.run_id for run in persistence.runs.stale()] == ["run"]


@pytest.mark.parametrize("status", ["pending", "completed", "error", "cancelled", "RUNNING"])
def test_only_running_runs_are_stale(persistence: Persistence, clock: Hands, status: str) -> None:
    start(persistence, "run", status=status)
    clock.move(days=1)
    assert left(persistence) == []
    assert persistence.runs.abandon(older_than=HOUR) == []


def test_an_event_is_a_sign_of_life(persistence: Persistence, clock: Hands) -> None:
    start(persistence, "run")
    clock.move(hours=2)
    persistence.log_agent_run_event(AgentRunEvent("agent", "run"))
    clock.move(minutes=59)
    assert left(persistence) == []
    assert left(persistence, 58 * MINUTE) == ["run"]


def test_an_update_is_a_sign_of_life(persistence: Persistence, clock: Hands) -> None:
    run = start(persistence, "run")
    clock.move(hours=2)
    persistence.update_agent_run("run", run)
    assert left(persistence) == []


def test_a_backdated_event_is_a_sign_of_life(persistence: Persistence, clock: Hands) -> None:
    """It shows that a program wrote."""
    start(persistence, "run")
    clock.move(hours=2)
    persistence.log_agent_run_event(AgentRunEvent("agent", "run", timestamp=NOON))
    assert left(persistence) == []


def test_a_stub_can_be_stale(persistence: Persistence, clock: Hands) -> None:
    persistence.log_agent_run_event(AgentRunEvent("agent", "run"))
    clock.move(hours=2)
    assert left(persistence) == ["run"]


def test_abandoning_closes_a_run_at_its_last_sign_of_life(
    persistence: Persistence, clock: Hands
) -> None:
    start(persistence, "run")
    clock.move(minutes=5)
    persistence.log_agent_run_event(AgentRunEvent("agent", "run"))
    last_seen = clock()
    clock.move(hours=2)
    [closed] = persistence.runs.abandon(older_than=HOUR)
    stored = persistence.get_agent_run("run")
    assert stored == closed
    assert (closed.status, closed.finished_at, closed.updated_at) == ("error", last_seen, clock())
    assert closed.error_message is not None
    assert last_seen.isoformat() in closed.error_message
    assert left(persistence) == []
    assert persistence.runs.abandon(older_than=HOUR) == []


def test_abandoning_closes_only_stale_runs(persistence: Persistence, clock: Hands) -> None:
    start(persistence, "done", status="completed")
    start(persistence, "gone")
    clock.move(hours=2)
    start(persistence, "alive")
    assert [run.run_id for run in persistence.runs.abandon(older_than=HOUR)] == ["gone"]
    statuses = {run.run_id: run.status for run in persistence.get_agent_runs()}
    assert statuses == {"done": "completed", "gone": "error", "alive": "running"}


def test_a_run_that_ends_during_the_check_keeps_its_end(
    persistence: Persistence, clock: Hands
) -> None:
    run = start(persistence, "run")
    clock.move(hours=2)
    run.status = "completed"
    # Read once to find the silent runs, and once more to close them.
    clock.meanwhile(lambda: persistence.update_agent_run("run", run), before_reading=2)
    assert persistence.runs.abandon(older_than=HOUR) == []
    assert persistence.get_agent_run("run") == run
    assert run.error_message is None


def test_an_abandoned_run_keeps_its_other_fields(persistence: Persistence, clock: Hands) -> None:
    run = AgentRun(
        "agent",
        "run",
        objective="find out",
        status="running",
        total_iterations=3,
        metadata='{"a": 1}',
        session_id="session",
        parent_run_id="parent",
    )
    persistence.create_agent_run(run)
    clock.move(hours=2)
    [closed] = persistence.runs.abandon(older_than=HOUR)
    run.status, run.finished_at = "error", NOON
    run.error_message, run.updated_at = closed.error_message, clock()
    assert persistence.get_agent_run("run") == run


def test_an_abandoned_run_that_resumes_can_end_normally(
    persistence: Persistence, clock: Hands
) -> None:
    run = start(persistence, "run")
    clock.move(hours=2)
    persistence.runs.abandon(older_than=HOUR)
    run.status = "completed"
    persistence.update_agent_run("run", run)
    assert persistence.get_agent_run("run") == run
    assert run.error_message is None


def test_a_clock_set_back_makes_no_run_stale(persistence: Persistence, clock: Hands) -> None:
    start(persistence, "run")
    clock.move(days=-1)
    assert left(persistence, timedelta(0)) == []


def test_the_health_check_reports_stale_runs(persistence: Persistence, clock: Hands) -> None:
    def check() -> str:
        [found] = [found for found in persistence.diagnose() if found.name == "runs"]
        return found.level

    start(persistence, "run")
    assert check() == "ok"
    clock.move(hours=2)
    assert check() == "warning"


@pytest.mark.before_io
@pytest.mark.parametrize("bad", [timedelta(microseconds=-1), 3600, None, "1h"], ids=repr)
def test_an_age_is_a_timedelta_that_is_not_negative(persistence: Persistence, bad: Any) -> None:
    for call in persistence.runs.stale, persistence.runs.abandon:
        with pytest.raises(InvalidValueError) as refused:
            call(older_than=bad)
        assert refused.value.field == "older_than"


def test_an_age_before_the_first_date_finds_nothing(persistence: Persistence) -> None:
    start(persistence, "run")
    assert left(persistence, timedelta.max) == []


def test_a_model_call_is_a_sign_of_life(persistence: Persistence, clock: Hands) -> None:
    start(persistence, "run")
    clock.move(hours=2)
    persistence.log_llm_usage(AgentLLMUsage("agent", "run"))
    assert left(persistence) == []


def test_a_parent_lives_as_long_as_its_children(persistence: Persistence, clock: Hands) -> None:
    start(persistence, "parent")
    child = AgentRun("agent", "child", status="running", parent_run_id="parent")
    persistence.create_agent_run(child)
    clock.move(hours=2)
    persistence.log_agent_run_event(AgentRunEvent("agent", "child"))
    assert left(persistence) == []


def test_a_run_that_is_its_own_parent_is_found_as_well(
    persistence: Persistence, clock: Hands
) -> None:
    run = AgentRun("agent", "run", status="running", parent_run_id="run")
    persistence.create_agent_run(run)
    clock.move(hours=2)
    assert left(persistence) == ["run"]


def test_a_limit_returns_only_the_oldest(persistence: Persistence, clock: Hands) -> None:
    for name in ("first", "second", "third"):
        start(persistence, name)
        clock.move(minutes=1)
    clock.move(days=1)
    found = persistence.runs.stale(limit=2)
    assert [run.run_id for run in found] == ["second", "first"]
    with pytest.raises(InvalidValueError, match="limit"):
        persistence.runs.stale(limit=-1)
