"""Spans that came by OTLP, to go out as they came."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from curio_persistence.interop.otel.conventions import LOG_MARK
from curio_persistence.interop.otel.export.wordless import without_words
from curio_persistence.interop.otel.spans import OtelEvent, OtelSpan
from curio_persistence.persistence import Persistence
from curio_persistence.views.traces.trace import Trace

Received = Mapping[tuple[str, str], OtelSpan]
"""Spans by their trace_id and span_id."""


def received_spans(persistence: Persistence, traces: Iterable[Trace], *, content: bool) -> Received:
    """Return the spans of some traces that came by OTLP; without `content`, without words.

    Messages that came as log records are events of their spans.
    """
    trace_ids = {
        span.trace_id for trace in traces for span in trace.spans if span.source_id is not None
    }
    if not trace_ids:
        return {}
    from curio_persistence.interop.otel.receiving import Receiver  # On use: the import is slow.

    spans = Receiver(persistence).received(trace_id=sorted(trace_ids))
    return {
        (span.trace_id, span.span_id): _as_it_came(span) if content else without_words(span)
        for span in spans
    }


def _as_it_came(span: OtelSpan) -> OtelSpan:
    if not any(LOG_MARK in event.attributes for event in span.events):
        return span
    return replace(span, events=tuple(map(_unmarked, span.events)))


def _unmarked(event: OtelEvent) -> OtelEvent:
    told = {name: value for name, value in event.attributes.items() if name != LOG_MARK}
    return replace(event, attributes=told)
