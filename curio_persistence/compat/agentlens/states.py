"""Sessions and agents as they are stored: their rows of ours, and what AgentLens counts of them.

AgentLens stores counters, and keeps them when events are purged. They stand in `metadata`, under
`agentlens`, with the text of times.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from curio_persistence.compat.agentlens.records import (
    KEY,
    kept_in,
    object_of,
    parsed,
    text_for,
)
from curio_persistence.compat.agentlens.times import moment_of
from curio_persistence.compat.agentlens.values import Agent, AgentLensEvent, Session, camel
from curio_persistence.models import Agent as AgentRecord
from curio_persistence.models import AgentSession
from curio_persistence.store.codecs import encode_id, encode_label
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.payload_match import encode_pattern
from curio_persistence.tables.columns import finite_number

VERSION = 1
STORED: Where = (Filter("metadata", "contains", encode_pattern((KEY, "v"), VERSION)),)
"""The filter for rows that AgentLens has stored, or described."""
ACTIVE, IDLE, COMPLETED, ERROR = "active", "idle", "completed", "error"
SEVERE = ("error", "critical")
TOOL_ERROR = "tool_error"
COUNTERS = (
    "event_count",
    "tool_call_count",
    "error_count",
    "llm_call_count",
    "total_input_tokens",
    "total_output_tokens",
)


@dataclass
class SessionState:
    """A session as it is stored."""

    id: str
    agent_id: str
    started_at: str
    last_event_at: datetime
    status: str = ACTIVE
    agent_name: str | None = None
    ended_at: str | None = None
    event_count: int = 0
    tool_call_count: int = 0
    error_count: int = 0
    llm_call_count: int = 0
    total_input_tokens: int = 0
    total_output_tokens: int = 0
    total_cost_usd: Decimal = Decimal(0)
    tags: list[str] = field(default_factory=list)
    others: Mapping[str, Any] = field(default_factory=dict)
    """The other members of the metadata."""

    def add(self, event: AgentLensEvent, moment: datetime, cost: Decimal) -> None:
        """Count an event that was appended, and change what its type changes."""
        payload = object_of(event.payload)
        self.event_count += 1
        self.error_count += is_error(event)
        self.total_cost_usd += cost
        self.last_event_at = max(self.last_event_at, moment)
        match event.event_type:
            case "session_started":
                self._start(payload)
            case "session_ended":
                self.ended_at = event.timestamp
                self.status = ERROR if payload.get("reason") == "error" else COMPLETED
            case "tool_call":
                self.tool_call_count += 1
            case "llm_response":
                usage = object_of(payload.get("usage"))
                self.llm_call_count += 1
                self.total_input_tokens += int(_number(usage.get("inputTokens")))
                self.total_output_tokens += int(_number(usage.get("outputTokens")))

    def _start(self, payload: Mapping[str, Any]) -> None:
        self.status = ACTIVE
        self.agent_name = name_in(payload) or self.agent_name
        self.tags = _texts(payload.get("tags")) or self.tags

    def record(self) -> AgentSession:
        """Return the row of ours that this is."""
        kept = {
            "v": VERSION,
            **{camel(name): getattr(self, name) for name in COUNTERS},
            "totalCostUsd": str(self.total_cost_usd),
            "startedAt": self.started_at,
            "endedAt": self.ended_at,
            "agentName": self.agent_name,
            "tags": self.tags,
        }
        return AgentSession(
            session_id=self.id,
            agent_id=self.agent_id or None,
            agent_name=label(self.agent_name),
            status=self.status,
            started_at=moment_of(self.started_at, "startedAt"),
            ended_at=None if self.ended_at is None else moment_of(self.ended_at, "endedAt"),
            last_event_at=self.last_event_at,
            tags=list(filter(_is_tag, self.tags)) or None,
            metadata=_dumped({**self.others, KEY: kept}),
        )

    @classmethod
    def of(cls, record: AgentSession) -> SessionState:
        """Return the session of a row, which another program may have made."""
        kept, ended = kept_in(record.metadata), record.ended_at
        assert record.started_at is not None
        assert record.last_event_at is not None
        return cls(
            id=record.session_id,
            agent_id=record.agent_id or "",
            started_at=text_for(record.started_at, kept.get("startedAt")),
            last_event_at=record.last_event_at,
            status=record.status,
            agent_name=kept.get("agentName", record.agent_name or None),
            ended_at=None if ended is None else text_for(ended, kept.get("endedAt")),
            total_cost_usd=Decimal(kept.get("totalCostUsd", 0)),
            tags=kept.get("tags", record.tags or []),
            others=object_of(parsed(record.metadata)),
            **{name: kept.get(camel(name), 0) for name in COUNTERS},
        )

    def value(self, idle_since: datetime) -> Session:
        """Return the session as it reads: idle if nothing came since."""
        names = [each.name for each in fields(Session)]
        values = {name: getattr(self, name) for name in names}
        values["total_cost_usd"] = float(self.total_cost_usd)
        if self.status == ACTIVE and self.last_event_at < idle_since:
            values["status"] = IDLE
        return Session(**values)


@dataclass
class AgentState:
    """An agent as it is stored."""

    id: str
    name: str
    first_seen_at: str
    last_seen_at: str
    description: str | None = None
    others: Mapping[str, Any] = field(default_factory=dict)

    def see(self, time: str, moment: datetime) -> None:
        """Move the times at which the agent was seen to include another one."""
        if moment < moment_of(self.first_seen_at, "firstSeenAt"):
            self.first_seen_at = time
        if moment > moment_of(self.last_seen_at, "lastSeenAt"):
            self.last_seen_at = time

    def record(self) -> AgentRecord:
        """Return the row of ours that this is."""
        kept = {
            "v": VERSION,
            "name": self.name,
            "firstSeenAt": self.first_seen_at,
            "lastSeenAt": self.last_seen_at,
        }
        return AgentRecord(
            agent_id=self.id,
            name=label(self.name),
            description=self.description,
            first_seen_at=moment_of(self.first_seen_at, "firstSeenAt"),
            last_seen_at=moment_of(self.last_seen_at, "lastSeenAt"),
            metadata=_dumped({**self.others, KEY: kept}),
        )

    @classmethod
    def of(cls, record: AgentRecord) -> AgentState:
        """Return the agent of a row, which another program may have made."""
        kept = kept_in(record.metadata)
        is_kept = label(kept.get("name")) == record.name != ""
        assert record.first_seen_at is not None
        assert record.last_seen_at is not None
        return cls(
            id=record.agent_id,
            name=kept["name"] if is_kept else record.name or record.agent_id,
            first_seen_at=text_for(record.first_seen_at, kept.get("firstSeenAt")),
            last_seen_at=text_for(record.last_seen_at, kept.get("lastSeenAt")),
            description=record.description,
            others=object_of(parsed(record.metadata)),
        )

    def value(self, session_count: int) -> Agent:
        """Return the agent as it reads."""
        return Agent(
            id=self.id,
            name=self.name,
            first_seen_at=self.first_seen_at,
            last_seen_at=self.last_seen_at,
            session_count=session_count,
            description=self.description,
        )


def is_error(event: AgentLensEvent) -> bool:
    """Return whether an event counts as an error."""
    return event.severity in SEVERE or event.event_type == TOOL_ERROR


def name_in(payload: Mapping[str, Any]) -> str | None:
    """Return the name of the agent in a payload."""
    name = payload.get("agentName")
    return name if isinstance(name, str) and name else None


def label(text: Any) -> str:
    """Return a text as a name that can be stored, cut if it is long."""
    return encode_label(text) if isinstance(text, str) else ""


def _number(value: Any) -> int | float:
    return finite_number(value) or 0


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _is_tag(tag: str) -> bool:
    try:
        return bool(encode_id(tag))
    except ValueError:
        return False


def storable_tags(tags: Iterable[Any]) -> tuple[str, ...]:
    """Return those of some tags that a session can be found by."""
    return tuple(tag for tag in tags if isinstance(tag, str) and _is_tag(tag))


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
