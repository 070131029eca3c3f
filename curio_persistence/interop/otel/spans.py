"""Spans of OpenTelemetry, and what one span says, as values that need no package of OpenTelemetry.

A span has everything that OTLP carries, so it can be sent on as it came. What the telemetry does
not tell is None, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

Attributes = dict[str, Any]
"""Values by name. A value is a str, bool, int, float, bytes, None, a list of values, or a dict of
values by name."""

STATUS_UNSET, STATUS_OK, STATUS_ERROR = 0, 1, 2
"""OTLP's codes of `OtelSpan.status_code`."""


@dataclass(frozen=True, slots=True)
class Source:
    """The maker of spans: a resource and an instrumentation scope. Spans of one scope share it."""

    resource: Attributes = field(default_factory=dict)
    resource_schema_url: str = ""
    resource_dropped: int = 0
    """The number of attributes of the resource that the sender has dropped."""
    scope_name: str = ""
    scope_version: str = ""
    scope: Attributes = field(default_factory=dict)
    scope_schema_url: str = ""
    scope_dropped: int = 0


@dataclass(frozen=True, slots=True)
class OtelEvent:
    """Something that happened within a span, such as an exception or a message of a model."""

    name: str
    time_ns: int
    attributes: Attributes = field(default_factory=dict)
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class OtelLink:
    """A relation to a span that is not the parent. Its ids are as they came, in hex."""

    trace_id: str
    span_id: str
    trace_state: str = ""
    attributes: Attributes = field(default_factory=dict)
    dropped: int = 0
    flags: int = 0


@dataclass(frozen=True, slots=True)
class OtelSpan:
    """One span as OTLP carries it. Ids are lower-case hex, times nanoseconds since 1970."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    start_ns: int
    end_ns: int
    """Never before `start_ns`, except 0 if the sender told no end."""
    kind: int = 0
    status_code: int = STATUS_UNSET
    status_message: str = ""
    attributes: Attributes = field(default_factory=dict)
    events: tuple[OtelEvent, ...] = ()
    links: tuple[OtelLink, ...] = ()
    trace_state: str = ""
    flags: int = 0
    dropped_attributes: int = 0
    dropped_events: int = 0
    dropped_links: int = 0
    source: Source = field(default_factory=Source)


@dataclass(frozen=True, slots=True)
class OtelLog:
    """One log record as OTLP carries it. It may belong to a span."""

    time_ns: int
    """The time of what it tells, or of its observation if only that is told; 0 if neither is."""
    trace_id: str | None = None
    span_id: str | None = None
    event_name: str = ""
    """The name of an event; some senders have it in the attribute `event.name` or in the body."""
    body: Any = None
    attributes: Attributes = field(default_factory=dict)
    severity: int = 0
    severity_text: str = ""
    flags: int = 0
    dropped_attributes: int = 0
    source: Source = field(default_factory=Source)


@dataclass(frozen=True, slots=True)
class OtelPoint:
    """One data point of a metric. Distributions have their sum as the value."""

    name: str
    value: float | None
    count: int | None
    """Of how many values a distribution is; None for a single value."""
    time_ns: int
    start_ns: int = 0
    unit: str = ""
    type: str = ""
    """`gauge`, `sum`, `histogram`, `exponential_histogram` or `summary`."""
    is_delta: bool = False
    """True for a sum that counts from `start_ns` only, not from the beginning of the sender."""
    attributes: Attributes = field(default_factory=dict)
    source: Source = field(default_factory=Source)


class MeaningKind(StrEnum):
    """What a span is for an agent. Nothing is derived from `chain` and `other`."""

    AGENT = "agent"
    LLM = "llm"
    EMBEDDING = "embedding"
    TOOL = "tool"
    RETRIEVAL = "retrieval"
    CHAIN = "chain"
    OTHER = "other"


class Call(NamedTuple):
    """What a span says about a call of a model or an embedding. Tokens include their subsets."""

    provider: str | None = None
    model: str | None = None
    """The model that answered; the requested one if the answer does not name it."""
    request_model: str | None = None
    input_tokens: int | None = None
    """With those that were read from the cache or written to it."""
    output_tokens: int | None = None
    """With those of the reasoning."""
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    reported_cost: Decimal | None = None
    """US dollars, as the sender says."""
    prompt: str | None = None
    """Text or JSON."""
    response: str | None = None
    params: Attributes | None = None
    """Settings of the request, such as the temperature."""
    details: Attributes | None = None
    """Other figures of the sender, by their own names."""


class ToolUse(NamedTuple):
    """What a span says about a call of a tool."""

    name: str
    call_id: str | None = None
    arguments: Any = None
    result: Any = None
    error: str | None = None


class Meaning(NamedTuple):
    """What a span says by itself, without the spans around it."""

    kind: MeaningKind = MeaningKind.OTHER
    status: str = "completed"
    """`completed`, `error`, `cancelled`, or `running` without an end."""
    error_message: str | None = None
    agent_name: str | None = None
    agent_id: str | None = None
    is_named: bool = False
    """True if an attribute names the agent, not only the name of the span."""
    run_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    tags: tuple[str, ...] = ()
    input: str | None = None
    output: str | None = None
    response_id: str | None = None
    call: Call | None = None
    """For kinds `llm` and `embedding`."""
    tool: ToolUse | None = None
    """For kind `tool`."""
