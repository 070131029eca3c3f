"""Views of runs: histories, steps, outlines, comparisons."""

from __future__ import annotations

import asyncio
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    InMemoryPersistence,
    InvalidValueError,
    NotFoundError,
    Persistence,
    aio,
    tool,
)
from curio_persistence.clock import Clock
from curio_persistence.tables import EVENTS, RUNS, SCORES, USAGE
from curio_persistence.views.facts import IDS_AND_TIMES
from curio_persistence.views.steps import Branch, steps_of
from tests.support.hands import Hands

BEGIN = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)


@pytest.fixture
def planned(persistence: Persistence) -> Persistence:
    """A run whose tool asks a model and starts another agent."""

    @tool
    def search(q: str) -> str:
        return summarise(q)

    @persistence.recorded("summariser", run_id="below")
    def summarise(text: str) -> str:
        return text[:2]

    with persistence.record_run(agent_id="planner", run_id="run", objective="Plan") as run:
        run.iteration()
        search(q="why?")
        with run.span("think"), run.llm(model="m") as call:
            call.response = "because " * 100
            run.log("noted")
    persistence.scores.set("run", "helpful", 0.5)
    return persistence


def names(branch: Branch) -> Any:
    return [branch.step.kind, branch.step.name, *map(names, branch.below)]


def test_a_history_contains_all_records_of_a_run(planned: Persistence) -> None:
    history = planned.runs.history("run")
    assert history.run == planned.get_agent_run("run")
    assert history.events == planned.get_agent_run_events("run")
    assert history.usage == planned.get_llm_usage(run_id="run")
    assert history.scores == planned.scores.list("run")
    assert [child.run.run_id for child in history.children or ()] == ["below"]
    assert (history.own.calls, history.own.unpriced) == (1, 1)
    assert history.to_dict().keys() == {"run", "events", "usage", "scores", "children"}
    with pytest.raises(FrozenInstanceError):
        history.run = AgentRun("a", "b")  # type: ignore[misc]  # That is what is tested.


def test_an_outline_puts_everything_below_its_span(planned: Persistence) -> None:
    assert names(planned.runs.outline("run")) == [
        "run", "planner",
        ["tool", "search", ["run", "summariser"]],
        ["span", "think", ["model", "m"]],
    ]  # fmt: skip


def test_pages_of_steps_neither_repeat_nor_skip_any(planned: Persistence) -> None:
    everything = planned.runs.steps("run", limit=None)
    assert everything.next_cursor is None
    found, cursor = [], None
    while True:
        page = planned.runs.steps("run", limit=2, cursor=cursor)
        assert len(page) <= 2
        found += page
        if (cursor := page.next_cursor) is None:
            break
    assert found == list(everything)
    kinds = ["iteration_started", "tool", "run", "span", "noted", "model"]
    assert [step.kind for step in found] == kinds
    with pytest.raises(InvalidValueError):
        planned.runs.steps("below", cursor=planned.runs.steps("run", limit=1).next_cursor)


def test_brief_steps_contain_the_beginning_of_long_texts(planned: Persistence) -> None:
    *_, short = planned.runs.steps("run")
    *_, whole = planned.runs.steps("run", brief=False)
    assert short.text == ("because " * 100)[:159] + "…"
    assert whole.parts["response"] == "because " * 100
    assert whole.record == planned.get_llm_usage(run_id="run")[0]


def test_an_unknown_run_is_not_found(planned: Persistence) -> None:
    runs = planned.runs
    for ask in (runs.history, runs.steps, runs.outline, lambda run_id: runs.compare("run", run_id)):
        with pytest.raises(NotFoundError, match="has no run 'nine'"):
            ask("nine")


def test_spans_in_a_circle_are_all_shown(persistence: Persistence) -> None:
    for own, around in (("a", "b"), ("b", "a"), ("c", "c"), ("d", "a")):
        persistence.append_event(
            "run", "agent", "span", payload={"name": own}, span_id=own, parent_span_id=around
        )
    spans = [["span", own] for own in "abcd"]
    assert names(persistence.runs.outline("run"))[2:] == spans


def test_spans_may_be_nested_a_thousand_deep(persistence: Persistence) -> None:
    events = [
        AgentRunEvent("agent", "run", "", BEGIN + timedelta(seconds=number), "span",
                      {"name": "s"}, span_id=str(number), parent_span_id=str(number - 1))
        for number in range(1, 1500)
    ]  # fmt: skip
    persistence.log_agent_run_events(events)
    assert str(names(persistence.runs.outline("run"))).count("'s'") == 1499


def test_views_can_be_awaited(planned: Persistence) -> None:
    async def ask() -> tuple[Any, ...]:
        runs = aio.AsyncPersistence(planned).runs
        return (
            await runs.history("run"),
            await runs.steps("run", limit=1),
            await runs.outline("run"),
            (await runs.compare("run", "run")).is_same,
        )

    runs = planned.runs
    told = runs.history("run"), runs.steps("run", limit=1), runs.outline("run"), True
    assert asyncio.run(ask()) == told


# --- comparison -----------------------------------------------------------------------------------

DIFFERENT: dict[str, dict[str, Any]] = {
    "run": {
        "agent_id": "b", "agent_name": "B", "objective": "o", "additional_context": {"c": 1},
        "total_iterations": 50, "final_synthesis_output": "out", "execution_history": ["h"],
        "status": "error", "error_message": "e", "metadata": {"ticket": 7}, "tags": ["t"],
        "metrics": {"accuracy": 0.1},
    },
    "event": {
        "agent_id": "b", "agent_name": "B", "event_type": "other", "data": {"x": [2]},
        "level": "error", "message": "m", "contract_id": "c", "contract_version": "2",
        "artifact_uri": "file:x", "metadata": {"k": 1},
    },
    "usage": {
        "agent_id": "b", "provider": "p", "model": "m2", "prompt": "p", "prompt_length": 3,
        "input_params": {"t": 0}, "input_tokens": 1, "output_tokens": 2, "response_content": "r",
        "response_length": 9, "usage_metrics": {"finish": "stop"}, "status": "error",
        "error_message": "e", "cache_read_tokens": 1, "cache_write_tokens": 1,
        "reasoning_tokens": 1, "cost_usd": Decimal("0.5"), "price_version": "own 1",
    },
    "score": {"name": "n", "value": 0.25, "label": "l", "comment": "c", "source": "code",
              "author": "ann"},
}  # fmt: skip
"""For every field except ids and times, another value."""


def record(persistence: Persistence, run_id: str, second: int, **changed: dict[str, Any]) -> None:
    """Record a run with one of everything; ids and times are its own."""
    when = BEGIN + timedelta(seconds=second)
    own: dict[str, Any] = {"session_id": f"s{second}", "created_at": when}
    ids = {"span_id": f"p{second}", "trace_id": f"t{second}", "parent_span_id": None}
    run = AgentRun("a", run_id, started_at=when, user_id=f"u{second}", **own)
    event = AgentRunEvent("a", run_id, "", when, "noted", {"x": [1]}, **own, **ids)
    call = AgentLLMUsage("a", run_id, model="m", created_at=when, latency_ms=second, **ids)
    persistence.create_agent_run(replace(run, **changed.get("run", {})))
    persistence.log_agent_run_event(replace(event, **changed.get("event", {})))
    persistence.log_llm_usage(replace(call, **changed.get("usage", {})))
    score = {"name": "helpful", "value": 0.5} | changed.get("score", {})
    persistence.scores.set(run_id, **score)


def test_every_field_but_ids_and_times_is_compared() -> None:
    tables = {"run": RUNS, "event": EVENTS, "usage": USAGE, "score": SCORES}
    for kind, table in tables.items():
        assert {*table.names} - IDS_AND_TIMES == DIFFERENT[kind].keys()


@pytest.mark.parametrize(
    ("kind", "field"), [(kind, field) for kind, fields in DIFFERENT.items() for field in fields]
)
def test_runs_that_differ_in_one_field_are_not_the_same(
    persistence: Persistence, kind: str, field: str
) -> None:
    record(persistence, "one", 0)
    record(persistence, "two", 100)
    record(persistence, "three", 200, **{kind: {field: DIFFERENT[kind][field]}})
    assert persistence.runs.compare("one", "two").is_same
    assert not persistence.runs.compare("one", "three").is_same
    assert not persistence.runs.compare("three", "two").is_same


def test_child_runs_are_compared_step_by_step(persistence: Persistence) -> None:
    for run_id, said in (("one", "left"), ("two", "right")):
        with persistence.record_run(agent_id="planner", run_id=run_id) as run:
            run.log("begin")
            with persistence.record_run(agent_id="helper") as below:
                below.log("said", {"word": said})
    compared = persistence.runs.compare("one", "two")
    [child] = [pair for pair in compared.steps if pair.change == "changed"]
    [said_pair] = [pair for pair in child.inside if pair.change == "changed"]
    assert [(d.path, d.first, d.second) for d in said_pair.differences] == [
        ("word", "left", "right")
    ]
    assert not compared.is_same


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        kind: st.sampled_from(sorted(fields)).map(
            lambda field, fields=fields: {field: fields[field]}  # type: ignore[misc]  # A default.
        )
        for kind, fields in DIFFERENT.items()
    },
)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(CHANGES, CHANGES)
def test_runs_are_the_same_if_their_hashes_are_apart_from_ids_and_times(
    persistence: Persistence, first: Any, second: Any
) -> None:
    for run_id, second_of_day, changed in (("one", 0, first), ("two", 100, second)):
        persistence.delete_agent_run(run_id)
        record(persistence, run_id, second_of_day, **changed)
    same = persistence.runs.compare("one", "two").is_same
    assert same is (_hash(first) == _hash(second))


def _hash(changed: Any) -> str:
    """Return the hash of such a run whose ids and times are always the same."""
    hands = Hands()
    hands.put(BEGIN)
    with InMemoryPersistence(clock=Clock(hands)) as alone:
        record(alone, "run", 0, **changed)
        found = alone.runs.hash("run")
        assert found is not None
        return found.hash


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("it broke", "it broke"),
        (" ", " "),
        (True, "error"),
        (0.5, "0.5"),
        (-32601, "-32601"),
        ({"code": 5}, '{"code": 5}'),
        (0, None),
        ("", None),
        ([], None),
    ],
    ids=repr,
)
def test_statistics_failures_and_steps_agree_on_tool_errors(
    persistence: Persistence, error: Any, said: str | None
) -> None:
    for event_type in ("tool_call", "mcp.call", "action_execution_completed"):
        persistence.append_event(
            "run", "agent", event_type, payload={"tool_name": "t", "tool": "t", "error": error}
        )
    assert [step.error for step in steps_of(persistence.runs.history("run"))] == [said] * 3
    failed = 0 if said is None else 3
    assert persistence.get_agent_run_stats()["tool_metrics"]["t"]["error_count"] == failed
    failures = [(group.message, group.count) for group in persistence.stats.failures()]
    assert failures == ([((said or "").strip() or "error", 3)] if failed else [])


def test_a_number_is_an_error_only_for_tools(persistence: Persistence) -> None:
    persistence.append_event("run", "agent", "evaluated", payload={"error": 0.5})
    [step] = steps_of(persistence.runs.history("run"))
    assert (step.error, step.parts["data"]) == (None, {"error": 0.5})
