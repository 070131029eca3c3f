"""Received spans as records of our tables, and back as they came."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from curio_persistence.interop.otel.facts import facts_text
from curio_persistence.interop.otel.spans import (
    Meaning,
    MeaningKind,
    OtelEvent,
    OtelLink,
    OtelSpan,
    Source,
)
from curio_persistence.interop.otel.values import json_of, values_in
from curio_persistence.interop.otel.words import label
from curio_persistence.models import AgentSpan, SpanKind, SpanSource, SpanStatus

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATUSES = {"completed": SpanStatus.OK.value}
_KINDS = {MeaningKind.OTHER: SpanKind.SPAN.value}
_DERIVED = {MeaningKind.AGENT, MeaningKind.LLM, MeaningKind.EMBEDDING, MeaningKind.TOOL}
"""The kinds whose words are those of other records."""

READ = (
    *("kind", "status", "agent_id", "session_id", "user_id", "input", "output", "response_id"),
    "meaning",
)
"""The fields of a record that follow from what was sent."""


def record_of(span: OtelSpan, meaning: Meaning, source_id: str) -> AgentSpan:
    """Return the record of a span, which has everything of it, and what it was read as."""
    started_at, start_nanos = moment_of(span.start_ns)
    ended_at, end_nanos = moment_of(span.end_ns) if span.end_ns else (None, None)
    has_words = meaning.kind not in _DERIVED
    name = label(span.name)
    trace_state = label(span.trace_state)
    return AgentSpan(
        span.trace_id,
        span.span_id,
        name,
        _KINDS.get(meaning.kind, meaning.kind.value),
        span.parent_span_id,
        None,
        _STATUSES.get(meaning.status, meaning.status),
        span.status_message or None,
        started_at,
        ended_at,
        start_nanos,
        end_nanos,
        identifier(meaning.agent_id),
        identifier(meaning.session_id),
        identifier(meaning.user_id),
        input=meaning.input if has_words else None,
        output=meaning.output if has_words else None,
        attributes=json_of(span.attributes) if span.attributes else None,
        events=json_of([_told(event) for event in span.events]) if span.events else None,
        links=json_of([_told(link) for link in span.links]) if span.links else None,
        response_id=identifier(meaning.response_id),
        trace_state=trace_state or None,
        flags=span.flags or None,
        source_id=source_id,
        otel_kind=span.kind,
        otel_status=span.status_code,
        rest=_rest(span, name, trace_state),
        meaning=facts_text(meaning),
    )


def _rest(span: OtelSpan, name: str, trace_state: str) -> str | None:
    """Return what no column can hold; None for nearly all spans."""
    rest: dict[str, Any] = {}
    if name != span.name:
        rest["name"] = span.name
    if trace_state != span.trace_state:
        rest["trace_state"] = span.trace_state
    dropped = [span.dropped_attributes, span.dropped_events, span.dropped_links]
    if any(dropped):
        rest["dropped"] = dropped
    return json_of(rest) if rest else None


def span_of(record: AgentSpan, source: Source) -> OtelSpan:
    """Return a received span as it came, but for what was redacted."""
    rest = values_in(record.rest) or {}
    attributes, events, links = rest.get("dropped", (0, 0, 0))
    return OtelSpan(
        trace_id=record.trace_id,
        span_id=record.span_id,
        parent_span_id=record.parent_span_id,
        name=rest.get("name", record.name),
        start_ns=nanoseconds(record.started_at, record.start_nanos),
        end_ns=nanoseconds(record.ended_at, record.end_nanos),
        kind=record.otel_kind or 0,
        status_code=record.otel_status or 0,
        status_message=record.error_message or "",
        attributes=values_in(record.attributes) or {},
        events=tuple(OtelEvent(**each) for each in values_in(record.events) or ()),
        links=tuple(OtelLink(**each) for each in values_in(record.links) or ()),
        trace_state=rest.get("trace_state", record.trace_state or ""),
        flags=record.flags or 0,
        dropped_attributes=attributes,
        dropped_events=events,
        dropped_links=links,
        source=source,
    )


def _told(value: OtelEvent | OtelLink) -> dict[str, Any]:
    """Return the fields that are not empty."""
    told = ((name, getattr(value, name)) for name in value.__slots__)
    return {name: each for name, each in told if each or name in ("name", "time_ns")}


def source_record(source: Source) -> SpanSource:
    """Return the record of a source, without its id, which is a hash of the rest."""
    return SpanSource(
        "unknown",
        label(str(source.resource.get("service.name", ""))),
        label(source.scope_name),
        label(source.scope_version),
        json_of({name: getattr(source, name) for name in Source.__slots__}),
    )


def source_of(record: SpanSource) -> Source:
    """Return a source as it came, but for what was redacted."""
    return Source(**(values_in(record.source) or {}))


def moment_of(ns: int) -> tuple[datetime, int | None]:
    """Return a time to the microsecond, and the nanoseconds that it cuts off; None for 0."""
    return _EPOCH + timedelta(microseconds=ns // 1000), ns % 1000 or None


def nanoseconds(moment: datetime | None, nanos: int | None) -> int:
    """Return the nanoseconds since 1970; 0 for None."""
    if moment is None:
        return 0
    since = moment - _EPOCH
    whole = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return whole * 1000 + (nanos or 0)


def identifier(text: str | None) -> str | None:
    """Return an id as a column holds it; None for an empty one."""
    return label(text) or None if text else None
