"""Snapshots: the states of runs at their steps, from which they go on in another process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from curio_persistence import (
    AgentRun,
    ConfigurationError,
    InMemoryPersistence,
    InvalidValueError,
    NotFoundError,
    Persistence,
    Snapshot,
    copy_records,
)
from tests.support.hands import Hands

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
STATE = {"done": ["one", "two"], "total": 0.1 + 0.2, "text": "\0 \ud800 ü", "next": None}


@pytest.fixture
def stepping(persistence: Persistence, clock: Hands) -> Persistence:
    """Two runs that have steps, from noon on."""
    clock.put(NOON)
    for number in (1, 2):
        persistence.create_agent_run(AgentRun("worker", f"r{number}", session_id="s1"))
    return persistence


def steps(persistence: Persistence, run_id: str = "r1") -> list[str]:
    return [snapshot.step_id for snapshot in persistence.snapshots.list(run_id)]


def test_a_snapshot_round_trips(stepping: Persistence) -> None:
    saved = stepping.snapshots.save("r1", "one", STATE, metadata={"by": "hand"})
    assert stepping.snapshots.get("r1", "one") == saved
    assert stepping.snapshots.latest("r1") == saved
    assert saved.get_state() == STATE
    assert saved.get_metadata_dict() == {"by": "hand"}
    assert saved.created_at == saved.updated_at
    assert saved.id is not None
    assert Snapshot.from_dict(saved.to_dict()) == saved
    assert stepping.snapshots.get("r1", "two") is None
    assert stepping.snapshots.latest("r2") is None


@pytest.mark.parametrize("state", [None, [], {}, 0, "", "plain text", [{"a": [1, "2"]}], True])
def test_a_state_may_be_anything(stepping: Persistence, state: Any) -> None:
    stepping.snapshots.save("r1", "one", state)
    latest = stepping.snapshots.latest("r1")
    assert latest is not None
    assert latest.get_state() == state


def test_a_large_state_comes_back(stepping: Persistence) -> None:
    state = {"messages": ["ü" * 1000] * 1000}
    stepping.snapshots.save("r1", "one", state)
    latest = stepping.snapshots.latest("r1")
    assert latest is not None
    assert latest.get_state() == state


def test_a_step_that_is_saved_again_has_its_last_state(stepping: Persistence) -> None:
    first = stepping.snapshots.save("r1", "one", 1, metadata="first")
    stepping.snapshots.save("r1", "two", 2)
    again = stepping.snapshots.save("r1", "one", 3)
    assert (again.id, again.created_at) == (first.id, first.created_at)
    assert (again.get_state(), again.metadata) == (3, None)
    assert stepping.snapshots.get("r1", "one") == again
    assert stepping.snapshots.latest("r1") == again
    assert steps(stepping) == ["two", "one"]


def test_the_latest_is_that_which_was_saved_last_whatever_the_clock_says(
    open_again: Any, lasting: None, clock: Hands
) -> None:
    clock.put(NOON)
    for number in range(3):
        persistence = open_again()  # As another process, with a clock of its own.
        if number == 0:
            persistence.create_agent_run(AgentRun("worker", "r1"))
        persistence.snapshots.save("r1", f"step-{number}", number)
        clock.move(hours=-1)
    latest = persistence.snapshots.latest("r1")
    assert latest is not None
    assert (latest.step_id, latest.get_state()) == ("step-2", 2)
    assert steps(persistence) == ["step-0", "step-1", "step-2"]


def test_a_time_that_is_given_is_kept(stepping: Persistence) -> None:
    stepping.snapshots.save("r1", "one", 1)
    saved = stepping.snapshots.save("r1", "two", 2, saved_at=NOON - timedelta(days=365 * 20))
    assert saved.updated_at == NOON - timedelta(days=365 * 20)
    assert steps(stepping) == ["two", "one"]


def test_a_list_is_without_states(stepping: Persistence) -> None:
    assert stepping.snapshots.list("r1") == []
    saved = [stepping.snapshots.save("r1", f"step-{n}", [n], metadata=str(n)) for n in range(3)]
    listed = stepping.snapshots.list("r1")
    assert [snapshot.state for snapshot in listed] == [None] * 3
    assert [(s.id, s.step_id, s.metadata, s.updated_at) for s in listed] == [
        (s.id, s.step_id, s.metadata, s.updated_at) for s in saved
    ]
    assert list(stepping.snapshots.iterate(order="oldest", run_id="r1")) == saved
    assert list(stepping.snapshots.iterate(session_id="another")) == []


def test_snapshots_can_be_deleted(stepping: Persistence) -> None:
    for step_id in ("one", "two", "three"):
        stepping.snapshots.save("r1", step_id, step_id)
    kept = stepping.snapshots.save("r2", "one", 1)
    assert stepping.snapshots.delete("r1", "four") == 0
    assert stepping.snapshots.delete("r1", "two") == 1
    assert steps(stepping) == ["one", "three"]
    assert stepping.snapshots.delete("r1") == 2
    assert stepping.snapshots.delete("r1") == 0
    assert stepping.snapshots.latest("r2") == kept
    assert [entry.get_metadata_dict() for entry in stepping.audit.query()] == [
        {"snapshots": 2, "step_id": None},
        {"snapshots": 1, "step_id": "two"},
    ]


def test_snapshots_are_deleted_with_their_run(stepping: Persistence) -> None:
    stepping.snapshots.save("r1", "one", 1)
    stepping.snapshots.save("r2", "one", 1)
    stepping.delete_agent_run("r1")
    assert [snapshot.run_id for snapshot in stepping.snapshots.iterate()] == ["r2"]


def test_an_unknown_run_is_told(stepping: Persistence) -> None:
    with pytest.raises(NotFoundError, match="No run 'r3' exists to save a step of"):
        stepping.snapshots.save("r3", "one", 1)
    assert stepping.snapshots.latest("r3") is None


@pytest.mark.parametrize("step_id", [None, "", 5, "x" * 256, "\0"])
@pytest.mark.before_io
def test_an_invalid_step_is_refused(stepping: Persistence, step_id: Any) -> None:
    with pytest.raises(InvalidValueError, match="step_id"):
        stepping.snapshots.save("r1", step_id, 1)
    with pytest.raises(InvalidValueError, match="step_id"):
        stepping.snapshots.get("r1", step_id)
    assert stepping.snapshots.list("r1") == []


def test_a_redactor_sees_the_state(open_again: Any) -> None:
    persistence = open_again(redactor="emails")
    persistence.create_agent_run(AgentRun("mailer", "r1"))
    persistence.snapshots.save("r1", "one", {"to": "ann@example.com"})
    assert "ann@example.com" not in str(persistence.snapshots.latest("r1"))


def test_without_content_nothing_is_saved(open_again: Any) -> None:
    persistence = open_again(capture_content="metrics-only")
    persistence.create_agent_run(AgentRun("mailer", "r1"))
    with pytest.raises(ConfigurationError, match="metrics-only"):
        persistence.snapshots.save("r1", "one", {"to": "ann"})
    assert persistence.snapshots.latest("r1") is None


def test_a_copy_brings_the_last_state(stepping: Persistence, clock: Hands) -> None:
    stepping.snapshots.save("r1", "one", 1)
    with InMemoryPersistence() as copy:
        assert copy_records(stepping, copy).new_snapshots == 1
        clock.move(seconds=1)
        saved = stepping.snapshots.save("r1", "one", 2)
        report = copy_records(stepping, copy)
        assert (report.ok, report.new_snapshots) == (True, 1)
        assert copy.snapshots.latest("r1") == saved
        assert copy_records(stepping, copy).new_snapshots == 0
