"""Listings have one order, the same in all calls and pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count, takewhile
from typing import Any

import numpy as np
import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    InvalidValueError,
    Persistence,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def create_runs(persistence: Persistence, number: int, *, at: datetime | None = NOON) -> list[str]:
    names = [f"run {n:03}" for n in range(number)]
    with persistence.transaction():
        for name in names:
            persistence.create_agent_run(AgentRun("agent", name, created_at=at))
    return names


def names(runs: Sequence[AgentRun]) -> list[str]:
    return [run.run_id for run in runs]


def test_runs_of_the_same_time_are_last_created_first(persistence: Persistence) -> None:
    created = create_runs(persistence, 20)
    assert names(persistence.get_agent_runs(limit=None)) == created[::-1]
    assert names(persistence.get_agent_runs("agent", limit=None)) == created[::-1]


def test_pages_of_the_same_time_neither_repeat_nor_skip_records(persistence: Persistence) -> None:
    created = create_runs(persistence, 31)
    pages = takewhile(
        bool, (persistence.get_agent_runs(limit=7, offset=7 * page) for page in count())
    )
    assert [name for page in pages for name in names(page)] == created[::-1]


def test_an_update_does_not_move_a_run(persistence: Persistence) -> None:
    created = create_runs(persistence, 3)
    persistence.update_agent_run(created[0], AgentRun("agent", created[0], status="completed"))
    assert names(persistence.get_agent_runs()) == created[::-1]


def test_events_of_the_same_time_are_in_logged_order(persistence: Persistence) -> None:
    for number in range(20):
        event = AgentRunEvent("agent", "run", timestamp=NOON, data=str(number))
        persistence.log_agent_run_event(event)
    for _ in range(2):
        logged = persistence.get_agent_run_events("run")
        assert [event.data for event in logged] == [str(number) for number in range(20)]


def test_a_backdated_event_is_ordered_by_its_time(persistence: Persistence) -> None:
    for minute in 0, 2, 1, -1:
        at = NOON + timedelta(minutes=minute)
        persistence.log_agent_run_event(AgentRunEvent("agent", "run", timestamp=at))
    times = [event.timestamp for event in persistence.get_agent_run_events("run")]
    assert times == [NOON + timedelta(minutes=minute) for minute in (-1, 0, 1, 2)]


def test_model_calls_of_the_same_time_are_last_logged_first(persistence: Persistence) -> None:
    for number in range(20):
        usage = AgentLLMUsage("agent", "run", prompt_length=number, created_at=NOON)
        persistence.log_llm_usage(usage)
    for answer in (
        persistence.get_llm_usage(),
        persistence.get_llm_usage("agent"),
        persistence.get_llm_usage(run_id="run"),
    ):
        assert [usage.prompt_length for usage in answer] == list(range(20))[::-1]


def test_the_default_limits_are_ten_runs_and_a_hundred_model_calls(
    persistence: Persistence,
) -> None:
    create_runs(persistence, 12)
    with persistence.transaction():
        for _ in range(102):
            persistence.log_llm_usage(AgentLLMUsage("agent", None))
    assert len(persistence.get_agent_runs()) == 10
    assert len(persistence.get_llm_usage()) == 100


@pytest.mark.parametrize(
    ("limit", "offset", "expected"),
    [
        (0, 0, []),
        (0, 3, []),
        (None, 0, [4, 3, 2, 1, 0]),
        (None, 4, [0]),
        (None, 5, []),
        (2, 0, [4, 3]),
        (2, 4, [0]),
        (2, 99, []),
        (np.int64(2), np.uint8(1), [3, 2]),
        (2**63 - 1, 0, [4, 3, 2, 1, 0]),
        (2**63 - 1, 2**63 - 1, []),
        (None, 2**63 - 1, []),
    ],
)
def test_a_page_has_at_most_limit_runs_from_offset_on(
    persistence: Persistence, limit: Any, offset: Any, expected: list[int]
) -> None:
    created = create_runs(persistence, 5)
    page = persistence.get_agent_runs(limit=limit, offset=offset)
    assert names(page) == [created[number] for number in expected]


@pytest.mark.parametrize(("limit", "expected"), [(0, 0), (None, 3), (2, 2), (np.int32(1), 1)])
def test_at_most_limit_model_calls(persistence: Persistence, limit: Any, expected: int) -> None:
    for _ in range(3):
        persistence.log_llm_usage(AgentLLMUsage("agent", None))
    assert len(persistence.get_llm_usage(limit=limit)) == expected


BAD_COUNTS: list[Any] = [-1, True, False, 1.0, "1", 2**63, np.bool_(True), np.float64(1), [], b"1"]


@pytest.mark.before_io
@pytest.mark.parametrize("bad", BAD_COUNTS, ids=repr)
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("limit", lambda p, bad: p.get_agent_runs(limit=bad)),
        ("limit", lambda p, bad: p.get_llm_usage(limit=bad)),
        ("offset", lambda p, bad: p.get_agent_runs(offset=bad)),
    ],
    ids=["runs", "usage", "offset"],
)
def test_an_invalid_count_is_refused_by_name(
    persistence: Persistence, name: str, call: Callable[[Persistence, Any], object], bad: Any
) -> None:
    with pytest.raises(InvalidValueError, match=name) as refused:
        call(persistence, bad)
    assert refused.value.field == name


def test_an_offset_is_required(persistence: Persistence) -> None:
    with pytest.raises(InvalidValueError, match="offset"):
        persistence.get_agent_runs(offset=None)  # type: ignore[arg-type]
