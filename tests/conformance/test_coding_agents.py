"""Coding agents tell of their turns in log records: each turn is a run, and each call is one."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from curio_persistence import Persistence
from curio_persistence.interop.otel.agent_events import AgentEvent, agent_event
from curio_persistence.interop.otel.agent_metrics import MetricsStored, store_points
from curio_persistence.interop.otel.agent_turns import TurnsStored, store_events
from curio_persistence.interop.otel.decoding import decode_logs, decode_metrics, decode_traces
from curio_persistence.interop.otel.receiving import Receiver
from curio_persistence.interop.otel.spans import OtelLog, OtelPoint
from tests.support.otlp_corpus import FOLDER, JSON

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def events_in(name: str) -> list[AgentEvent]:
    decoded = decode_logs((FOLDER / f"{name}.json").read_bytes(), JSON)
    assert not decoded.rejected
    found = [agent_event(log) for log in decoded.logs]
    return [event for event in found if event is not None]


def happened(name: str, minute: float = 0, **attributes: Any) -> AgentEvent:
    """Return an event of Codex; `_` in names of attributes stands for a dot."""
    told = {key.replace("__", "."): value for key, value in attributes.items()}
    told.setdefault("conversation.id", "c-1")
    time = NOON + timedelta(minutes=minute)
    log = OtelLog(int(time.timestamp() * 1e9), attributes={"event.name": name} | told)
    event = agent_event(log)
    assert event is not None
    return event


def test_a_turn_of_claude_code(persistence: Persistence) -> None:
    stored = store_events(persistence, events_in("claude-code-logs"))
    assert stored == TurnsStored(new=9, repeated=0, ignored=0)

    [run] = persistence.get_agent_runs()
    session = "5d1c7d3e-1111-4222-8333-444455556666"
    assert run.run_id == f"claude-code/{session}/8a7b6c5d-1111-4222-8333-444455556666"
    assert (run.agent_id, run.session_id, run.status) == ("claude-code", session, "completed")
    assert (run.objective, run.final_output) == ("", None), "the agent was not asked to tell them"
    assert (run.finished_at or NOON) - (run.started_at or NOON) == timedelta(seconds=13)

    calls = persistence.get_llm_usage(run_id=run.run_id)
    assert sum(call.input_tokens or 0 for call in calls) == 32095
    assert sum(call.output_tokens or 0 for call in calls) == 472
    assert sum(call.cache_read_tokens or 0 for call in calls) == 17842
    assert sum(call.cache_write_tokens or 0 for call in calls) == 14237
    told = [call.get_usage_metrics_dict().get("reported_cost") for call in calls]
    assert sum(Decimal(cost) for cost in told if cost) == Decimal("0.04995135")
    failed = [call for call in calls if call.status == "error"]
    assert [(call.error_message, call.input_tokens) for call in failed] == [("Overloaded", None)]
    assert {call.model for call in calls} == {
        "claude-haiku-4-5-20251001",
        "claude-sonnet-4-5-20250929",
    }

    tools = persistence.get_agent_run_events(run.run_id, "tool_call")
    assert [
        (tool.get_data_dict()["tool_name"], tool.get_data_dict()["error"]) for tool in tools
    ] == [
        ("Bash", "ShellError"),
        ("Edit", "denied"),
    ]
    kinds = {event.event_type for event in persistence.get_agent_run_events(run.run_id)}
    assert "claude_code.some_future_event" in kinds


def test_a_turn_of_codex(persistence: Persistence) -> None:
    stored = store_events(persistence, events_in("codex-logs"))
    assert (stored.repeated, stored.ignored) == (0, 2)

    [run] = persistence.get_agent_runs()
    assert run.run_id == "codex/019a27ca-e930-70f6-9954-7637e9031b94/2026-07-01T06:00:01.000000Z"
    calls = persistence.get_llm_usage(run_id=run.run_id)
    assert sum(call.input_tokens or 0 for call in calls) == 30431
    assert sum(call.output_tokens or 0 for call in calls) == 348
    assert sum(call.cache_read_tokens or 0 for call in calls) == 26880
    assert sum(call.reasoning_tokens or 0 for call in calls) == 192
    assert {call.cache_write_tokens for call in calls} == {None}
    assert sorted(call.status for call in calls) == ["error", "success", "success"]
    [tool] = persistence.get_agent_run_events(run.run_id, "tool_call")
    assert tool.get_data_dict() == {
        "tool_name": "shell",
        "args": {"command": ["ls"]},
        "result": "README.md",
        "latency_ms": 4800,
        "error": None,
        "call_id": "call_SynthOt1",
    }


@pytest.mark.parametrize("name", ["claude-code-logs", "codex-logs"])
def test_what_comes_again_is_not_stored_again(persistence: Persistence, name: str) -> None:
    events = events_in(name)
    first = store_events(persistence, events)
    before = [
        persistence.get_agent_runs(),
        persistence.get_llm_usage(),
        list(persistence.iter_agent_run_events()),
    ]
    again = store_events(persistence, events)
    assert again == TurnsStored(repeated=first.new, ignored=first.ignored)
    assert before == [
        persistence.get_agent_runs(),
        persistence.get_llm_usage(),
        list(persistence.iter_agent_run_events()),
    ]


def test_one_request_is_one_call_and_one_use_of_a_tool_is_one(persistence: Persistence) -> None:
    events = events_in("claude-code-logs")
    later = [
        happened("codex.user_prompt"),
        *(happened("codex.tool_decision", n, call_id="t-1", decision="denied") for n in (1, 2)),
        happened("codex.tool_result", 3, call_id="t-1", success="false"),
    ]
    for some in (events[:4], events[2:], later):
        store_events(persistence, some)
    assert persistence.count_llm_usage() == 3
    assert persistence.count_events(event_type="tool_call") == 3


@pytest.mark.parametrize("seed", range(3))
def test_events_of_told_turns_may_come_in_any_order(persistence: Persistence, seed: int) -> None:
    events = events_in("claude-code-logs")
    random.Random(seed).shuffle(events)
    for event in events:
        store_events(persistence, [event])
    [run] = persistence.get_agent_runs()
    assert (run.finished_at or NOON) - (run.started_at or NOON) == timedelta(seconds=13)
    assert (run.status, persistence.count_llm_usage()) == ("completed", 3)


def test_a_prompt_begins_a_turn_where_turns_have_no_ids(persistence: Persistence) -> None:
    store_events(persistence, [happened("codex.conversation_starts"), happened("codex.auth", 1)])
    assert persistence.get_agent_runs() == [], "there is no turn yet"

    completed = {"event__kind": "response.completed", "input_token_count": "7"}
    store_events(
        persistence,
        [
            happened("codex.conversation_starts", 1),
            happened("codex.user_prompt", 2, prompt="How far?"),
            happened("codex.sse_event", 3, **completed),
            happened("codex.user_prompt", 4, prompt="And back?"),
        ],
    )
    store_events(persistence, [happened("codex.sse_event", 5, **completed)])
    store_events(persistence, [happened("codex.sse_event", 3.5, **completed)])

    second, first = persistence.get_agent_runs()
    assert (first.objective, second.objective) == ("How far?", "And back?")
    assert len(persistence.get_llm_usage(run_id=first.run_id)) == 2
    assert len(persistence.get_llm_usage(run_id=second.run_id)) == 1
    assert first.session_id == second.session_id == "c-1"


def test_a_call_before_any_prompt_is_kept(persistence: Persistence) -> None:
    event = happened("codex.sse_event", event__kind="response.completed", input_token_count=7)
    store_events(persistence, [event])
    [call] = persistence.get_llm_usage()
    assert (call.run_id, call.input_tokens, call.output_tokens) == ("codex/c-1", 7, None)


def test_the_turn_ends_as_its_latest_call(persistence: Persistence) -> None:
    failure = happened("codex.sse_event", 2, event__kind="response.failed", error__message="lost")
    store_events(persistence, [happened("codex.user_prompt", 1), failure])
    [run] = persistence.get_agent_runs()
    assert (run.status, run.error_message) == ("error", "lost")
    store_events(persistence, [happened("codex.sse_event", 3, event__kind="response.completed")])
    [run] = persistence.get_agent_runs()
    assert (run.status, run.error_message) == ("completed", None)


def test_tools_of_mcp_servers_are_calls_of_these(persistence: Persistence) -> None:
    used = happened("codex.tool_result", 1, tool_name="mcp__depot__look_up", output="[1]")
    store_events(persistence, [happened("codex.user_prompt"), used])
    [call] = persistence.query_events(event_type="mcp.call")
    assert call.get_data_dict()["server"] == "depot"
    assert call.get_data_dict()["tool"] == "look_up"
    assert call.get_data_dict()["result"] == [1]


def test_gemini_counts_thoughts_and_tools_beside(persistence: Persistence) -> None:
    told = {
        "event.name": "gemini_cli.api_response",
        "session.id": "s-1",
        "prompt_id": "p-1",
        "model": "gemini-2.5-pro",
        "input_token_count": 100,
        "tool_token_count": 10,
        "cached_content_token_count": 40,
        "output_token_count": 20,
        "thoughts_token_count": 5,
    }
    event = agent_event(OtelLog(10, attributes=told))
    assert event is not None
    store_events(persistence, [event])
    [call] = persistence.get_llm_usage()
    assert (call.run_id, call.provider, call.model) == (
        "gemini-cli/s-1/p-1",
        "google",
        "gemini-2.5-pro",
    )
    assert (call.input_tokens, call.output_tokens) == (110, 25)
    assert (call.cache_read_tokens, call.reasoning_tokens) == (40, 5)


@pytest.mark.parametrize(
    "hostile",
    [
        {"conversation.id": "a\0b\ud800" * 100, "tool_name": "\0", "call_id": "\ud800" * 300},
        {"input_token_count": "-5", "output_token_count": 2**70, "duration_ms": "soon"},
        {"model": {"a": [b"bytes", float("nan")]}, "success": None, "prompt": ["x"] * 3},
        {f"key {n}": n for n in range(1000)},
    ],
)
def test_events_of_any_form_are_survived(persistence: Persistence, hostile: dict[str, Any]) -> None:
    told = {"event__kind": "response.completed", "decision": "denied"} | hostile
    names = ("user_prompt", "sse_event", "tool_result", "tool_decision", "dance\0\ud800" * 99)
    prompt = happened("codex.user_prompt", conversation__id=told.get("conversation.id", "c-1"))
    others = [happened(f"codex.{name}", n, **told) for n, name in enumerate(names, 1)]
    stored = store_events(persistence, [prompt, *others])
    assert (stored.new + stored.repeated, stored.ignored) == (6, 0)


def test_other_log_records_are_no_events_of_coding_agents() -> None:
    for log in (
        OtelLog(1),
        OtelLog(1, body="claude_code.user_prompt"),
        OtelLog(1, event_name="gen_ai.choice", attributes={"session.id": "s"}),
        OtelLog(1, body={"a": json.dumps(1)}, attributes={"event.name": 7}),
    ):
        assert agent_event(log) is None


def points_in(name: str) -> list[OtelPoint]:
    decoded = decode_metrics((FOLDER / f"{name}.json").read_bytes(), JSON)
    assert not decoded.rejected
    return decoded.points


def test_what_an_agent_measures_is_a_metric_of_its_turn(persistence: Persistence) -> None:
    store_events(persistence, events_in("claude-code-logs"))
    calls = persistence.count_llm_usage()
    points = points_in("claude-code-metrics")
    assert store_points(persistence, points) == MetricsStored(new=len(points))
    assert store_points(persistence, points) == MetricsStored(repeated=len(points))
    assert len(persistence.get_agent_runs()) == 1
    assert persistence.count_llm_usage() == calls, "metrics repeat what calls say"
    [cost] = persistence.query_metrics("claude_code.cost.usage", "sum", bucket=None)
    assert cost.value == pytest.approx(0.04199235)
    [event] = persistence.query_events(
        event_type="metric", payload={"name": "claude_code.active_time.total"}
    )
    assert event.get_data_dict() == {
        "name": "claude_code.active_time.total",
        "value": 8.5,
        "unit": "s",
        "tags": {"type": "cli"},
    }


def test_metrics_alone_make_one_run_of_a_session(persistence: Persistence) -> None:
    store_points(persistence, points_in("claude-code-metrics"))
    [run] = persistence.get_agent_runs()
    assert run.run_id == "claude-code/5d1c7d3e-1111-4222-8333-444455556666"


def test_other_metrics_are_counted(persistence: Persistence) -> None:
    session = {"session.id": "s"}
    others = [
        OtelPoint("claude_code.token.usage", 7, None, 1, type="sum", attributes=session),
        OtelPoint("claude_code.token.usage", 7, None, 1, type="sum", is_delta=True),
        OtelPoint("claude_code.x", 7, 3, 1, type="histogram", attributes=session),
        OtelPoint("claude_code.x", None, None, 1, type="gauge", attributes=session),
        OtelPoint("gen_ai.client.token.usage", 7, None, 1, type="gauge", attributes=session),
    ]
    assert store_points(persistence, others) == MetricsStored(ignored=5)
    assert persistence.get_agent_runs() == []


def test_traces_that_tell_the_same_are_not_counted_again(persistence: Persistence) -> None:
    receiver = Receiver(persistence)
    spans = decode_traces((FOLDER / "claude-code-traces.json").read_bytes(), JSON).spans
    logs = decode_logs((FOLDER / "claude-code-logs.json").read_bytes(), JSON).logs
    receiver.spans(spans)
    receiver.logs(logs)
    receiver.metrics(points_in("claude-code-metrics"))
    assert [run.agent_id for run in persistence.get_agent_runs()] == ["claude-code"]
    assert persistence.count_llm_usage() == 3
    assert persistence.count_events(event_type="tool_call") == 2
    assert len([*persistence.traces.spans()]) == len(spans) == 4


def test_threads_store_the_same_events_once(persistence: Persistence) -> None:
    events = events_in("claude-code-logs")
    with ThreadPoolExecutor(4) as threads:
        stored = [*threads.map(lambda _: store_events(persistence, events), range(8))]
    assert sum(each.new for each in stored) == 9
    assert (len(persistence.get_agent_runs()), persistence.count_llm_usage()) == (1, 3)
