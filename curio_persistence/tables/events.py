"""The table of events, and the values derived from their payloads when they are written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from curio_persistence.models import (
    MCP_CALL,
    METRIC,
    TOOL_CALL,
    AgentRunEvent,
    EventType,
    Level,
)
from curio_persistence.store import codecs
from curio_persistence.store.column import Column
from curio_persistence.store.filters import Order
from curio_persistence.store.json_text import json_text as as_json
from curio_persistence.store.table import M, Reference, Row, StoredValue, Table
from curio_persistence.tables.columns import (
    content_scope,
    event_identifier,
    finite_number,
    identifier,
    integer,
    json_text,
    links,
    name,
    object_in,
    optional_identifier,
    stored_time,
    text,
)
from curio_persistence.tables.runs import RUNS
from curio_persistence.tables.translation import translator

TOOL_STEP = "tool_step_committed"
"""The entry of a run log that has the result of a tool."""
TOOL_EVENTS = frozenset(
    {TOOL_CALL, MCP_CALL, EventType.ACTION_EXECUTION_COMPLETED.value, TOOL_STEP}
)
_NAME_KEYS = ("tool_name", "tool", "action", "action_name")
_LATENCY_KEYS = ("latency_ms", "duration_ms")


SEVERITIES: Mapping[StoredValue, int] = {
    Level.WARNING.value: 30,
    Level.ERROR.value: 40,
    Level.CRITICAL.value: 50,
}
"""The severity of the levels above `info`, in the numbers of Python's logging."""


def tool_error_in(payload: Mapping[str, Any]) -> str | None:
    """Return what the payload of a tool call names as its `error`; None if it did not fail.

    A number other than 0 is the code of an error.
    """
    error = payload.get("error")
    if not error:
        return None
    if error is True:
        return "error"
    return error if isinstance(error, str) else as_json(error)


def derive_event_columns(row: Row) -> None:
    """Compute the internal columns of an event from its others."""
    if (severity := SEVERITIES.get(row.get("level"))) is not None:
        row["severity"] = severity
    if row["event_type"] == TOOL_STEP:
        _lift_tool(row, _call_of_step(object_in(row["data"])))
    elif row["event_type"] in TOOL_EVENTS:
        _lift_tool(row, object_in(row["data"]))
    elif row["event_type"] == METRIC:
        _lift_metric(row, object_in(row["data"]))


def _lift_metric(row: Row, payload: Mapping[str, Any]) -> None:
    """Extract a metric's name and value from its payload, if the value is a finite number."""
    name, value = payload.get("name"), finite_number(payload.get("value"))
    if isinstance(name, str) and value is not None:
        row["metric_name"] = codecs.encode_label(name)
        row["metric_value"] = float(value)


def _call_of_step(step: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a step of a run log tells, under the names that a tool call has."""
    metrics = step.get("metrics")
    took = metrics.get("duration_ms") if isinstance(metrics, dict) else None
    return {"tool_name": step.get("name"), "error": bool(step.get("is_error")), "latency_ms": took}


def _lift_tool(row: Row, payload: Mapping[str, Any]) -> None:
    """Extract the statistics of a tool call from its payload, so that databases can sum them.

    Latency is stored in whole microseconds: sums are then exact and equal on every backend.
    """
    name = next((payload[key] for key in _NAME_KEYS if payload.get(key)), None)
    if name is None:
        return
    server = payload.get("server") if row["event_type"] == MCP_CALL else None
    row["tool_name"] = codecs.encode_label(f"{server}/{name}" if server else str(name))
    row["tool_error"] = 0 if tool_error_in(payload) is None else 1
    latency = next((payload[key] for key in _LATENCY_KEYS if key in payload), None)
    if isinstance(latency, int | float) and abs(latency) < 1e15:
        row["tool_latency_us"] = round(latency * 1000)


_COLUMNS = (
    identifier("agent_id"),
    identifier("run_id"),
    name("agent_name"),
    stored_time("timestamp"),
    name("event_type"),
    json_text("data"),
    integer("id"),
    stored_time("created_at"),
    event_identifier(),
    optional_identifier("session_id"),
    Column("level", codecs.encode_level, default=Level.INFO.value, optional=True),
    text("message", optional=True),
    optional_identifier("trace_id"),
    optional_identifier("span_id", repeats=False),
    optional_identifier("parent_span_id"),
    optional_identifier("contract_id"),
    optional_identifier("contract_version"),
    text("artifact_uri", optional=True),
    json_text("metadata", optional=True),
    *links(),
    Column("seq", codecs.encode_position, optional=True),
)
_DERIVED = (
    Column("tool_name", codecs.encode_label, optional=True),
    integer("tool_latency_us", optional=True),
    integer("tool_error", optional=True),
    integer("severity", optional=True),
    Column("metric_name", codecs.encode_label, optional=True),
    Column("metric_value", codecs.encode_real, optional=True),
)


def _events(model: type[M], columns: Sequence[Column], internal: Sequence[Column]) -> Table[M]:
    return Table(
        "agent_run_events",
        model,
        columns,
        internal=internal,
        derive=derive_event_columns,
        order=(Order("timestamp"), Order("id")),
        ages_by="timestamp",
        lookups=("run_id", "event_id", "session_id", "seq"),
        ddl="events.sql",
        unique=(("event_id",), ("run_id", "chain_position"), ("session_id", "seq")),
        references=Reference("run_id", RUNS),
        translate=translator(model, rest="metadata", names={}),
    )


EVENTS = _events(AgentRunEvent, _COLUMNS, (*_DERIVED, content_scope()))


@dataclass
class EventAsStored(AgentRunEvent):
    """An event with its internal columns, which are compared with a backup as well."""

    tool_name: str | None = None
    tool_latency_us: int | None = None
    tool_error: int | None = None
    severity: int | None = None
    metric_name: str | None = None
    metric_value: float | None = None


EVENTS_AS_STORED = _events(EventAsStored, (*_COLUMNS, *_DERIVED), ())
"""The same table with the internal columns."""

_HAVE: Mapping[str, Collection[str]] = {
    "tool_name": TOOL_EVENTS,
    "tool_latency_us": TOOL_EVENTS,
    "tool_error": TOOL_EVENTS,
    "severity": (),
    "metric_name": (METRIC,),
    "metric_value": (METRIC,),
}
"""The internal columns, and the types of the events whose text they are extracted from."""
DERIVED = tuple(_HAVE)
_derived_of = itemgetter(*DERIVED)


def contradictions(row: Row) -> tuple[str, ...]:
    """Return the internal columns of a stored event that its other columns contradict.

    The text of an event may have been removed since, or redacted apart from the names: then the
    names, and values that the text has lost, cannot be derived again.
    """
    again: Row = {name: row[name] for name in ("event_type", "level", "data")}
    derive_event_columns(again)
    if _derived_of(row) == tuple(map(again.get, DERIVED)):
        return ()  # Nearly always.
    return tuple(
        column
        for column, types in _HAVE.items()
        if row[column] != again.get(column)
        and (row["event_type"] not in types or column in again.keys() - EVENTS.extracted)
    )
