"""The records that spans make: runs of agents, calls of models and of tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from curio_persistence.interop.otel.neighbours import Key, Node
from curio_persistence.interop.otel.records import identifier, moment_of
from curio_persistence.interop.otel.spans import Call, Meaning, MeaningKind
from curio_persistence.interop.otel.trees import filled
from curio_persistence.interop.otel.words import label
from curio_persistence.models import TOOL_CALL, AgentLLMUsage, AgentRun, AgentRunEvent, Level
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import EVENTS, OF_SPAN, RUNS, USAGE

_ADDED = ("id", "updated_at", "content_scope", "stub", "indexed_at", "stripped")
_STATUSES = {"completed": "success"}


class Place(NamedTuple):
    """Where a record belongs: a run with its agent, and what it has of the spans above it."""

    run_id: str | None
    agent_id: str | None
    agent_name: str
    parent_run_id: str | None
    session_id: str | None
    user_id: str | None


PLACES: Mapping[Table[Any], tuple[str, ...]] = {
    RUNS: ("agent_id", "agent_name", "parent_run_id", "session_id", "user_id"),
    USAGE: ("run_id", "agent_id"),
    EVENTS: ("run_id", "agent_id", "agent_name", "session_id"),
}
"""The columns of a record that change when it moves."""


def place_in(table: Table[Any], place: Place) -> tuple[str | None, ...]:
    """Return the values that a place has in a table."""
    return tuple(getattr(place, name) for name in PLACES[table])


def content(row: Row) -> Row:
    """Return what an encoded row says, without what its database adds."""
    return {n: v for n, v in row.items() if n not in _ADDED and v is not None}


def event_id(key: Key) -> str:
    """Return the name by which the record of a span is known."""
    return f"{OF_SPAN}{key[0]}:{key[1]}"


def run_of(node: Node, meaning: Meaning, others: Sequence[Meaning], place: Place) -> AgentRun:
    """Return the run of an agent's span, or of a root that stands for one.

    Words that it does not tell are taken from others of the same run.
    """
    told = (meaning, *others)
    objective = next((each.input for each in told if each.input is not None), "")
    output = next((each.output for each in told if each.output is not None), None)
    started_at, _ = moment_of(node.start_ns)
    return AgentRun(
        place.agent_id or "",
        place.run_id or "",
        place.agent_name,
        objective=objective,
        started_at=started_at,
        finished_at=None if node.end_ns is None else moment_of(node.end_ns)[0],
        final_synthesis_output=output,
        status=meaning.status,
        error_message=meaning.error_message,
        created_at=started_at,
        session_id=place.session_id,
        parent_run_id=place.parent_run_id,
        tags=[*meaning.tags] or None,
        user_id=place.user_id,
    )


def call_of(node: Node, meaning: Meaning, others: Sequence[Meaning], place: Place) -> AgentLLMUsage:
    """Return the call of a model; what its span does not tell is taken from others of the call."""
    told = meaning.call or Call()
    calls = [other.call for other in others if other.call is not None]
    call = filled(told, calls)
    response = call.response
    return AgentLLMUsage(
        place.agent_id,
        place.run_id,
        label(call.provider or ""),
        label(call.model or call.request_model or ""),
        call.prompt or "",
        len(call.prompt or ""),
        _params(node, meaning, call),
        call.input_tokens,
        call.output_tokens,
        response,
        None if response is None else len(response),
        _metrics(call),
        _STATUSES.get(meaning.status, meaning.status),
        meaning.error_message,
        latency_ms=_milliseconds(node),  # type: ignore[arg-type]  # The column rounds it.
        created_at=moment_of(node.start_ns if node.end_ns is None else node.end_ns)[0],
        span_id=node.span_id,
        cache_read_tokens=call.cache_read_tokens,
        cache_write_tokens=call.cache_write_tokens,
        reasoning_tokens=call.reasoning_tokens,
        event_id=event_id(node.key),
        trace_id=node.trace_id,
        parent_span_id=node.parent_span_id,
    )


def _params(node: Node, meaning: Meaning, call: Call) -> dict[str, Any] | None:
    params = dict(call.params or {})
    if call.request_model is not None and call.request_model != call.model:
        params.setdefault("model", call.request_model)
    if meaning.kind is MeaningKind.EMBEDDING:
        params.setdefault("operation", "embeddings")
    return params or None


def _metrics(call: Call) -> dict[str, Any] | None:
    metrics = dict(call.details or {})
    if call.reported_cost is not None:
        metrics["reported_cost"] = str(call.reported_cost)
    return metrics or None


def tool_call_of(node: Node, meaning: Meaning, place: Place) -> AgentRunEvent:
    """Return the event of a call of a tool."""
    tool = meaning.tool
    assert tool is not None, "tools have a use"
    assert place.run_id is not None, "events have a run"
    ended_at, _ = moment_of(node.start_ns if node.end_ns is None else node.end_ns)
    error = tool.error
    if error is None and meaning.status == "error":
        error = meaning.error_message or "error"
    data = {
        "tool_name": tool.name,
        "args": tool.arguments,
        "result": tool.result,
        "latency_ms": _milliseconds(node),
        "error": error,
    }
    if tool.call_id is not None:
        data["call_id"] = tool.call_id
    return AgentRunEvent(
        place.agent_id or "",
        place.run_id,
        place.agent_name,
        ended_at,
        TOOL_CALL,
        data,
        created_at=ended_at,
        event_id=event_id(node.key),
        session_id=place.session_id,
        level=Level.INFO.value if error is None else Level.WARNING.value,
        trace_id=node.trace_id,
        span_id=node.span_id,
        parent_span_id=node.parent_span_id,
    )


def _milliseconds(node: Node) -> float | None:
    return None if node.end_ns is None else (node.end_ns - node.start_ns) / 1e6


def agent_of(node: Node) -> tuple[str, str]:
    """Return the id and the name of the agent of a run's span."""
    name = identifier(node.meaning.agent_name) or identifier(node.name) or "agent"
    return identifier(node.meaning.agent_id) or name, name
