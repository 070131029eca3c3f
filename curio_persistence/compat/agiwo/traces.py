"""Agiwo's traces: spans as they are collected, with their sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from numbers import Real
from typing import Any, TypeVar
from uuid import uuid4

from curio_persistence.clock import utc_now
from curio_persistence.errors import InvalidValueError


class SpanKind(StrEnum):
    """The kinds of spans."""

    AGENT = "agent"
    LLM_CALL = "llm_call"
    TOOL_CALL = "tool_call"
    RUNTIME = "runtime"


class SpanStatus(StrEnum):
    """The statuses of spans and traces."""

    UNSET = "unset"
    RUNNING = "running"
    OK = "ok"
    ERROR = "error"


def new_id() -> str:
    """Return a UUID."""
    return str(uuid4())


@dataclass(slots=True)
class Span:
    """A part of a trace that took time."""

    trace_id: str
    kind: SpanKind
    name: str
    span_id: str = field(default_factory=new_id)
    parent_span_id: str | None = None
    start_time: datetime = field(default_factory=utc_now)
    end_time: datetime | None = None
    duration_ms: float | None = None
    status: SpanStatus = SpanStatus.RUNNING
    error_message: str | None = None
    depth: int = 0
    attributes: dict[str, Any] = field(default_factory=dict)
    input_preview: str | None = None
    output_preview: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    llm_details: dict[str, Any] | None = None
    tool_details: dict[str, Any] | None = None
    run_id: str | None = None
    step_id: str | None = None

    def complete(
        self,
        status: SpanStatus = SpanStatus.OK,
        error_message: str | None = None,
        output_preview: str | None = None,
        *,
        at: datetime | None = None,
    ) -> None:
        """End the span, now unless it is said when."""
        _end(self, status, at)
        self.error_message = error_message
        if output_preview is not None:
            self.output_preview = output_preview


@dataclass(slots=True)
class Trace:
    """The spans of an outermost run, and what they add up to."""

    trace_id: str = field(default_factory=new_id)
    agent_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    start_time: datetime = field(default_factory=utc_now)
    end_time: datetime | None = None
    duration_ms: float | None = None
    status: SpanStatus = SpanStatus.RUNNING
    root_span_id: str | None = None
    spans: list[Span] = field(default_factory=list)
    total_tokens: int = 0
    total_input_tokens: int = 0
    total_output_tokens: int = 0
    total_cache_read_tokens: int = 0
    total_cache_creation_tokens: int = 0
    total_llm_calls: int = 0
    total_tool_calls: int = 0
    total_token_cost: float = 0.0
    max_depth: int = 0
    input_query: str | None = None
    final_output: str | None = None

    def add_span(self, span: Span) -> None:
        """Add a span to the trace, and its metrics to the sums."""
        self.spans.append(span)
        self.max_depth = max(self.max_depth, span.depth)
        if span.kind == SpanKind.TOOL_CALL:
            self.total_tool_calls += 1
        if span.kind == SpanKind.LLM_CALL:
            self.total_llm_calls += 1
            for total, metric in _SUMS.items():
                setattr(self, total, getattr(self, total) + (span.metrics.get(metric) or 0))

    def complete(
        self,
        status: SpanStatus = SpanStatus.OK,
        final_output: str | None = None,
        *,
        at: datetime | None = None,
    ) -> None:
        """End the trace, now unless it is said when."""
        _end(self, status, at)
        if final_output is not None:
            self.final_output = final_output


_SUMS = {
    "total_tokens": "tokens.total",
    "total_input_tokens": "tokens.input",
    "total_output_tokens": "tokens.output",
    "total_cache_read_tokens": "tokens.cache_read",
    "total_cache_creation_tokens": "tokens.cache_creation",
    "total_token_cost": "token_cost",
}
"""The sums of a trace, and the metrics of model calls that they add up."""


def _end(of: Span | Trace, status: SpanStatus, at: datetime | None) -> None:
    of.end_time = at or utc_now()
    of.duration_ms = (of.end_time - of.start_time).total_seconds() * 1000
    of.status = status


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """Which traces are asked for; times and durations include their bounds."""

    agent_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    status: SpanStatus | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    min_duration_ms: float | None = None
    max_duration_ms: float | None = None
    limit: int = 50
    offset: int = 0

    def __post_init__(self) -> None:
        _check_number("limit", self.limit, 1, 500)
        _check_number("offset", self.offset, 0, None)
        if self.status is not None:
            object.__setattr__(self, "status", _status(self.status))
        for name in ("start_time", "end_time"):
            if (time := _checked(self, name, datetime, "a datetime")) is not None:
                object.__setattr__(self, name, time.astimezone())  # A naive time is local time.
        for name in ("min_duration_ms", "max_duration_ms"):
            _checked(self, name, Real, "a number")

    def includes(self, trace: Trace) -> bool:
        """Return whether a trace is one of those that are asked for."""
        for name in ("agent_id", "session_id", "user_id", "status"):
            if getattr(self, name) not in (None, getattr(trace, name)):
                return False
        return _within(self.start_time, trace.start_time, self.end_time) and _within(
            self.min_duration_ms, trace.duration_ms, self.max_duration_ms
        )


B = TypeVar("B", datetime, float)


def _within(least: B | None, value: B | None, most: B | None) -> bool:
    """Return whether a value is between bounds; an unknown one only if there are none."""
    if least is None and most is None:
        return True
    return (
        value is not None and (least is None or least <= value) and (most is None or value <= most)
    )


def _check_number(name: str, value: Any, least: int, most: int | None) -> None:
    if type(value) is not int or value < least or (most is not None and value > most):
        bounds = f"from {least}" if most is None else f"from {least} to {most}"
        field_name = f"TraceQuery.{name}"
        raise InvalidValueError(f"{field_name} is {bounds}, not {value!r:.80}.", field=field_name)


def _checked(query: TraceQuery, name: str, cls: type, words: str) -> Any:
    value = getattr(query, name)
    if value is not None and not isinstance(value, cls):
        field_name = f"TraceQuery.{name}"
        raise InvalidValueError(f"{field_name} is {words}, not {value!r:.80}.", field=field_name)
    return value


def _status(word: str) -> SpanStatus:
    try:
        return SpanStatus(word)
    except ValueError as error:
        raise InvalidValueError(
            f"TraceQuery.status is one of {', '.join(SpanStatus)}, not {word!r:.80}.",
            field="TraceQuery.status",
        ) from error


def query_of(query: TraceQuery | Mapping[str, Any]) -> TraceQuery:
    """Return a query, also of a dictionary; InvalidValueError for a name that it does not have."""
    if isinstance(query, TraceQuery):
        return query
    if not isinstance(query, Mapping):
        raise InvalidValueError(
            f"A query is a TraceQuery or a dictionary, not {type(query).__name__}.",
            field="TraceQuery",
        )
    unknown = query.keys() - {each.name for each in fields(TraceQuery)}
    if unknown:
        raise InvalidValueError(
            f"{min(unknown)!r} is not a part of a TraceQuery.", field="TraceQuery"
        )
    return TraceQuery(**query)
