"""Spans that applications save: parts of traces beside those of runs, tools and model calls."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from typing import TypedDict, Unpack

from curio_persistence.capabilities.arguments import checked_id
from curio_persistence.capabilities.batches import encode_all, in_one_transaction
from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.deletions import audit
from curio_persistence.capabilities.record_filter import (
    Condition,
    FilterKind,
    Value,
    checked_values,
    equal,
)
from curio_persistence.capabilities.windows import TimeLike
from curio_persistence.clock import Clock
from curio_persistence.models import AgentSpan, SpanSource
from curio_persistence.redaction import Redaction
from curio_persistence.results.pages import Direction, Stream, open_stream
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Select, Where
from curio_persistence.store.table import Row
from curio_persistence.tables import RUNS, SOURCES, SPANS
from curio_persistence.trace_ids import run_id_told_by

_KEY = SPANS.unique[0]
_CHANGES = tuple(name for name in SPANS.names if name not in (*_KEY, "id", "created_at"))


class SpanFilters(TypedDict, total=False):
    """The filters of saved spans; a span must pass all that are given."""

    trace_id: str | Collection[str] | None
    run_id: str | Collection[str] | None
    kind: str | Collection[str] | None
    name: str | Collection[str] | None
    status: str | Collection[str] | None
    response_id: str | Collection[str] | None
    agent_id: str | None
    session_id: str | None
    user_id: str | None
    since: TimeLike | None
    until: TimeLike | None


SPAN_FILTERS = FilterKind(SPANS, SpanFilters, of_run=("agent_id", "session_id", "user_id"))


class SourceFilters(TypedDict, total=False):
    """The filters of the sources of spans; a source must pass all that are given."""

    trace_id: str | Collection[str] | None
    run_id: str | Collection[str] | None
    agent_id: str | Collection[str] | None
    session_id: str | Collection[str] | None
    user_id: str | Collection[str] | None
    since: TimeLike | None
    until: TimeLike | None


def _of_spans(name: str) -> Condition:
    """Return the filter for the sources of spans that pass a filter."""

    def where(value: Value) -> Where:
        own = (equal(name, value),)
        if name in SPAN_FILTERS.of_run:
            own = (Filter("run_id", "in", Select(RUNS, "run_id", own)),)
        sent = (*own, Filter("source_id", "is not null"))
        return (Filter("source_id", "in", Select(SPANS, "source_id", sent)),)

    table = RUNS if name in SPAN_FILTERS.of_run else SPANS
    return Condition(partial(checked_values, table, name), where)


SOURCE_FILTERS = FilterKind(
    SOURCES,
    SourceFilters,
    conditions={
        name: _of_spans(name)
        for name in ("trace_id", "run_id", "agent_id", "session_id", "user_id")
    },
)


class SavedSpans(Capability):
    """Save, list and delete the spans that an application makes itself."""

    def __init__(self, store: Store, clock: Clock, redaction: Redaction) -> None:
        super().__init__(store, clock)
        self._encode = redaction.encoder(SPANS)

    def save_span(self, span: AgentSpan) -> bool:
        """Store a span, and return whether it is new.

        It replaces the one with the same `trace_id` and `span_id`, except for its begin if the new
        one has none; a span without any begins now. Without a `run_id` it belongs to the run that
        has this `trace_id`, if that is stored. The time it takes does not depend on the trace.
        """
        return bool(self._upsert([self._encode(span)]))

    def save_spans(self, spans: Iterable[AgentSpan]) -> int:
        """Store spans as `save_span` does, all or none, and return how many were new.

        The iterable is read a thousand spans at a time, in one transaction.
        """
        return in_one_transaction(
            self._store,
            spans,
            lambda some, first: self._upsert(encode_all(self._encode, some, first)),
        )

    def spans(
        self, *, order: Direction = "newest", snapshot: bool = True, **filters: Unpack[SpanFilters]
    ) -> Stream[AgentSpan]:
        """Iterate over the saved spans by the time when they began, in constant memory."""
        where = SPAN_FILTERS.of(filters).where(self._clock)
        return open_stream(self._store, SPANS, where, order=order, snapshot=snapshot)

    def sources(
        self, *, snapshot: bool = True, **filters: Unpack[SourceFilters]
    ) -> Stream[SpanSource]:
        """Iterate over the sources of received spans, the first one first."""
        where = SOURCE_FILTERS.of(filters).where(self._clock)
        return open_stream(self._store, SOURCES, where, order="oldest", snapshot=snapshot)

    def delete(self, trace_id: str) -> int:
        """Delete the saved spans of a trace, and return how many there were.

        Runs stay, with their events and model calls: see `delete_agent_run`.
        """
        where = (SPANS.filter("trace_id", "=", checked_id("trace_id", trace_id)),)
        with self._store.transaction():
            deleted = self._store.delete(SPANS, where)
            if deleted:
                audit(self._store, self._clock, "delete", trace_id, "trace", None, spans=deleted)
        return deleted

    def _upsert(self, rows: list[Row]) -> int:
        """Store rows in place of those with the same keys, and return how many were new."""
        now = encode_time(self._clock.now())
        for row in rows:
            row["created_at"] = row["updated_at"] = now
        self._find_runs([row for row in rows if row["run_id"] is None])
        self._find_begins([row for row in rows if row["started_at"] is None], now)
        return sum(self._store.upsert(SPANS, rows, key=_KEY, update=_CHANGES).new)

    def _find_runs(self, rows: list[Row]) -> None:
        """Fill in the runs that have the traces of some rows, as far as they are stored."""
        if rows:
            runs = runs_of_traces(self._store, {str(row["trace_id"]) for row in rows})
            for row in rows:
                row["run_id"] = runs.get(str(row["trace_id"]))

    def _find_begins(self, rows: list[Row], now: str) -> None:
        """Fill in the begins of spans that were saved before; any other one begins now."""
        if rows:
            where = tuple(Filter(name, "in", tuple({row[name] for row in rows})) for name in _KEY)
            stored = self._store.select_columns(SPANS, (*_KEY, "started_at"), where)
            begins = {tuple(key): begin for *key, begin in stored}
            for row in rows:
                row["started_at"] = begins.get(tuple(row[name] for name in _KEY), now)


def runs_of_traces(store: Store, trace_ids: Collection[str]) -> dict[str, str]:
    """Return the stored runs with these traces, by the traces."""
    uuids = {run_id: each for each in trace_ids if (run_id := run_id_told_by(each)) is not None}
    told = (Filter("run_id", "in", tuple(uuids)),)
    kept = (Filter("trace_id", "in", tuple(trace_ids)),)
    found = {uuids[run_id]: run_id for (run_id,) in store.select_columns(RUNS, ("run_id",), told)}
    outermost = outermost_of_traces(store, trace_ids)
    inner = dict(store.select_columns(RUNS, ("trace_id", "run_id"), kept))
    return found | inner | {trace_id: run_ids[0] for trace_id, run_ids in outermost.items()}


def outermost_of_traces(store: Store, trace_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the stored runs without a parent that have these traces, the first one first.

    Only traces that were received have several. What waits for its run there comes last.
    """
    columns = ("trace_id", "created_at", "id", "run_id")
    where = (Filter("trace_id", "in", tuple(trace_ids)), Filter("parent_run_id", "is null"))
    found: dict[str, list[str]] = {}
    rows = store.select_columns(RUNS, columns, where) if trace_ids else []
    for trace_id, _, _, run_id in sorted(rows, key=lambda row: (row[3] == row[0], *row)):
        found.setdefault(trace_id, []).append(run_id)
    return found
