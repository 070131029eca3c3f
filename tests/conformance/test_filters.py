"""Filters of queries, the same on every backend."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    InvalidValueError,
    Level,
    Persistence,
)
from curio_persistence.capabilities.events import EVENT_FILTERS
from curio_persistence.capabilities.record_filter import FilterKind
from curio_persistence.capabilities.runs import RUN_FILTERS
from curio_persistence.capabilities.scores import SCORE_FILTERS
from curio_persistence.capabilities.usage import USAGE_FILTERS
from tests.support.hands import Hands

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def runs(found: Iterable[AgentRun]) -> list[str]:
    return sorted(run.run_id for run in found)


def types(found: Iterable[AgentRunEvent]) -> list[str]:
    return sorted(event.event_type for event in found)


def models(found: Iterable[AgentLLMUsage]) -> list[str]:
    return sorted(usage.model for usage in found)


@pytest.fixture
def history(persistence: Persistence) -> Persistence:
    """Runs, events and model calls of two agents, one an hour."""
    for number, (agent, status, tags) in enumerate(
        [
            ("a", "completed", ["red", "it's"]),
            ("a", "error", ["red", "blue"]),
            ("b", "timeout", ["blue", 'a "quoted" tag', "東京"]),
            ("b", "running", None),
        ]
    ):
        at = NOON + number * HOUR
        run = AgentRun(agent, f"run {number}", status=status, tags=tags, created_at=at)
        run.session_id = f"session {number // 2}"
        run.user_id = f"user {number % 2}"
        run.metadata = {"ticket": number, "who": {"team": "red"}} if number else None
        if number > 1:
            run.metadata |= {"source": "codex", "project": f"/home/ada/{number}"}
        run.parent_run_id = "run 0" if number else None
        persistence.create_agent_run(run)
        persistence.append_event(
            run.run_id,
            agent,
            f"type {number}",
            timestamp=at,
            level=[*Level][number],
            session_id=run.session_id,
        )
        persistence.log_llm_usage(
            AgentLLMUsage(
                agent, run.run_id, f"provider {number // 2}", f"model {number}", created_at=at
            )
        )
    return persistence


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, "0123"),
        ({"status": "error"}, "1"),
        ({"status": ["error", "timeout", "unheard of"]}, "12"),
        ({"status": ()}, ""),
        ({"session_id": "session 1"}, "23"),
        ({"parent_run_id": "run 0"}, "123"),
        ({"parent_run_id": "run 0", "agent_id": "b"}, "23"),
        ({"user_id": "user 1"}, "13"),
        ({"source": "codex"}, "23"),
        ({"source": ["codex", "llm"], "project": "/home/ada/3"}, "3"),
        ({"project": "/home/ada"}, ""),
        ({"metadata": {"ticket": 2}}, "2"),
        ({"metadata": {"who.team": "red", "ticket": 3}}, "3"),
        ({"metadata": {"who.team": "blue"}}, ""),
        ({"tags": "red"}, "01"),
        ({"tags": ["red", "blue"]}, "1"),
        ({"tags": ["red", "red"]}, "01"),
        ({"tags": []}, "0123"),
        ({"any_tags": ["it's", "東京"]}, "02"),
        ({"any_tags": 'a "quoted" tag'}, "2"),
        ({"any_tags": []}, ""),
        ({"tags": "re"}, ""),
        ({"tags": '", "'}, ""),
        ({"tags": "blue", "any_tags": ["red"]}, "1"),
        ({"since": NOON + HOUR}, "123"),
        ({"until": NOON + HOUR}, "0"),
        ({"since": NOON + HOUR, "until": NOON + 2 * HOUR}, "1"),
        ({"since": "2026-11-20T13:00Z", "until": "2026-11-20T15:00+00:00"}, "12"),
    ],
)
def test_runs(history: Persistence, filters: dict[str, Any], expected: str) -> None:
    wanted = [f"run {number}" for number in expected]
    assert runs(history.query_agent_runs(**filters)) == wanted
    assert runs(history.iter_agent_runs(**filters)) == wanted
    assert history.count_agent_runs(**filters) == len(wanted)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, "0123"),
        ({"event_type": ["type 1", "type 3"]}, "13"),
        ({"event_type": {"type 1"}, "agent_id": "b"}, ""),
        ({"session_id": "session 0"}, "01"),
        ({"user_id": "user 1"}, "13"),
        ({"user_id": "user 1", "agent_id": "b"}, "3"),
        ({"user_id": "nobody"}, ""),
        ({"source": "codex", "project": ["/home/ada/2", "elsewhere"]}, "2"),
        ({"level": "info"}, "1"),
        ({"level": "ERROR"}, "3"),
        ({"level": ["debug", "warn"]}, "02"),
        ({"min_level": "debug"}, "0123"),
        ({"min_level": "info"}, "123"),
        ({"min_level": "warn"}, "23"),
        ({"min_level": Level.ERROR}, "3"),
        ({"min_level": "critical"}, ""),
        ({"min_level": "warning", "agent_id": "b", "session_id": "session 1"}, "23"),
        ({"since": NOON + HOUR, "until": NOON + 3 * HOUR}, "12"),
        ({"run_id": "run 1", "since": NOON + 2 * HOUR}, ""),
    ],
)
def test_events(history: Persistence, filters: dict[str, Any], expected: str) -> None:
    wanted = [f"type {number}" for number in expected]
    assert types(history.query_events(**filters)) == wanted
    assert types(history.iter_agent_run_events(**filters)) == wanted
    assert history.count_events(**filters) == len(wanted)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"model": "model 1"}, "1"),
        ({"model": ["model 1", "model 2"], "agent_id": "a"}, "1"),
        ({"provider": "provider 1"}, "23"),
        ({"status": "success"}, "0123"),
        ({"status": ["error"]}, ""),
        ({"since": NOON + 3 * HOUR}, "3"),
        ({"run_id": "run 2", "until": NOON + 3 * HOUR}, "2"),
        ({"session_id": "session 1"}, "23"),
        ({"session_id": "session 1", "run_id": "run 3", "status": "success"}, "3"),
        ({"session_id": "session 1", "agent_id": "a"}, ""),
        ({"session_id": "unknown"}, ""),
        ({"source": "codex", "agent_id": "b"}, "23"),
        ({"project": "/home/ada/3"}, "3"),
    ],
)
def test_model_calls(history: Persistence, filters: dict[str, Any], expected: str) -> None:
    wanted = [f"model {number}" for number in expected]
    assert models(history.query_llm_usage(**filters)) == wanted
    assert models(history.iter_llm_usage(**filters)) == wanted


@pytest.mark.parametrize(
    ("kind", "filters", "expected"),
    [
        (RUN_FILTERS, {"tags": ["red", "it's"], "metadata": None}, 1),
        (RUN_FILTERS, {"metadata": {("who", "team"): "red"}, "status": {"error", "running"}}, 2),
        (EVENT_FILTERS, {"min_level": "warn", "until": NOON + 3 * HOUR}, 1),
        (EVENT_FILTERS, {"min_level": "warn", "user_id": "user 0"}, 1),
        (USAGE_FILTERS, {"session_id": "session 1", "user_id": "user 1"}, 1),
        (USAGE_FILTERS, {"session_id": "session 1", "model": ["model 1", "model 2"]}, 1),
        (SCORE_FILTERS, {"agent_id": "a"}, 0),
    ],
)
def test_a_stored_filter_finds_the_same_as_its_filters(
    history: Persistence, kind: FilterKind, filters: dict[str, Any], expected: int
) -> None:
    kept = json.loads(json.dumps(kind.of(filters).to_dict()))
    for chosen in (kind.of(filters), kind.from_dict(kept)):
        assert history._store.count(kind.table, chosen.where(history.clock)) == expected


def test_a_model_call_belongs_to_the_session_of_its_run(history: Persistence) -> None:
    history.log_llm_usage(AgentLLMUsage("a", None, model="of no run"))
    history.log_llm_usage(AgentLLMUsage("a", "run 9", model="of a run that nobody created"))
    page = history.query_llm_usage(session_id="session 0", limit=1)
    assert models(page) == ["model 1"]
    history.create_agent_run(AgentRun("a", "run 9", session_id="session 0"))
    assert models(history.iter_llm_usage(session_id="session 0")) == [
        "model 0",
        "model 1",
        "of a run that nobody created",
    ]
    rest = history.query_llm_usage(session_id="session 0", cursor=page.next_cursor)
    assert models(rest) == ["model 0"]


@pytest.mark.parametrize(
    ("since", "expected"),
    [("1h", "3"), ("61m", "3"), ("7200s", "23"), ("1d", "0123"), ("1w", "0123"), ("0s", "")],
)
def test_a_window_can_start_at_an_age(
    history: Persistence, clock: Hands, since: str, expected: str
) -> None:
    clock.put(NOON + 4 * HOUR)
    assert types(history.query_events(since=since)) == [f"type {number}" for number in expected]


def test_an_age_before_the_first_date_starts_at_the_beginning(history: Persistence) -> None:
    assert history.count_events(since="999999999w") == 4
    assert history.count_events(until="999999999w") == 0


def test_a_time_without_a_zone_is_local(history: Persistence) -> None:
    local = (NOON + HOUR).astimezone().replace(tzinfo=None)
    assert history.count_events(since=local) == history.count_events(since=local.isoformat()) == 3


def test_a_cursor_works_although_its_window_has_moved(history: Persistence, clock: Hands) -> None:
    clock.put(NOON + 4 * HOUR)
    page = history.query_events(since="1d", limit=2)
    clock.move(minutes=1)
    rest = history.query_events(since="1d", limit=2, cursor=page.next_cursor)
    assert types(page) + types(rest) == ["type 2", "type 3", "type 0", "type 1"]


def test_a_cursor_is_refused_for_another_window(history: Persistence) -> None:
    page = history.query_events(since="9999w", limit=2)
    for other in ({"since": "9998w"}, {"since": NOON}, {}):
        with pytest.raises(InvalidValueError, match="cursor"):
            history.query_events(**other, limit=2, cursor=page.next_cursor)  # type: ignore[arg-type]


def test_a_cursor_ignores_the_order_of_alternatives(history: Persistence) -> None:
    page = history.query_agent_runs(status=["error", "timeout"], limit=1)
    rest = history.query_agent_runs(status=("timeout", "error"), cursor=page.next_cursor)
    assert runs(rest) == ["run 1"]


@pytest.mark.before_io
@pytest.mark.parametrize(
    "moment", ["", "yesterday", "7 d", "-2h", "7D", "2026-13-01", 5, NOON.date()]
)
@pytest.mark.parametrize("name", ["since", "until"])
def test_an_invalid_time_is_refused(persistence: Persistence, name: str, moment: Any) -> None:
    with pytest.raises(InvalidValueError, match=f"^{name} is a datetime") as refused:
        persistence.query_events(**{name: moment})
    assert refused.value.field == name


def test_a_minimum_level_must_be_a_known_one(persistence: Persistence) -> None:
    with pytest.raises(InvalidValueError, match="min_level is one of debug, info, warning"):
        persistence.query_events(min_level="severe")


@pytest.mark.before_io
@pytest.mark.parametrize(
    "filters",
    [
        {"status": 5},
        {"status": [5]},
        {"status": ["error", None]},
        {"status": [None]},
        {"status": ""},
        {"tags": [""]},
        {"tags": 5},
        {"any_tags": [None]},
        {"parent_run_id": ""},
        {"session_id": b"x"},
    ],
    ids=repr,
)
def test_a_value_that_no_run_can_have_is_refused(
    persistence: Persistence, filters: dict[str, Any]
) -> None:
    with pytest.raises(InvalidValueError):
        persistence.query_agent_runs(**filters)


@pytest.mark.before_io
@pytest.mark.parametrize("tags", [["a", ""], ["a\0"], [5], "tag", 5, ["x" * 256]])
def test_invalid_tags_are_refused(persistence: Persistence, tags: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"AgentRun\.tags"):
        persistence.create_agent_run(AgentRun("agent", "run", tags=tags))


def test_tags_are_stored_once_each_in_their_order(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run", tags=["b", "a", "b"]))
    [run] = persistence.get_agent_runs()
    assert run.tags == ["b", "a"]


def test_metrics_of_a_run_are_json_or_text(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run", metrics={"score": 0.5}))
    [run] = persistence.get_agent_runs()
    assert run.metrics == '{"score": 0.5}'
    assert run.get_metrics_dict() == {"score": 0.5}


def test_events_and_model_calls_are_those_of_any_of_several_runs(persistence: Persistence) -> None:
    for number in range(4):
        persistence.append_event(f"run-{number}", "agent", "t")
        persistence.log_llm_usage(AgentLLMUsage("agent", f"run-{number}"))
    some = ["run-1", "run-3", "no run", *(f"other-{number}" for number in range(2_000))]
    assert persistence.count_events(run_id=some) == 2
    assert persistence.count_llm_usage(run_id=some) == 2
    assert {event.run_id for event in persistence.query_events(run_id=some)} == {"run-1", "run-3"}
    assert {call.run_id for call in persistence.query_llm_usage(run_id=some)} == {"run-1", "run-3"}
    assert persistence.count_events(run_id=[]) == 0
