"""Agiwo's entries as it stores them, its views, and the traces that are collected from entries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from curio_persistence.compat.agiwo import (
    AgentTraceCollector,
    AssistantStepCommitted,
    BaseTraceStorage,
    CompactionFailed,
    ContentPart,
    ContentType,
    GoalMilestonesUpdated,
    HookFailed,
    LLMCallCompleted,
    LLMCallStarted,
    MessageRole,
    MessagesRebuilt,
    Milestone,
    RetrospectApplied,
    RunFailed,
    RunFinished,
    RunLogEntry,
    RunStarted,
    Span,
    SpanKind,
    SpanStatus,
    StepMetrics,
    TerminationDecided,
    TerminationReason,
    ToolStepCommitted,
    Trace,
    TraceQuery,
    UserMessage,
    build_introspect_state_from_entries,
    build_run_view_from_entries,
    build_runtime_decision_state_from_entries,
    build_step_views_from_entries,
    deserialize_run_log_entry_from_storage,
    serialize_run_log_entry_for_storage,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PLACE: dict[str, Any] = {
    "sequence": 3,
    "session_id": "chat",
    "run_id": "run",
    "agent_id": "guide",
    "created_at": NOON,
}


def again(entry: RunLogEntry) -> RunLogEntry:
    """Return what is read back of an entry that was stored as JSON."""
    text = json.dumps(serialize_run_log_entry_for_storage(entry))
    return deserialize_run_log_entry_from_storage(json.loads(text))


def test_an_entry_is_serialized_with_its_kind() -> None:
    entry = RunStarted(**PLACE, user_input="hi", user_id="ann")
    assert serialize_run_log_entry_for_storage(entry) == {
        "kind": "run_started",
        "sequence": 3,
        "session_id": "chat",
        "run_id": "run",
        "agent_id": "guide",
        "created_at": "2026-11-20T12:00:00+00:00",
        "user_input": "hi",
        "user_id": "ann",
        "depth": 0,
    }
    assert again(entry) == entry
    timeless = {"kind": "run_started", "sequence": 1, "session_id": "s", "run_id": "r"}
    read = deserialize_run_log_entry_from_storage({**timeless, "agent_id": "a"})
    assert read.created_at.tzinfo is UTC


def test_none_times_words_and_what_a_user_says_are_deserialized_as_they_were() -> None:
    parts = [ContentPart(ContentType.TEXT, "hi", metadata={"x": None})]
    forged = '{"__type": "user_message", "content": []}'
    said = ["hi", "{", "{}", "[]", forged, parts, UserMessage(parts)]
    entries = [RunStarted(**PLACE, user_input=each) for each in said]
    message = {"role": "assistant", "content": None, "at": NOON}
    metrics = StepMetrics(start_at=NOON, duration_ms=1.5)
    more: list[RunLogEntry] = [
        MessagesRebuilt(**PLACE, reason="x", messages=[message]),
        LLMCallCompleted(**PLACE, metrics=metrics),
        GoalMilestonesUpdated(**PLACE, milestones=[Milestone("m", "d")]),
        RunFinished(**PLACE, termination_reason=TerminationReason.SLEEPING, metrics={"a": None}),
    ]
    for entry in [*entries, *more]:
        assert again(entry) == entry


def test_what_agiwo_has_stored_is_deserialized() -> None:
    stored = serialize_run_log_entry_for_storage(RunStarted(**PLACE))
    parts = [{"type": "image", "url": "https://x/y.png"}]
    said = {"__type": "user_message", "content": parts, "context": None}
    entry = deserialize_run_log_entry_from_storage({**stored, "user_input": json.dumps(said)})
    [part] = [ContentPart(ContentType.IMAGE, url="https://x/y.png")]
    assert entry == RunStarted(**PLACE, user_input=UserMessage([part]))
    listed = {"__type": "content_parts", "parts": parts}
    entry = deserialize_run_log_entry_from_storage({**stored, "user_input": json.dumps(listed)})
    assert entry == RunStarted(**PLACE, user_input=[part])


def test_unknown_kinds_are_refused_and_so_are_entries_that_lack_fields() -> None:
    stored = serialize_run_log_entry_for_storage(RunFailed(**PLACE, error="no"))
    with pytest.raises(ValueError, match="Clear old SQLite DB files"):
        deserialize_run_log_entry_from_storage({**stored, "kind": "rain"})
    with pytest.raises(ValueError, match="lacks fields of its kind, 'hook_failed'"):
        deserialize_run_log_entry_from_storage({**stored, "kind": "hook_failed"})


def log(*told: tuple[type[RunLogEntry], Mapping[str, Any]]) -> list[RunLogEntry]:
    """Return entries with the sequences 1, 2, …, a second apart."""
    return [
        cls(
            **{
                **PLACE,
                "sequence": sequence,
                "created_at": NOON + timedelta(seconds=sequence),
                **own,
            }
        )
        for sequence, (cls, own) in zip(count(1), told, strict=False)
    ]


CALLS = [{"id": "c1", "function": {"name": "look", "arguments": '{"where": "Lyon"}'}}]
ASSISTANT = {"step_id": "s1", "role": MessageRole.ASSISTANT, "content": "hm", "tool_calls": CALLS}
TOOL = {"step_id": "s2", "role": MessageRole.TOOL, "tool_call_id": "c1", "name": "look"}


def test_views_are_built_from_entries_in_any_order() -> None:
    entries = log(
        (RunStarted, {"user_id": "ann"}),
        (AssistantStepCommitted, ASSISTANT),
        (GoalMilestonesUpdated, {"milestones": [Milestone("m", "d", "active")]}),
        (TerminationDecided, {"termination_reason": "timeout", "phase": "p", "source": "s"}),
    )[::-1]
    run = build_run_view_from_entries(entries)
    assert run is not None
    assert (run.run_id, run.user_id, run.response) == ("run", "ann", "hm")
    assert build_run_view_from_entries(entries[:2]) is None
    [step] = build_step_views_from_entries(entries, include_rolled_back=True)
    assert step.id == "s1"
    assert build_introspect_state_from_entries(entries).goal.active_milestone_id == "m"
    assert build_runtime_decision_state_from_entries(entries).latest_termination is not None


METRICS = StepMetrics(
    start_at=NOON,
    end_at=NOON + timedelta(seconds=2),
    duration_ms=2000.0,
    total_tokens=15,
    input_tokens=10,
    output_tokens=5,
    cache_read_tokens=3,
    cache_creation_tokens=2,
    token_cost=0.25,
    usage_source="provider",
    model_name="acme-1",
    provider="acme",
    first_token_latency_ms=120.0,
)
MESSAGES = [{"role": "user", "content": "Where?"}]
WHOLE = log(
    (RunStarted, {"user_input": "Where?", "user_id": "ann"}),
    (LLMCallStarted, {"messages": MESSAGES, "tools": [{"name": "look"}]}),
    (LLMCallCompleted, {"content": "x" * 600, "metrics": METRICS, "finish_reason": "stop"}),
    (AssistantStepCommitted, ASSISTANT),
    (ToolStepCommitted, {**TOOL, "content": "no", "is_error": True}),
    (RunStarted, {"run_id": "child", "agent_id": "helper", "parent_run_id": "run", "depth": 1}),
    (LLMCallCompleted, {"run_id": "child", "content": [], "metrics": METRICS}),
    (RunFailed, {"run_id": "child", "error": "lost"}),
    (HookFailed, {"phase": "p", "handler_name": "h", "error": "no disk"}),
    (RetrospectApplied, {"affected_step_ids": ["s2"]}),
    (RunFinished, {"response": "France", "termination_reason": TerminationReason.COMPLETED}),
)


def test_a_trace_has_a_span_for_each_run_call_tool_and_decision() -> None:
    trace = AgentTraceCollector().build_from_entries(WHOLE)
    [run, call, tool, child, inner, hook, back] = trace.spans
    assert [span.name for span in trace.spans] == [
        *("guide", "acme-1", "look", "helper", "acme-1", "hook_failed", "retrospect"),
    ]
    assert [span.kind for span in trace.spans] == [
        *("agent", "llm_call", "tool_call", "agent", "llm_call", "runtime", "runtime"),
    ]
    assert [span.depth for span in trace.spans] == [0, 1, 1, 1, 2, 1, 1]
    assert trace.root_span_id == run.span_id == call.parent_span_id == child.parent_span_id
    assert (inner.parent_span_id, inner.run_id) == (child.span_id, "child")
    assert (run.status, run.duration_ms, run.output_preview) == ("ok", 10_000, "France")
    assert (child.status, child.error_message) == ("error", "lost")
    assert (tool.status, tool.error_message, tool.step_id) == ("error", "no", "s2")
    assert (hook.status, hook.error_message, hook.attributes["handler_name"]) == (
        *("error", "no disk"),
        "h",
    )
    assert back.attributes["affected_step_ids"] == ["s2"]
    assert (back.attributes["feedback"], back.attributes["sequence"]) == (None, 10)
    assert call.output_preview == "x" * 500


def test_a_trace_has_the_times_ids_query_and_output_of_its_outermost_run() -> None:
    trace = AgentTraceCollector().build_from_entries(WHOLE)
    assert (trace.agent_id, trace.session_id, trace.user_id) == ("guide", "chat", "ann")
    assert trace.start_time == NOON + timedelta(seconds=1)
    assert trace.end_time == NOON + timedelta(seconds=11)
    assert (trace.status, trace.duration_ms) == (SpanStatus.OK, 10_000)
    assert (trace.input_query, trace.final_output) == ("Where?", "France")
    assert (trace.total_llm_calls, trace.total_tool_calls, trace.max_depth) == (2, 1, 2)
    assert (trace.total_tokens, trace.total_input_tokens, trace.total_output_tokens) == (30, 20, 10)
    assert (trace.total_cache_read_tokens, trace.total_cache_creation_tokens) == (6, 4)
    assert trace.total_token_cost == 0.5


def test_a_model_call_and_a_tool_tell_all_about_themselves() -> None:
    [_, call, tool, *_] = AgentTraceCollector().build_from_entries(WHOLE).spans
    assert call.llm_details == {
        "request": {},
        "messages": MESSAGES,
        "tools": [{"name": "look"}],
        "response_content": "x" * 600,
        "response_tool_calls": None,
        "finish_reason": "stop",
        "status": "completed",
        "metrics": {
            "duration_ms": 2000.0,
            "first_token_ms": 120.0,
            "input_tokens": 10,
            "output_tokens": 5,
            "total_tokens": 15,
            "cache_read_tokens": 3,
            "cache_creation_tokens": 2,
            "usage_source": "provider",
        },
    }
    assert (call.metrics["tokens.total"], call.metrics["token_cost"]) == (15, 0.25)
    assert (call.start_time, call.end_time, call.duration_ms) == (
        *(NOON, NOON + timedelta(seconds=2)),
        2000.0,
    )
    assert tool.tool_details == {
        "tool_name": "look",
        "tool_call_id": "c1",
        "input_args": {"where": "Lyon"},
        "output": "no",
        "content_for_user": None,
        "error": "no",
        "status": "error",
    }


def test_arguments_that_are_no_json_are_empty_and_unknown_parents_none() -> None:
    calls = [{"id": "c1", "function": {"arguments": "{"}}, {"id": "c2"}]
    trace = AgentTraceCollector().build_from_entries(
        log(
            (AssistantStepCommitted, {**ASSISTANT, "tool_calls": calls}),
            (ToolStepCommitted, {**TOOL, "metrics": StepMetrics(duration_ms=3.0)}),
            (ToolStepCommitted, {**TOOL, "tool_call_id": "c2"}),
            (CompactionFailed, {"error": "long", "attempt": 1, "max_attempts": 3}),
            (RunFinished, {}),
            (LLMCallCompleted, {}),
        )
    )
    [first, second, failed, call] = trace.spans
    assert [each.tool_details["input_args"] for each in (first, second)] == [{}, {}]
    assert first.tool_details["metrics"] == {"duration_ms": 3.0}
    assert first.metrics == {"tool.exec_time_ms": 3.0, "duration_ms": 3.0}
    assert (failed.status, failed.attributes["terminal"]) == ("error", False)
    assert (call.name, call.parent_span_id, call.depth, call.metrics) == ("llm", None, 1, {})
    assert (trace.status, trace.end_time, trace.root_span_id) == ("running", None, None)


class Kept(BaseTraceStorage):
    """Keeps a copy of each trace that is saved."""

    def __init__(self) -> None:
        self.saved: list[Trace] = []

    async def save_trace(self, trace: Trace) -> None:
        self.saved.append(deepcopy(trace))

    async def get_trace(self, trace_id: str) -> Trace | None:
        return None

    async def query_traces(self, query: TraceQuery | Mapping[str, Any]) -> list[Trace]:
        return []

    async def close(self) -> None: ...


def test_a_collector_saves_once_for_each_commit_and_at_its_end() -> None:
    async def work() -> list[Trace]:
        store = Kept()
        collector = AgentTraceCollector(store)
        await collector.on_run_log_entries(WHOLE[:1])
        await collector.stop()
        assert (store.saved, collector.trace_id) == ([], None)
        collector.start("t", agent_id="mine", session_id="s", user_id="u", input_query="q")
        await collector.on_run_log_entries(WHOLE[:5])
        await collector.on_run_log_entries(WHOLE[5:-1])
        await collector.stop()
        await collector.stop()
        await collector.on_run_log_entries(WHOLE[-1:])
        assert collector.trace == store.saved[-1]
        return store.saved

    saved = asyncio.run(work())
    assert [len(trace.spans) for trace in saved] == [3, 7, 7]
    assert {trace.trace_id for trace in saved} == {"t"}
    last = saved[-1]
    assert (last.agent_id, last.session_id, last.user_id, last.input_query) == (
        *("mine", "s", "u", "q"),
    )
    assert (last.status, last.end_time is None) == ("running", False)


def test_spans_are_added_up() -> None:
    trace = Trace()
    for kind in SpanKind:
        metrics = {"tokens.input": 2, "tokens.output": None, "token_cost": 0.5}
        trace.add_span(Span(trace_id=trace.trace_id, kind=kind, name="n", metrics=metrics, depth=4))
    assert (trace.total_input_tokens, trace.total_output_tokens) == (2, 0)
    assert (trace.total_token_cost, trace.total_llm_calls, trace.total_tool_calls) == (0.5, 1, 1)
    assert (trace.max_depth, len(trace.spans)) == (4, 4)


def test_spans_and_traces_end_now_unless_it_is_said_when() -> None:
    span = Span(trace_id="t", kind=SpanKind.RUNTIME, name="n", start_time=NOON)
    span.complete(SpanStatus.ERROR, "no", "out", at=NOON + timedelta(seconds=1))
    assert (span.duration_ms, span.error_message, span.output_preview) == (1000, "no", "out")
    trace = Trace(start_time=NOON)
    trace.complete(final_output="done")
    assert trace.status is SpanStatus.OK
    assert trace.end_time is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"limit": 501},
        {"limit": "9"},
        {"offset": -1},
        {"status": "rain"},
        {"start_time": "yesterday"},
        {"end_time": 7},
        {"min_duration_ms": "long"},
    ],
)
def test_a_query_out_of_bounds_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"TraceQuery.{min(wrong)} is"):
        TraceQuery(**wrong)
