"""The tables of spans that applications save, or others send, and of their senders."""

from __future__ import annotations

from curio_persistence.models import AgentSpan, SpanKind, SpanSource, SpanStatus
from curio_persistence.store import codecs
from curio_persistence.store.column import Column
from curio_persistence.store.filters import Order
from curio_persistence.store.table import Table
from curio_persistence.tables.columns import (
    identifier,
    integer,
    json_text,
    name,
    optional_identifier,
    stored_time,
    text,
    time,
)

OF_SPAN = "otel:"
"""The beginning of the event_ids of what follows from received spans, and may move with them."""

SPAN_STATUSES = tuple(status.value for status in SpanStatus)


def _encode_status(value: object) -> str:
    status = codecs.encode_status(value)
    if status not in SPAN_STATUSES:
        raise ValueError(f"must be one of {', '.join(SPAN_STATUSES)}, not {status!r}")
    return status


SPANS = Table(
    "agent_spans",
    AgentSpan,
    (
        identifier("trace_id"),
        identifier("span_id")._replace(repeats=False),
        name("name"),
        Column("kind", codecs.encode_id, default=SpanKind.SPAN.value, repeats=True),
        optional_identifier("parent_span_id", optional=False),
        optional_identifier("run_id", optional=False),
        Column("status", _encode_status, default=SpanStatus.UNSET.value, repeats=True),
        text("error_message"),
        stored_time("started_at"),
        time("ended_at"),
        Column("start_nanos", codecs.encode_nanos, optional=True),
        Column("end_nanos", codecs.encode_nanos, optional=True),
        optional_identifier("agent_id"),
        optional_identifier("session_id"),
        optional_identifier("user_id"),
        optional_identifier("step_id"),
        json_text("input", optional=True),
        json_text("output", optional=True),
        json_text("attributes", optional=True),
        json_text("metrics", optional=True),
        json_text("details", optional=True),
        json_text("events", optional=True),
        json_text("links", optional=True),
        optional_identifier("response_id", repeats=False),
        optional_identifier("trace_state"),
        integer("flags", optional=True),
        integer("id"),
        stored_time("created_at"),
        stored_time("updated_at"),
        optional_identifier("source_id"),
        integer("otel_kind", optional=True),
        integer("otel_status", optional=True),
        json_text("rest", optional=True),
        # What stays when the words go, so that the span can be placed again.
        Column("meaning", codecs.encode_json, codecs.decode_texts, optional=True),
    ),
    order=(Order("started_at", descending=True), Order("id", descending=True)),
    ages_by="started_at",
    lookups=("trace_id", "span_id", "run_id"),
    ddl="spans.sql",
    unique=(("trace_id", "span_id"),),
)

SOURCES = Table(
    "agent_span_sources",
    SpanSource,
    (
        identifier("source_id"),
        name("service_name"),
        name("scope_name"),
        name("scope_version"),
        json_text("source"),
        integer("id"),
        stored_time("created_at"),
        stored_time("updated_at"),
    ),
    order=(Order("id", descending=True),),
    ages_by="created_at",
    lookups=("source_id",),
    ddl="span_sources.sql",
    unique=(("source_id",),),
)
