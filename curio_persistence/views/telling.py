"""The meaning of events: their payload under the few names that all kinds of steps share."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from curio_persistence.models import METRIC
from curio_persistence.tables.events import TOOL_EVENTS, tool_error_in
from curio_persistence.views.values import is_number

TOOL, MODEL, RUN, SPAN = "tool", "model", "run", "span"
"""The kinds of steps that are not named as an event's type."""

BEGINS, ENDS = ("tool_call_started", "span_started"), ("tool_call", "span")
"""The types of the events by which tool calls and spans begin and end."""
KINDS = {"tool_call": TOOL, "tool_call_started": TOOL, "span": SPAN, "span_started": SPAN}


class _Known(NamedTuple):
    """The fields of a payload that name the step, and those that describe it."""

    name: tuple[str, ...]
    parts: tuple[str, ...]


_KNOWN = {
    TOOL: _Known(("tool_name",), ("args", "result")),
    SPAN: _Known(("name",), ("kind", "input", "output")),
    "mcp.call": _Known(("server", "tool"), ("args", "result", "token_count")),
    "metric": _Known(("name",), ("value", "unit", "tags")),
    "log": _Known(("message",), ("logger", "extra")),
    "delegation": _Known(("target_agent",), ("status", "task_id", "target_run_id")),
    "artifact": _Known(("name",), ("type", "size_bytes", "mime_type", "checksum", "metadata")),
    "iteration_started": _Known((), ("iteration",)),
}
_UNKNOWN = _Known((), ())


_TOOK = ("latency_ms", "duration_ms")


class Told(NamedTuple):
    """The words and numbers that one event tells."""

    kind: str
    name: str
    parts: Mapping[str, Any]
    error: str | None
    took_ms: float | None
    cost_usd: Decimal | None
    traceback: Any


def told_by(event_type: str, payload: Any, message: str | None) -> Told:
    """Return what an event tells; `parts` are the words and numbers of its parsed payload."""
    left = dict(payload) if isinstance(payload, dict) else {}
    kind = KINDS.get(event_type, event_type)
    took_ms = _number(left, *_TOOK)
    error = _error(left, event_type)
    cost = _number(left, "cost_usd") if kind == "mcp.call" else None
    known = _KNOWN.get(kind, _UNKNOWN)
    name = "/".join(str(left.pop(key)) for key in known.name if left.get(key) is not None)
    parts = {key: left.pop(key) for key in known.parts if key in left}
    traceback = left.pop("traceback", None)
    rest = left or None if isinstance(payload, dict) else payload
    return Told(
        kind,
        name or message or "",
        parts if rest is None else {**parts, "data": rest},
        error,
        took_ms,
        None if cost is None else Decimal(str(cost)),
        traceback,
    )


def told_in_brief(event_type: str, payload: Any, message: str | None) -> Told:
    """Return what an event tells, of a tool call with its whole payload as `parts`: for lists."""
    if KINDS.get(event_type) != TOOL or not isinstance(payload, dict):
        return told_by(event_type, payload, message)
    took = next((payload[key] for key in _TOOK if is_number(payload.get(key))), None)
    name = payload.get("tool_name")
    name = (message or "") if name is None else str(name)
    return Told(TOOL, name, payload, tool_error_in(payload), took, None, None)


def _number(fields: dict[str, Any], *keys: str) -> float | None:
    """Take out the first number of these that is there."""
    key = next((key for key in keys if is_number(fields.get(key))), None)
    return None if key is None else fields.pop(key)


def _error(fields: dict[str, Any], event_type: str) -> str | None:
    """Take out what went wrong.

    Only of a tool call a number says so: elsewhere it is, say, how far a guess was off.
    """
    value = fields.get("error")
    is_number = not isinstance(value, bool | None) and isinstance(value, int | float)
    if event_type == METRIC or (is_number and event_type not in TOOL_EVENTS):
        return None
    error = tool_error_in(fields)
    fields.pop("error", None)
    return error
