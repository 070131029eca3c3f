"""The values of AgentLens' event store: frozen, and dictionaries with names in camelCase."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, Self, TypeVar, cast

from curio_persistence.errors import InvalidValueError

V = TypeVar("V", bound="Value")
_CAPITAL = re.compile("_([a-z])")


@cache
def camel(name: str) -> str:
    """Return a name in camelCase: `session_id` is `sessionId`, and `from_` is `from`."""
    return _CAPITAL.sub(lambda match: match[1].upper(), name.rstrip("_"))


class Value:
    """A value that is made of a dictionary, and described by one."""

    _of: ClassVar[Mapping[str, type[Value]]] = {}
    """The fields that have other values."""
    _null: ClassVar[frozenset[str]] = frozenset()
    """The fields that a dictionary has even where they are None."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the value of a dictionary with names in camelCase or snake_case.

        Unknown names are ignored. Raise InvalidValueError if a field is missing.
        """
        given = named(cls, values)
        for each in _fields_of(cls):
            if each.name not in given and each.default is each.default_factory is MISSING:
                name = f"{cls.__name__}.{each.name}"
                raise InvalidValueError(f"{name} ({camel(each.name)}) is required.", field=name)
        return cls(**{name: _nested(cls._of.get(name), value) for name, value in given.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set, by their names in camelCase."""
        values = {each.name: getattr(self, each.name) for each in _fields_of(type(self))}
        return {
            camel(name): _described(value)
            for name, value in values.items()
            if value is not None or name in self._null
        }


def _fields_of(kind: type[Value]) -> tuple[Field[Any], ...]:
    return fields(cast("Any", kind))  # Every subclass is a dataclass.


def named(kind: type[Value], values: Any) -> dict[str, Any]:
    """Return those values of a mapping that are fields, by their names in snake_case."""
    if isinstance(values, Value):
        return {each.name: getattr(values, each.name) for each in _fields_of(type(values))}
    if not isinstance(values, Mapping):
        wanted = f"is made of a mapping, not of a {type(values).__name__}"
        raise InvalidValueError(f"{kind.__name__} {wanted}.", field=kind.__name__)
    names = ((each.name, key) for each in _fields_of(kind) for key in (each.name, camel(each.name)))
    return {name: values[key] for name, key in names if key in values}


def made(kind: type[V], given: Any) -> V:
    """Return a value that is one already, or that is given as a mapping."""
    return given if isinstance(given, kind) else kind.from_dict(given)


def _nested(kind: type[Value] | None, given: Any) -> Any:
    if kind is None:
        return given
    return [made(kind, each) for each in given] if isinstance(given, list) else made(kind, given)


def _described(value: Any) -> Any:
    """Return a field as dictionaries have it: names in what callers gave are left as they are."""
    if isinstance(value, list):
        return [_described(each) for each in value]
    return value.to_dict() if isinstance(value, Value) else value


@dataclass(frozen=True)
class AgentLensEvent(Value):
    """Something that happened in a session. Its hash covers it and the hash before it."""

    _null = frozenset({"prev_hash"})

    id: str
    timestamp: str
    session_id: str
    agent_id: str
    event_type: str
    severity: str = "info"
    payload: Any = field(default_factory=dict)
    metadata: Any = field(default_factory=dict)
    prev_hash: str | None = None
    hash: str = ""


@dataclass(frozen=True)
class Session(Value):
    """A session, with what was counted when its events were stored."""

    id: str
    agent_id: str
    started_at: str
    status: str
    agent_name: str | None = None
    ended_at: str | None = None
    event_count: int = 0
    tool_call_count: int = 0
    error_count: int = 0
    total_cost_usd: float = 0
    llm_call_count: int = 0
    total_input_tokens: int = 0
    total_output_tokens: int = 0
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Agent(Value):
    """An agent, and how many sessions there are of it."""

    id: str
    name: str
    first_seen_at: str
    last_seen_at: str
    session_count: int = 0
    description: str | None = None


@dataclass(frozen=True)
class AlertRule(Value):
    """A limit for a window: `scope` may have `agentId`, and `tags`, any of them."""

    id: str
    name: str
    enabled: bool
    condition: str
    threshold: float
    window_minutes: float
    scope: Any = field(default_factory=dict)
    notify_channels: list[str] = field(default_factory=list)
    created_at: str = ""
    updated_at: str = ""


@dataclass(frozen=True)
class AlertHistory(Value):
    """One time when a rule fired."""

    id: str
    rule_id: str
    triggered_at: str
    current_value: float
    threshold: float
    message: str
    resolved_at: str | None = None


@dataclass(frozen=True)
class EventQueryResult(Value):
    """Some events, and how many match."""

    _of: ClassVar = {"events": AgentLensEvent}

    events: list[AgentLensEvent]
    total: int
    has_more: bool


@dataclass(frozen=True)
class SessionQueryResult(Value):
    """Some sessions, and how many match."""

    _of: ClassVar = {"sessions": Session}

    sessions: list[Session]
    total: int
    has_more: bool


@dataclass(frozen=True)
class AlertHistoryResult(Value):
    """Some of the history of alerts, and how much there is."""

    _of: ClassVar = {"entries": AlertHistory}

    entries: list[AlertHistory]
    total: int


@dataclass(frozen=True)
class AnalyticsBucket(Value):
    """The analytics of one span of time, which begins at `timestamp`."""

    timestamp: str
    event_count: int
    tool_call_count: int
    error_count: int
    avg_latency_ms: float
    total_cost_usd: float
    unique_sessions: int


@dataclass(frozen=True)
class AnalyticsTotals(Value):
    """The totals of a window."""

    event_count: int
    tool_call_count: int
    error_count: int
    avg_latency_ms: float
    total_cost_usd: float
    unique_sessions: int
    unique_agents: int


@dataclass(frozen=True)
class AnalyticsResult(Value):
    """The spans in which something happened, in order, and their totals."""

    _of: ClassVar = {"buckets": AnalyticsBucket, "totals": AnalyticsTotals}

    buckets: list[AnalyticsBucket]
    totals: AnalyticsTotals


@dataclass(frozen=True)
class EventCounts(Value):
    """How many events there are: all, those of two severities, and failed tools."""

    total: int
    error: int
    critical: int
    tool_error: int


@dataclass(frozen=True)
class StorageStats(Value):
    """The numbers of stored records; the size is an estimate in memory."""

    total_events: int
    total_sessions: int
    total_agents: int
    storage_size_bytes: int
    oldest_event: str | None = None
    newest_event: str | None = None


@dataclass(frozen=True)
class RetentionResult(Value):
    """The numbers of purged records. Sessions whose beginning did not verify were skipped."""

    deleted_count: int = 0
    deleted_sessions: int = 0
    skipped_sessions: int = 0


@dataclass(frozen=True)
class ChainVerificationResult(Value):
    """The result of verifying a chain: the first broken place and the reason, if it is broken."""

    valid: bool
    failed_at_index: int = -1
    reason: str | None = None
