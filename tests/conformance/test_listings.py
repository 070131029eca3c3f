"""Listings filtered by status or limited to the first events; location and version."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    AgentRunStatus,
    InvalidValueError,
    Persistence,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def six_runs(persistence: Persistence) -> Persistence:
    """`run 0` to `run 5`, of two agents in turn; every third one failed."""
    for number in range(6):
        agent = "even" if number % 2 == 0 else "odd"
        status = "completed" if number % 3 else "error"
        at = NOON + timedelta(minutes=number)
        persistence.create_agent_run(AgentRun(agent, f"run {number}", status=status, created_at=at))
    return persistence


def names(runs: list[AgentRun]) -> list[str]:
    return [run.run_id for run in runs]


def test_runs_of_a_status_come_newest_first(six_runs: Persistence) -> None:
    assert names(six_runs.runs.list(status="error")) == ["run 3", "run 0"]
    assert names(six_runs.runs.list(status=AgentRunStatus.COMPLETED)) == [
        "run 5",
        "run 4",
        "run 2",
        "run 1",
    ]
    assert six_runs.runs.list(status="pending") == []


def test_agent_status_limit_and_offset_work_together(six_runs: Persistence) -> None:
    listed = six_runs.runs.list
    assert names(listed(agent_id="even", status="completed")) == ["run 4", "run 2"]
    assert names(listed(agent_id="even", status="completed", limit=1)) == ["run 4"]
    assert names(listed(agent_id="even", status="completed", limit=None, offset=1)) == ["run 2"]


@pytest.mark.before_io
@pytest.mark.parametrize("status", ["", "s" * 51, 1])
def test_an_invalid_status_is_refused(persistence: Persistence, status: str) -> None:
    with pytest.raises(InvalidValueError, match=r"AgentRun\.status"):
        persistence.runs.list(status=status)


def test_the_first_events_of_a_run_are_its_oldest(persistence: Persistence) -> None:
    for number in range(4):
        at = NOON - timedelta(minutes=number)
        event_type = "even" if number % 2 == 0 else "odd"
        persistence.log_agent_run_event(
            AgentRunEvent("agent", "run", "", at, event_type, str(number))
        )
    listed = persistence.events.list
    assert [event.data for event in listed("run", limit=2)] == ["3", "2"]
    assert [event.data for event in listed("run", event_type="odd", limit=1)] == ["3"]
    assert listed("run", limit=0) == []
    assert len(listed("run", limit=None)) == 4
    with pytest.raises(InvalidValueError, match="limit may not be negative"):
        listed("run", limit=-1)


def test_a_persistence_gives_its_location_and_schema_version(persistence: Persistence) -> None:
    assert persistence.location.startswith(("The ", "PostgreSQL "))
    lasting = "InMemory" not in type(persistence).__name__
    assert (persistence.schema_version() > 0) == lasting
