"""A policy by bytes deletes the runs that finished first until the database is small enough."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    InvalidValueError,
    Persistence,
    RetentionPolicy,
)
from curio_persistence.capabilities.lifecycle.sizes import Sizes
from tests.conformance.test_retention import names, record
from tests.support.hands import Hands

pytestmark = pytest.mark.slow  # Not in the inner loop.

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
RUNS, EVENTS = 40, 40


@pytest.fixture(autouse=True)
def stopped(clock: Hands) -> None:
    clock.put(NOON)


def used(persistence: Persistence) -> int:
    return Sizes(persistence._store).used


@pytest.fixture
def filled(persistence: Persistence) -> Persistence:
    """Runs of equal size: `run-00` finished 40 days ago, `run-39` one day ago."""
    ends = {f"run-{n:02}": NOON - DAY * (RUNS - n) for n in range(RUNS)}
    persistence.create_agent_runs(
        AgentRun("agent", name, status="completed", created_at=end, finished_at=end)
        for name, end in ends.items()
    )
    persistence.log_agent_run_events(
        AgentRunEvent("agent", name, event_type="log", timestamp=end, data="words " * 200)
        for name, end in ends.items()
        for _ in range(EVENTS)
    )
    return persistence


def test_the_oldest_runs_go_until_the_database_is_small_enough(filled: Persistence) -> None:
    full = used(filled)
    policies = [RetentionPolicy(max_bytes=full // 2)]
    planned = filled.lifecycle.expire(policies=policies, dry_run=True)
    assert used(filled) == full
    done = filled.lifecycle.expire(policies=policies, pace=1)
    assert (done.runs, done.events, done.cutoff) == (planned.runs, planned.events, planned.cutoff)
    assert names(filled) == [f"run-{n:02}" for n in range(done.runs, RUNS)]
    assert 0.42 * full < used(filled) < 0.55 * full
    again = filled.lifecycle.expire(policies=policies, pace=1)
    assert again.runs <= 2  # The table of totals, and half-empty pages, count too.


def test_a_database_that_is_small_enough_loses_nothing(filled: Persistence) -> None:
    planned = filled.lifecycle.expire(policies=[RetentionPolicy(max_bytes="1GB")], dry_run=True)
    assert (planned.runs, planned.cutoff) == (0, None)
    assert filled.lifecycle.expire(policies=[RetentionPolicy(max_bytes="1GB")], pace=1).runs == 0


def test_what_is_held_or_goes_anyway_does_not_cost_others_their_place(filled: Persistence) -> None:
    filled.lifecycle.hold("case", run_id="run-05")
    most = used(filled) // 2
    alone = filled.lifecycle.expire(policies=[RetentionPolicy(max_bytes=most)], dry_run=True)
    both = RetentionPolicy(keep=DAY * 31, max_bytes=most)
    done = filled.lifecycle.expire(policies=[both], pace=1)
    assert (done.runs, done.held) == (alone.runs, 1)
    assert "run-05" in names(filled)


def test_a_policy_by_bytes_is_for_the_runs_that_it_fits(filled: Persistence) -> None:
    for number in range(3):
        record(filled, f"draft-{number}", days=10 + number, tags=["draft"])
    filled.lifecycle.set_policy(RetentionPolicy("drafts", max_bytes=0, tags="draft"))
    assert filled.lifecycle.policies() == [RetentionPolicy("drafts", max_bytes=0, tags=["draft"])]
    assert filled.lifecycle.expire(pace=1).runs == 3
    assert len(names(filled)) == RUNS


def test_an_unfinished_run_is_never_deleted_for_space(persistence: Persistence) -> None:
    record(persistence, "old", days=100)
    record(persistence, "child", days=100, parent_run_id="old", status="running", finished_at=None)
    record(persistence, "gone", days=99)
    done = persistence.lifecycle.expire(policies=[RetentionPolicy(max_bytes=0)], pace=1)
    assert (done.runs, done.unfinished) == (1, 1)
    assert names(persistence) == ["child", "old"]


@pytest.mark.before_io
@pytest.mark.parametrize(
    ("given", "octets"),
    [
        (0, 0),
        (2**40, 2**40),
        ("500MB", 500_000_000),
        ("1.5 gb", 1_500_000_000),
        ("2GiB", 2**31),
        ("7B", 7),
        ("3kB", 3_000),
    ],
    ids=str,
)
def test_sizes_are_numbers_or_words(persistence: Persistence, given: Any, octets: int) -> None:
    policy = RetentionPolicy(max_bytes=given)
    assert policy.max_bytes == octets
    assert RetentionPolicy.from_dict(policy.to_dict()) == policy


@pytest.mark.before_io
@pytest.mark.parametrize(
    "odd",
    ["", "500", "5 PB", "-1MB", "MB", "1e9B", "١MB", -1, 1.5, True, [], float("nan")],
    ids=str,
)
def test_odd_sizes_are_refused(persistence: Persistence, odd: Any) -> None:
    with pytest.raises(InvalidValueError) as raised:
        RetentionPolicy(max_bytes=odd)
    assert raised.value.field == "max_bytes"


def test_vacuum_takes_days_and_megabytes(filled: Persistence) -> None:
    planned = filled.lifecycle.vacuum(hot_days=31, dry_run=True)
    assert (planned.runs, planned.cutoff) == (9, NOON - 31 * DAY)
    smaller = filled.lifecycle.vacuum(hot_days=31, max_disk_mb=1, dry_run=True)
    assert smaller.runs > 9
    done = filled.lifecycle.vacuum(31, 1, pace=1)
    assert (done.runs, done.events) == (smaller.runs, smaller.events)
    odd: tuple[dict[str, Any], ...] = (
        {"hot_days": -1},
        {"hot_days": "7"},
        {"hot_days": 10**30},
        {"max_disk_mb": -1},
        {"max_disk_mb": 1.5},
    )
    for given in odd:
        with pytest.raises(InvalidValueError):
            filled.lifecycle.vacuum(**given)


def test_retention_is_applied_by_days(filled: Persistence) -> None:
    assert filled.lifecycle.apply_retention(0).runs == 0
    assert filled.lifecycle.apply_retention().runs == 0
    assert filled.lifecycle.apply_retention(max_age_days=31, dry_run=True).runs == 9
    assert filled.lifecycle.apply_retention(31, pace=1).runs == 9
    assert len(names(filled)) == RUNS - 9
    odd: tuple[Any, ...] = (-1, float("nan"), "31", 1.5, None, 10**30)
    for days in odd:
        with pytest.raises(InvalidValueError) as raised:
            filled.lifecycle.apply_retention(days)
        assert raised.value.field == "max_age_days"


def test_large_runs_free_more_than_small_ones(persistence: Persistence) -> None:
    """A few old runs with long texts are enough, and the many short ones stay."""
    for number in range(60):
        end = NOON - DAY * (60 - number)
        name, text = f"run-{number:02}", "long " * 4_000 if number < 4 else "short"
        persistence.create_agent_run(
            AgentRun("agent", name, status="completed", created_at=end, finished_at=end)
        )
        persistence.log_agent_run_events(
            AgentRunEvent("agent", name, event_type="log", timestamp=end, data=f"{text} {event}")
            for event in range(10)
        )
    full = used(persistence)
    done = persistence.lifecycle.expire(policies=[RetentionPolicy(max_bytes=full * 3 // 4)], pace=1)
    # On PostgreSQL the texts are compressed: there the short ones weigh as much.
    most = 30 if persistence._store.dialect == "postgres" else 3
    assert 1 <= done.runs <= most
