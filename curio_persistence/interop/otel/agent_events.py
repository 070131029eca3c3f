"""Log records of coding agents as records of our tables."""

from __future__ import annotations

import re
from _blake2 import blake2b  # Ten times as quick to import as hashlib.
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from curio_persistence.interop.otel.attribute_reader import amount, count, word
from curio_persistence.interop.otel.coding_agents import (
    CODING_AGENTS,
    DENIED,
    HIDDEN,
    CodingAgent,
    Role,
)
from curio_persistence.interop.otel.records import moment_of
from curio_persistence.interop.otel.spans import Attributes, OtelLog
from curio_persistence.interop.otel.words import as_text, label, parsed
from curio_persistence.models import MCP_CALL, TOOL_CALL, AgentLLMUsage, AgentRunEvent, Level

ID_LENGTH = 80
"""Characters of a session's or a turn's id that are kept: a run's id has both."""
_MCP = re.compile("mcp__(.+?)__(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class AgentEvent:
    """An event of a coding agent, and what it tells."""

    agent: CodingAgent
    type: str
    """Its name with the prefix, such as `claude_code.user_prompt`."""
    role: Role
    session_id: str
    turn_id: str | None
    time: datetime
    attributes: Attributes
    event_id: str
    """The same for what tells the same, whenever and however often it comes."""

    def text(self, field: str) -> str | None:
        """Return a field that is text; None if the agent was not asked to tell it."""
        found = next(filter(None, map(word, self._values(field))), None)
        return None if found in HIDDEN else found

    def name(self, field: str) -> str | None:
        """Return a field that is a name or an id, as a column holds it."""
        text = self.text(field)
        return None if text is None else label(text)

    def value(self, field: str) -> Any:
        """Return a field of any type, from JSON if it is some."""
        return parsed(next(self._values(field), None))

    def total(self, field: str) -> int | None:
        """Return the sum of a field's numbers; None if the first is unknown."""
        counts = [count(self.attributes.get(key)) for key in self.agent.keys.get(field, ())]
        return None if not counts or counts[0] is None else sum(each or 0 for each in counts)

    def cost(self) -> Decimal | None:
        return next(filter(None, map(amount, self._values("cost"))), None)

    def milliseconds(self) -> int | None:
        return count(next(self._values("duration"), None))

    def has_failed(self) -> bool:
        return str(next(self._values("success"), True)).lower() == "false"

    def is_denied(self) -> bool:
        return (self.text("decision") or "").lower() in DENIED

    def _values(self, field: str) -> Iterator[Any]:
        for key in self.agent.keys.get(field, ()):
            value = self.attributes.get(key)
            if value is not None and value != "":
                yield value


def agent_event(log: OtelLog) -> AgentEvent | None:
    """Return the event of a coding agent that a log record is; None for any other record."""
    for name in (log.event_name, log.attributes.get("event.name"), log.body):
        if not isinstance(name, str):
            continue
        for prefix, agent in CODING_AGENTS.items():
            if name.startswith(prefix):
                return _event(log, agent, name, name.removeprefix(prefix))
    return None


def _event(log: OtelLog, agent: CodingAgent, name: str, short: str) -> AgentEvent | None:
    role = agent.roles.get(f"{short}:{log.attributes.get('event.kind')}")
    role = role or agent.roles.get(short, Role.EVENT)
    session_id = session_of(agent, log.attributes)
    if session_id is None:
        return None
    return AgentEvent(
        agent,
        kept_id(name),
        role,
        session_id,
        _id(log.attributes, agent, "turn"),
        moment_of(log.time_ns)[0],
        log.attributes,
        _event_id(log, agent, name, role),
    )


def session_of(agent: CodingAgent, attributes: Attributes) -> str | None:
    """Return the id of the session in which something happened."""
    return _id(attributes, agent, "session")


def _id(attributes: Attributes, agent: CodingAgent, field: str) -> str | None:
    found = (word(attributes.get(key)) for key in agent.keys.get(field, ()))
    text = next(filter(None, found), None)
    return None if text is None else kept_id(text)


def kept_id(text: str) -> str:
    """Return an id or a name as a column holds it."""
    return label(text, ID_LENGTH)


def _event_id(log: OtelLog, agent: CodingAgent, name: str, role: Role) -> str:
    """Return the agent's own id of a call, otherwise one of what the record says."""
    field = {Role.CALL: "call_id", Role.TOOL: "tool_call_id"}.get(role)
    if field is not None and (own := _id(log.attributes, agent, field)) is not None:
        return f"{agent.name}:{own}"
    told = as_text([name, log.time_ns, sorted(log.attributes.items(), key=lambda item: item[0])])
    digest = blake2b(told.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    return f"{agent.name}:{digest}"


def call_of(event: AgentEvent, run_id: str) -> AgentLLMUsage:
    """Return the call of a model that an event tells."""
    error = _failure(event) if event.role is Role.FAILURE else None
    return AgentLLMUsage(
        event.agent.name,
        run_id,
        event.agent.provider or "",
        event.name("model") or "",
        input_tokens=event.total("input_tokens"),
        output_tokens=event.total("output_tokens"),
        cache_read_tokens=event.total("cache_read_tokens"),
        cache_write_tokens=event.total("cache_write_tokens"),
        reasoning_tokens=event.total("reasoning_tokens"),
        usage_metrics=_metrics(event),
        status="success" if error is None else "error",
        error_message=error,
        latency_ms=event.milliseconds(),
        created_at=event.time,
        event_id=event.event_id,
    )


def _metrics(event: AgentEvent) -> dict[str, Any] | None:
    names = ("request_id", "query_source", "agent.name", "speed", "attempt", "status_code")
    told = {name: event.attributes[name] for name in names if event.attributes.get(name)}
    if (cost := event.cost()) is not None:
        told["reported_cost"] = str(cost)
    return told or None


def _failure(event: AgentEvent) -> str:
    return event.text("error") or "error"


def event_of(event: AgentEvent, run_id: str) -> AgentRunEvent:
    """Return an event of a run: the call of a tool, or the record as it came."""
    is_tool = event.role is Role.TOOL or (event.role is Role.DECISION and event.is_denied())
    error = _tool_error(event) if is_tool else None
    type_, data = _tool_call(event, error) if is_tool else (event.type, event.attributes)
    is_bad = error is not None or event.role is Role.FAILURE
    return AgentRunEvent(
        event.agent.name,
        run_id,
        event.agent.name,
        event.time,
        type_,
        data,
        created_at=event.time,
        event_id=_tool_id(event) if is_tool else event.event_id,
        session_id=event.session_id,
        level=Level.WARNING.value if is_bad else Level.INFO.value,
        span_id=_id_of_tool(event) if is_tool else None,
    )


def _tool_id(event: AgentEvent) -> str:
    """Return one id for the decision about a call of a tool and its result."""
    own = _id_of_tool(event)
    return event.event_id if own is None else f"{event.agent.name}:{own}"


def _id_of_tool(event: AgentEvent) -> str | None:
    return _id(event.attributes, event.agent, "tool_call_id")


def _tool_error(event: AgentEvent) -> str | None:
    if event.role is Role.DECISION:
        return "denied"
    return _failure(event) if event.has_failed() else None


def _tool_call(event: AgentEvent, error: str | None) -> tuple[str, dict[str, Any]]:
    name = event.name("tool") or "tool"
    arguments, result = event.value("arguments"), event.value("result")
    if (remote := _MCP.fullmatch(name)) is not None:
        return MCP_CALL, {
            "server": remote[1],
            "tool": remote[2],
            "args": arguments,
            "result": result,
            "duration_ms": event.milliseconds(),
            "error": error,
        }
    return TOOL_CALL, {
        "tool_name": name,
        "args": arguments,
        "result": result,
        "latency_ms": event.milliseconds(),
        "error": error,
        "call_id": event.name("tool_call_id"),
    }
