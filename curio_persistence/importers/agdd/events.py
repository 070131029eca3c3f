"""Read lines of a run folder's files as events: which name becomes which field."""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime
from typing import Any

from curio_persistence.errors import InvalidValueError
from curio_persistence.importers.agdd.run import RunFacts, error_text, fitting
from curio_persistence.importers.common.json_lines import moment
from curio_persistence.models import MCP_CALL, METRIC, AgentRunEvent, Level

_LOG = frozenset({"run_id", "event", "timestamp", "data", "span_id", "parent_span_id"})
_ENVELOPE = frozenset(
    {
        *("ts", "run_id", "agent_slug", "type", "level", "msg", "message", "payload", "trace_id"),
        *("span_id", "parent_span_id", "contract_id", "contract_version", "artifact_uri"),
    }
)
_MCP_CALL = frozenset({"run_id", "timestamp", "span_id", "parent_span_id"})
_MCP_NAMES = {"server_id": "server", "arguments": "args", "latency_ms": "duration_ms"}
_LEVELS = {"error": Level.ERROR.value, "retry": Level.WARNING.value}


def agent_in(entry: dict[str, Any]) -> str | None:
    """Return the agent, if the line names one."""
    data = entry.get("data")
    try:
        if entry.get("event") == "start" and isinstance(data, dict):
            return fitting("agent_id", data, "slug") or fitting("agent_id", data, "agent")
        return fitting("agent_id", entry, "agent_slug")
    except InvalidValueError:
        return None  # Which is told where the line is read.


def of_log(run: RunFacts, entry: dict[str, Any]) -> AgentRunEvent:
    """Read a line of `logs.jsonl`, which may also tell how the run began or ended."""
    event_type, data = _type(entry, "event"), entry.get("data")
    timestamp = _when(run, entry, "timestamp")
    told = _as_object(data)
    run.learn(event_type, told, timestamp)
    event = _event(run, entry, event_type, timestamp, _LOG)
    event.data = data
    event.level = _LEVELS.get(event_type, event.level)
    if event_type in _LEVELS:
        event.message = error_text(told)
    return event


def _as_object(data: Any) -> dict[str, Any]:
    if isinstance(data, dict):
        return data
    return {} if data is None else {"message": data}


def of_envelope(run: RunFacts, entry: dict[str, Any]) -> AgentRunEvent:
    """Read a line of `events.jsonl`."""
    timestamp = _when(run, entry, "ts")
    fitting("agent_id", entry, "agent_slug")
    event = _event(run, entry, _type(entry, "type"), timestamp, _ENVELOPE)
    event.data = entry.get("payload")
    event.level = entry.get("level") or event.level
    event.message = entry.get("msg") or entry.get("message")
    event.trace_id = entry.get("trace_id")
    event.contract_id = entry.get("contract_id")
    event.contract_version = entry.get("contract_version")
    event.artifact_uri = entry.get("artifact_uri")
    return event


def of_mcp_call(run: RunFacts, entry: dict[str, Any]) -> AgentRunEvent:
    """Read a line of `mcp_calls.jsonl` into the names that `payloads.McpCall` has."""
    timestamp = _when(run, entry, "timestamp")
    event = _event(run, entry, MCP_CALL, timestamp, entry.keys())
    event.data = payload = {
        _MCP_NAMES.get(name, name): value for name, value in entry.items() if name not in _MCP_CALL
    }
    if payload.get("status") in ("error", "failed", "failure"):
        payload.setdefault("error", payload["status"])
    if payload.get("error"):
        event.level = Level.ERROR.value
        event.message = error_text(payload)
    return event


def of_metric(run: RunFacts, name: str, entry: Any) -> AgentRunEvent:
    """Read one value of `metrics.json`."""
    if not isinstance(entry, dict) or "value" not in entry:
        raise InvalidValueError("is not an object with a value")
    timestamp = _when(run, entry, "timestamp")
    run.measured(name, entry["value"])
    event = _event(run, entry, METRIC, timestamp, {"run_id", "value", "timestamp"})
    event.data = {"name": name, "value": entry["value"]}
    return event


def _event(
    run: RunFacts, entry: dict[str, Any], event_type: str, timestamp: datetime, known: Set[str]
) -> AgentRunEvent:
    """Return an event with the fields that all have; unknown names are kept as metadata."""
    event = AgentRunEvent(run.agent_id, run.run_id, run.agent_name, timestamp, event_type)
    event.span_id = entry.get("span_id")
    event.parent_span_id = entry.get("parent_span_id")
    if not entry.keys() <= known:
        event.metadata = {name: entry[name] for name in entry if name not in known}
    return event


def _when(run: RunFacts, entry: dict[str, Any], name: str) -> datetime:
    """Return the time of an entry; refuse one of another run."""
    named = entry.get("run_id")
    if named is not None and named != run.run_id:
        raise InvalidValueError(f"belongs to another run, {named!r}")
    timestamp = moment(entry.get(name))
    run.saw(timestamp)
    return timestamp


def _type(entry: dict[str, Any], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str):
        raise InvalidValueError(f"has no text under {name!r}")
    return value
