"""Received spans, and the runs, calls and events that they make, asked of the database."""

from __future__ import annotations

import random
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRunEvent,
    InMemoryPersistence,
    Persistence,
)
from curio_persistence.interop.otel.receiving import Receiver, Stored
from curio_persistence.tables import TABLES
from tests.support.otel_dumps import dump
from tests.support.otlp_corpus import CAPTURES, spans, telemetry

MIXED = ("double-langgraph-parallel", "openinference-openai-agents-nested", "pydantic-ai-toolfail")


def told_by(persistence: Persistence) -> dict[str, Any]:
    """Return what a database tells of received spans, in the form of the manifest."""
    runs = sorted(persistence.iter_agent_runs(order="oldest"), key=lambda run: run.run_id)
    runs.sort(key=lambda run: run.started_at or run.created_at)  # type: ignore[arg-type, return-value]
    names = {run.run_id: run.agent_name for run in runs}
    saved = [*persistence.traces.spans(order="oldest")]
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
    )
    calls = told["llm_calls"]
    return {name: told[name] for name in same} | {
        "llm_calls": len(calls),
        "failed": sum(call["failed"] for call in calls),
    }


@pytest.mark.parametrize("capture", CAPTURES)
def test_all_figures_of_a_capture_are_had_from_the_database(
    persistence: Persistence, capture: str
) -> None:
    Receiver(persistence).spans(spans(capture))
    assert told_by(persistence) == expected(capture)


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
