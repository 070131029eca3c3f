"""Dataclasses for the payloads of five well-known event types: optional to use.

`persistence.append_event(run_id, agent_id, "metric", payload=Metric("accuracy", 0.93))` stores one,
and `payload_of(event)` reads it back. A payload may as well be a dictionary of the same fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, ClassVar

from curio_persistence.models import MCP_CALL, METRIC, AgentRunEvent


class Payload:
    """The base of the five."""

    __slots__ = ()

    event_type: ClassVar[str]
    """The event type under which it is stored."""


@dataclass(frozen=True, slots=True)
class Log(Payload):
    """A line of a log; `extra` is what came with it."""

    event_type: ClassVar[str] = "log"

    message: str
    logger: str | None = None
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class McpCall(Payload):
    """One finished call of a tool of an MCP server. Statistics count it as `server/tool`."""

    event_type: ClassVar[str] = MCP_CALL

    server: str
    tool: str
    args: Any = None
    result: Any = None
    duration_ms: float | None = None
    token_count: int | None = None
    cost_usd: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Metric(Payload):
    """One measured value, as `query_metrics` adds them up. A Decimal becomes a float."""

    event_type: ClassVar[str] = METRIC

    name: str
    value: float | Decimal
    unit: str | None = None
    tags: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.value, Decimal):  # JSON would have it as text.
            object.__setattr__(self, "value", float(self.value))


@dataclass(frozen=True, slots=True)
class Delegation(Payload):
    """A task handed to another agent."""

    event_type: ClassVar[str] = "delegation"

    task_id: str
    target_agent: str
    target_run_id: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Artifact(Payload):
    """Something that a run made; where it is stands in the event's `artifact_uri`."""

    event_type: ClassVar[str] = "artifact"

    name: str
    type: str | None = None
    size_bytes: int | None = None
    mime_type: str | None = None
    checksum: str | None = None
    metadata: Mapping[str, Any] | None = None


_KNOWN: Mapping[str, type[Payload]] = {
    kind.event_type: kind for kind in (Log, McpCall, Metric, Delegation, Artifact)
}


def payload_of(event: AgentRunEvent) -> Any:
    """The payload as its dataclass; as `to_envelope()` has it where it is none of the five.

    Keys that the dataclass does not know are left out; one that it needs and does not find makes
    the payload none of the five.
    """
    payload = event.to_envelope()["payload"]
    kind: Any = _KNOWN.get(event.event_type)
    if kind is None or not isinstance(payload, dict):
        return payload
    names = {field.name for field in fields(kind)}
    try:
        return kind(**{name: value for name, value in payload.items() if name in names})
    except TypeError:
        return payload
