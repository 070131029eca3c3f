"""Traces of Agiwo as spans that are saved.

A trace is a span of the kind `trace`, whose id is the name of the collection, above its spans. So
the traces of this library show it as a tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from itertools import islice
from typing import Any

from curio_persistence.compat.agiwo.traces import (
    Span,
    SpanKind,
    SpanStatus,
    Trace,
    TraceQuery,
)
from curio_persistence.models import AgentSpan
from curio_persistence.persistence import Persistence
from curio_persistence.store.filters import Filter
from curio_persistence.store.json_text import as_object
from curio_persistence.tables import SPANS

COLLECTION = "agiwo_traces"
"""The name of a collection unless another is given."""
_TRACE = "trace"
"""The kind of the span that stands for a trace."""
_KINDS = {SpanKind.LLM_CALL: "llm", SpanKind.TOOL_CALL: "tool"}
"""The kinds that have another name in our traces."""
_THEIRS = {ours: theirs for theirs, ours in _KINDS.items()}
_AT = "place"
"""The member of a span's details that has its place in the trace."""
_TICK = timedelta(microseconds=1)


class SavedTraces:
    """The traces of a collection in a persistence."""

    def __init__(self, persistence: Persistence, collection: str = COLLECTION) -> None:
        self.persistence = persistence
        self.collection = collection
        self._store = persistence._store

    def save(self, trace: Trace) -> None:
        """Store a trace, in place of the one that has its id."""
        spans = [self._row_of_span(trace, at) for at in range(len(trace.spans))]
        names = {row.span_id for row in spans}
        with self.persistence.transaction():
            gone = {row.span_id for _, row in self._stored(trace.trace_id)} - names
            if gone:
                gone_ones = Filter("span_id", "in", tuple(gone))
                self._store.delete(SPANS, (*SPANS.where(trace_id=trace.trace_id), gone_ones))
            self.persistence.traces.save_spans([self._row_of_trace(trace), *spans])

    def forget(self, trace_id: str) -> None:
        """Delete a trace."""
        self._store.delete(SPANS, SPANS.where(trace_id=trace_id))

    def get(self, trace_id: str) -> Trace | None:
        """Return a trace; None if it is not stored."""
        where = SPANS.where(trace_id=trace_id, span_id=self.collection)
        found = SPANS.decode(self._store.select(SPANS, where))
        if not found:
            return None
        trace = _trace_of(found[0])
        trace.spans = [self._span_of(row) for _, row in sorted(self._stored(trace_id), key=_place)]
        return trace

    def _stored(self, trace_id: str) -> Iterator[tuple[int, AgentSpan]]:
        """Yield the spans of a trace, and their places; not those that others saved in it."""
        rows = self._store.select(SPANS, SPANS.where(trace_id=trace_id))
        for row in SPANS.decode(rows):
            at = as_object(row.details).get(_AT)
            if type(at) is int:
                yield at, row

    def query(self, query: TraceQuery) -> list[Trace]:
        """Return traces, those that began last first."""
        traces = self._matching(query)
        wanted = [*islice(traces, query.offset, query.offset + query.limit)]
        whole = (self.get(trace.trace_id) for trace in wanted)
        return [trace for trace in whole if trace is not None]

    def _matching(self, query: TraceQuery) -> Iterator[Trace]:
        """Yield traces without their spans."""
        where = SPANS.where(kind=_TRACE, span_id=self.collection)
        if query.start_time is not None:
            where = (*where, SPANS.filter("started_at", ">=", query.start_time))
        if query.end_time is not None:
            where = (*where, SPANS.filter("started_at", "<", query.end_time + _TICK))
        for columns in self._store.stream(SPANS, where, snapshot=False):
            yield from filter(query.includes, map(_trace_of, SPANS.decode(columns)))

    def _row_of_trace(self, trace: Trace) -> AgentSpan:
        return AgentSpan(
            trace_id=trace.trace_id,
            span_id=self.collection,
            name=trace.agent_id or self.collection,
            kind=_TRACE,
            run_id=next((each.run_id for each in trace.spans if each.run_id), None),
            agent_id=trace.agent_id,
            session_id=trace.session_id,
            user_id=trace.user_id,
            status=trace.status,
            started_at=trace.start_time,
            ended_at=trace.end_time,
            input=trace.input_query,
            output=trace.final_output,
            details={name: getattr(trace, name) for name in _OF_TRACE},
        )

    def _row_of_span(self, trace: Trace, at: int) -> AgentSpan:
        span = trace.spans[at]
        details = {_AT: at} | {name: getattr(span, name) for name in _OF_SPAN}
        return AgentSpan(
            trace_id=trace.trace_id,
            span_id=span.span_id,
            name=span.name,
            kind=_KINDS.get(span.kind, span.kind),
            parent_span_id=span.parent_span_id or self.collection,
            run_id=span.run_id,
            step_id=span.step_id,
            status=span.status,
            error_message=span.error_message,
            started_at=span.start_time,
            ended_at=span.end_time,
            input=span.input_preview,
            output=span.output_preview,
            attributes=span.attributes or None,
            metrics=span.metrics or None,
            details={name: value for name, value in details.items() if value is not None},
        )

    def _span_of(self, row: AgentSpan) -> Span:
        parent = row.parent_span_id
        return Span(
            trace_id=row.trace_id,
            span_id=row.span_id,
            name=row.name,
            kind=SpanKind(_THEIRS.get(row.kind, row.kind)),
            parent_span_id=None if parent == self.collection else parent,
            run_id=row.run_id,
            step_id=row.step_id,
            status=SpanStatus(row.status),
            error_message=row.error_message,
            **_times_of(row),
            input_preview=row.input,
            output_preview=row.output,
            attributes=as_object(row.attributes),
            metrics=as_object(row.metrics),
            **{name: value for name, value in as_object(row.details).items() if name != _AT},
        )


_OF_TRACE = (
    "duration_ms",
    "root_span_id",
    "max_depth",
    *(each.name for each in fields(Trace) if each.name.startswith("total_")),
)
"""The fields of a trace that have no column."""
_OF_SPAN = ("duration_ms", "depth", "llm_details", "tool_details")
"""The fields of a span that have no column."""


def _place(stored: tuple[int, AgentSpan]) -> int:
    return stored[0]


def _trace_of(row: AgentSpan) -> Trace:
    """Return a trace without its spans."""
    return Trace(
        trace_id=row.trace_id,
        agent_id=row.agent_id,
        session_id=row.session_id,
        user_id=row.user_id,
        status=SpanStatus(row.status),
        input_query=row.input,
        final_output=row.output,
        **_times_of(row),
        **as_object(row.details),
    )


def _times_of(row: AgentSpan) -> dict[str, Any]:
    return {"start_time": row.started_at, "end_time": row.ended_at}
