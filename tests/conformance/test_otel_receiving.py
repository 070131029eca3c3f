"""Received spans, and the runs, calls and events that they make, asked of the database."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRunEvent,
    InMemoryPersistence,
    Persistence,
    copy_records,
    export_records,
    import_records,
)
from curio_persistence.interop.otel.receiving import Receiver, Stored
from curio_persistence.interop.otel.spans import OtelEvent, OtelSpan
from curio_persistence.tables import TABLES
from tests.support.otel_dumps import dump
from tests.support.otlp_corpus import CAPTURES, spans, telemetry

pytestmark = pytest.mark.slow  # Not in the inner loop.

MIXED = ("double-langgraph-parallel", "openinference-openai-agents-nested", "pydantic-ai-toolfail")


def told_by(persistence: Persistence) -> dict[str, Any]:
    """Return what a database tells of received spans, in the form of the manifest."""
    runs = sorted(persistence.iter_agent_runs(order="oldest"), key=lambda run: run.run_id)
    runs.sort(key=lambda run: run.started_at or run.created_at)  # type: ignore[arg-type, return-value]
    names = {run.run_id: run.agent_name for run in runs}
    saved = [*persistence.traces.spans(order="oldest")]
    known = {(span.trace_id, span.span_id) for span in saved}
    agents = {span.run_id for span in saved if span.kind == "agent"}
    calls = [*persistence.iter_llm_usage(order="oldest")]
    models = [call for call in calls if not is_embedding(call)]
    events = [*persistence.iter_agent_run_events(order="oldest")]
    tools = sorted(events, key=began)
    return {
        "spans": len(saved),
        "runs": [
            {
                "agent": run.agent_name,
                "parent": run.parent_run_id and names[run.parent_run_id],
                "failed": run.status == "error",
                "llm_calls": sum(call.run_id == run.run_id for call in models),
                "tools": [name_of(event) for event in tools if event.run_id == run.run_id],
            }
            for run in runs
            if run.run_id in agents
        ],
        "other_roots": [run.agent_name for run in runs if run.run_id not in agents],
        "traces": len({span.trace_id for span in saved}),
        "orphans": sum(
            (span.trace_id, span.parent_span_id) not in known
            for span in saved
            if span.parent_span_id
        ),
        "retrievals": sum(span.kind == "retrieval" for span in saved),
        "sessions": sorted(
            {session.session_id for session in persistence.sessions.query(limit=None)}
        ),
        "calls": sorted(map(told_of, models)),
        "answers": sorted({span.response_id for span in saved if span.response_id}),
        "llm_calls": len(models),
        "input_tokens": sum(call.input_tokens or 0 for call in models),
        "output_tokens": sum(call.output_tokens or 0 for call in models),
        "cache_read_tokens": sum(call.cache_read_tokens or 0 for call in models),
        "cache_write_tokens": sum(call.cache_write_tokens or 0 for call in models),
        "reasoning_tokens": sum(call.reasoning_tokens or 0 for call in models),
        "failed": sum(call.status == "error" for call in models),
        "embeddings": len(calls) - len(models),
        "tools": [name_of(event) for event in tools],
        "tools_failed": sum(event.get_data_dict()["error"] is not None for event in events),
    }


_COUNTS = ("input", "output", "cache_read", "cache_write", "reasoning")


def told_of(call: AgentLLMUsage) -> str:
    """Return what a call tells of itself; None is unknown, and not 0."""
    counts = [getattr(call, f"{name}_tokens") for name in _COUNTS]
    return repr((*counts, call.status == "error"))


def told_in(call: dict[str, Any]) -> str:
    return repr((*(call[name] for name in _COUNTS), call["failed"]))


def is_embedding(call: AgentLLMUsage) -> bool:
    return call.get_input_params_dict().get("operation") == "embeddings"


def name_of(event: AgentRunEvent) -> str:
    return str(event.get_data_dict()["tool_name"])


def began(event: AgentRunEvent) -> tuple[float, str]:
    assert event.timestamp is not None
    took = event.get_data_dict()["latency_ms"]
    return event.timestamp.timestamp() - took / 1000, event.span_id or ""


def expected(capture: str) -> dict[str, Any]:
    told = telemetry(capture)
    same = (
        *("spans", "runs", "other_roots", "input_tokens", "output_tokens", "cache_read_tokens"),
        *("cache_write_tokens", "reasoning_tokens", "embeddings", "tools", "tools_failed"),
        *("traces", "orphans", "retrievals", "sessions"),
    )
    calls = told["llm_calls"]
    return {name: told[name] for name in same} | {
        "calls": sorted(map(told_in, calls)),
        "answers": sorted({call["response_id"] for call in calls if call["response_id"]}),
        "llm_calls": len(calls),
        "failed": sum(call["failed"] for call in calls),
    }


@pytest.mark.parametrize("capture", CAPTURES)
def test_all_figures_of_a_capture_are_had_from_the_database(
    persistence: Persistence, capture: str
) -> None:
    Receiver(persistence).spans(spans(capture))
    assert told_by(persistence) == expected(capture)
    calls = telemetry(capture)["llm_calls"]
    models = {call["response_model"] or call["model"] for call in calls} - {None}
    assert models <= {call.model for call in persistence.iter_llm_usage()}


def shuffled(capture: str, seed: int) -> list[Any]:
    found = [*spans(capture)]
    random.Random(seed).shuffle(found)
    return found


def forget_all(persistence: Persistence) -> None:
    """Delete all rows, of whatever kind."""
    for table in (*TABLES,):
        persistence._store.delete(table, ())


def receive(persistence: Persistence, some: list[Any], at_once: int) -> None:
    """Receive spans, so many in a body, and each body twice."""
    receiver = Receiver(persistence)
    for begin in range(0, len(some), at_once):
        for _ in range(2):
            receiver.spans(some[begin : begin + at_once])


@pytest.mark.parametrize("capture", MIXED)
def test_the_tables_do_not_depend_on_how_spans_come(persistence: Persistence, capture: str) -> None:
    Receiver(persistence).spans(spans(capture))
    whole = dump(persistence)
    with InMemoryPersistence() as reference:
        Receiver(reference).spans(spans(capture))
        assert dump(reference) == whole
    for at_once in (1, 8):
        forget_all(persistence)
        receive(persistence, shuffled(capture, at_once), at_once)
        assert dump(persistence) == whole


def test_spans_are_counted_and_stored_once(persistence: Persistence) -> None:
    receiver = Receiver(persistence)
    came = [*spans("pydantic-ai-steps")]
    assert receiver.spans(came[:3]) == Stored(new=3)
    assert receiver.spans(came) == Stored(new=len(came) - 3, repeated=3)
    assert receiver.spans(came) == Stored(repeated=len(came))


@pytest.mark.parametrize("capture", MIXED)
def test_received_spans_are_had_back_as_they_came(persistence: Persistence, capture: str) -> None:
    receiver = Receiver(persistence)
    receiver.spans(spans(capture))
    stored = {(span.trace_id, span.span_id): span for span in receiver.received()}
    assert stored == {(span.trace_id, span.span_id): span for span in spans(capture)}


def test_a_span_and_what_follows_from_it_are_one_span_of_the_trace(
    persistence: Persistence,
) -> None:
    receiver = Receiver(persistence)
    for capture in MIXED[1:]:
        receiver.spans(spans(capture))
    for capture in MIXED[1:]:
        [trace_id] = {span.trace_id for span in spans(capture)}
        trace = persistence.traces.get(trace_id)
        assert trace is not None
        ids = {span.span_id for span in spans(capture)}
        assert {span.span_id for span in trace.spans} == ids
        assert len(trace.spans) == trace.summary.spans == len(ids)
        assert trace.summary.runs == len(telemetry(capture)["runs"])
        assert trace.summary.model_calls == len(telemetry(capture)["llm_calls"])
        assert not any(node.parent_missing for node in trace.walk())
    listed = [summary.trace_id for summary in persistence.traces.query()]
    assert len(listed) == len({*listed}) == 2


def test_several_runs_without_a_parent_are_one_trace(persistence: Persistence) -> None:
    Receiver(persistence).spans(spans("otel-genai-openai-agents-handoff"))
    [summary] = persistence.traces.query()
    assert (summary.runs, summary.model_calls, summary.tool_calls) == (2, 4, 2)
    for run in persistence.get_agent_runs():
        trace = persistence.traces.get(run.run_id)
        assert trace is not None
        assert trace.summary == summary


def test_calls_wait_for_their_agent_in_a_run_of_the_service(persistence: Persistence) -> None:
    receiver = Receiver(persistence)
    *below, agent = spans("pydantic-ai-steps")
    assert agent.parent_span_id is None
    receiver.spans(below)
    [waiting] = persistence.get_agent_runs()
    assert (waiting.run_id, waiting.status) == (agent.trace_id, "running")
    assert persistence.get_agent_run_stats()["total_llm_calls"] == 4
    receiver.spans([agent])
    [run] = persistence.get_agent_runs()
    assert (run.run_id, run.status) == (f"{agent.span_id}-{agent.trace_id}", "completed")
    assert len(persistence.get_llm_usage(run_id=run.run_id)) == 4


def test_a_deleted_run_can_be_received_again(persistence: Persistence) -> None:
    receiver = Receiver(persistence)
    receiver.spans(spans("pydantic-ai-steps"))
    before = told_by(persistence)
    [run] = persistence.get_agent_runs()
    assert persistence.delete_agent_run(run.run_id)
    assert [*receiver.received()] == []
    receiver.spans(spans("pydantic-ai-steps"))
    assert told_by(persistence) == before


def test_a_run_that_was_recorded_here_stays_as_it_is(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="guide") as run:
        run.llm_call(model="acme-1", input_tokens=1, output_tokens=1)
    came = [*spans("pydantic-ai-steps")]
    agent = came[-1]
    came[-1] = replace(agent, attributes={**agent.attributes, "curio.run_id": run.run_id})
    Receiver(persistence).spans(came)
    assert [each.agent_id for each in persistence.get_agent_runs()] == ["guide"]
    assert len(persistence.get_llm_usage()) == 1


def test_a_copy_has_the_spans_with_their_senders(persistence: Persistence) -> None:
    Receiver(persistence).spans(spans("pydantic-ai-nested"))
    with InMemoryPersistence() as copy:
        assert copy_records(persistence, copy).ok
        assert dump(copy) == dump(persistence)
        assert {*map(repr, Receiver(copy).received())} == {
            *map(repr, Receiver(persistence).received())
        }


SECRET = "my key is sk-ant-api03-" + "x" * 90
KEPT = {"redactor": "all"}, {"capture_content": "metrics-only"}


@pytest.mark.parametrize("kept", KEPT, ids=["redactor", "metrics-only"])
def test_what_is_kept_of_words_passes_the_redactor_in_any_order(
    open_again: Callable[..., Persistence], kept: dict[str, Any]
) -> None:
    came = [with_secret(span) for span in spans("pydantic-ai-nested")]
    with InMemoryPersistence(**kept) as reference:
        Receiver(reference).spans(came)
        whole = dump(reference)
    assert "sk-ant" not in str(whole)
    with open_again(**kept) as persistence:
        random.Random(7).shuffle(came)
        receive(persistence, came, 1)
        assert dump(persistence) == whole
        calls = persistence.get_llm_usage()
        assert sum(call.input_tokens or 0 for call in calls) == 6356
        assert persistence.get_agent_run_stats()["tool_metrics"].keys() == {"research", "write"}


def with_secret(span: OtelSpan) -> OtelSpan:
    source = replace(span.source, resource={**span.source.resource, "note": SECRET})
    words = {**span.attributes, "note": SECRET}
    event = OtelEvent("note", span.start_ns, {"text": SECRET})
    return replace(span, attributes=words, events=(*span.events, event), source=source)


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_an_export_has_the_spans_with_their_senders(
    persistence: Persistence, tmp_path: Path, format: str
) -> None:
    Receiver(persistence).spans(spans("pydantic-ai-nested"))
    name = "export.jsonl" if format == "jsonl" else "export"
    report = export_records(persistence, tmp_path / name, format=format)
    with InMemoryPersistence() as copy:
        assert import_records(report.path, copy).ok
        assert dump(copy) == dump(persistence)


# --- runs whose own spans have no words ---------------------------------------------------------


REFUND = "I want a refund for order A-17"


def hits_of(persistence: Persistence) -> list[Any]:
    return [*persistence.search_text("refund", limit=50)]


def words(persistence: Persistence) -> dict[str, tuple[str | None, str | None]]:
    return {
        run.agent_name: (run.objective, run.final_synthesis_output)
        for run in persistence.get_agent_runs()
    }


def test_runs_without_words_have_those_of_their_calls(persistence: Persistence) -> None:
    receiver = Receiver(persistence)
    came = spans("openinference-openai-agents-handoff")
    receiver.spans(came)
    assert words(persistence) == {
        "Triage": (REFUND, None),  # Its only answer is a call of a tool.
        "Billing": (REFUND, "Your refund of 42.50 euros for order A-17 is on its way."),
    }
    whole = dump(persistence)
    for seed in range(3):
        forget_all(persistence)
        receive(persistence, shuffled("openinference-openai-agents-handoff", seed), 1)
        assert dump(persistence) == whole


@pytest.mark.parametrize(
    "own", [("input.value",), ("output.value",), ("input.value", "output.value")]
)
def test_words_of_calls_give_way_to_those_of_the_run(
    persistence: Persistence, own: tuple[str, ...]
) -> None:
    came = [*spans("openinference-openai-agents-handoff")]
    told = dict.fromkeys(own, "Its own words.")
    finished = [
        replace(span, attributes={**span.attributes, **told}) if span.name == "Billing" else span
        for span in came
    ]
    begun = [replace(span, end_ns=0) for span in came if span.name == "Billing"]
    with InMemoryPersistence() as reference:
        Receiver(reference).spans(finished)
        whole = dump(reference)
    receiver = Receiver(persistence)
    receiver.spans([span for span in came if span.name != "Billing"])
    receiver.spans(begun)
    assert words(persistence)["Billing"] == (REFUND, None)
    assert "Billing" in {getattr(hit.record, "agent_name", "") for hit in hits_of(persistence)}
    receiver.spans([span for span in finished if span.name == "Billing"])
    assert dump(persistence) == whole
    assert [each == "Its own words." for each in words(persistence)["Billing"]] == [
        name in own for name in ("input.value", "output.value")
    ]


def test_runs_have_no_words_of_calls_where_words_are_not_kept(
    open_again: Callable[..., Persistence],
) -> None:
    with open_again(capture_content="metrics-only") as persistence:
        Receiver(persistence).spans(spans("openinference-openai-agents-handoff"))
        assert {*words(persistence).values()} == {("", None)}
