"""Traces: where the time of an agent went, and in what; one model, whatever told of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Unpack

from curio_persistence.capabilities.arguments import checked_id
from curio_persistence.capabilities.traces import SavedSpans
from curio_persistence.results.computed import computed_table
from curio_persistence.results.pages import Direction, Page, Stream, is_descending
from curio_persistence.store.cursors import Cursors
from curio_persistence.store.filters import Filter, Where, checked_count, refuse_unknown
from curio_persistence.store.query import STREAM_ROWS
from curio_persistence.store.table import Columns
from curio_persistence.tables import RUNS, SPANS
from curio_persistence.trace_ids import as_uuid, trace_id_of
from curio_persistence.views.traces.critical import TraceSegment
from curio_persistence.views.traces.listing import Choice, Listing, Root, TraceFilters, choice_of
from curio_persistence.views.traces.reading import TraceReader
from curio_persistence.views.traces.trace import Trace, TraceSpan, TraceSummary
from curio_persistence.views.traces.tree import TraceNode

__all__ = [
    "Trace",
    "TraceFilters",
    "TraceNode",
    "TraceSegment",
    "TraceSpan",
    "TraceSummary",
    "TraceViews",
]

TRACES = computed_table("traces", TraceSummary)
_BEGINNING = re.compile("[0-9a-f]{8,32}")
_AT_ONCE = 100
"""The traces of which a stream reads the spans at a time."""


class TraceViews(SavedSpans):
    """Read traces: the spans of an outermost run, and of all that it started.

    A trace unites the spans that are derived from its runs, tool calls and model calls with those
    that an application saves here. Its tokens and cost are those of the model calls.
    """

    def get(self, ident: str) -> Trace | None:
        """Return the trace with this `trace_id`, or that of the run with this `run_id`; or None.

        A child run belongs to the trace of the outermost run that led to it.
        """
        reader = TraceReader(self._store, brief=False)
        seed = reader.seed_of(checked_id("ident", ident))
        found = reader.read([seed]) if seed else []
        return next((trace for trace in found if trace.spans), None)

    def query(
        self,
        *,
        order: Direction = "newest",
        limit: int | None = 50,
        cursor: str | None = None,
        **filters: Unpack[TraceFilters],
    ) -> Page[TraceSummary]:
        """Return one page of traces by the time when their root was stored, or saved as begun.

        The filters are `agent_id`, `session_id`, `user_id`, `status` (of `SpanStatus`), `since`,
        `until`, `min_duration_ms` and `max_duration_ms`, all of them about the root: a run that no
        stored run has started, or a saved span without parent and run.
        """
        listing, choice = self._listing(filters, order)
        cursors = Cursors(self._store, "traces", choice.where, listing.order)
        after = None if cursor is None else cursors.read(cursor)
        most = None if limit is None else checked_count("limit", limit)
        roots = listing.roots(after)
        page = list(islice(roots, most))
        more = bool(page) and next(roots, None) is not None
        return Page(TRACES, self._summaries(page), cursors.write(page[-1][:3]) if more else None)

    def iterate(
        self, *, order: Direction = "newest", **filters: Unpack[TraceFilters]
    ) -> Stream[TraceSummary]:
        """Iterate over all traces in the order of `query`, in constant memory.

        They are read some at a time, each as it is then.
        """
        return _TraceStream(self, *self._listing(filters, order))

    def count(self, **filters: Unpack[TraceFilters]) -> int:
        """Return the number of traces that pass the filters."""
        listing, _ = self._listing(filters, "newest")
        return sum(1 for _ in listing.roots())

    def find_ids(self, beginning: str) -> list[str]:
        """Return the trace_ids that begin so, sorted; give eight hex digits or more."""
        begin = checked_id("beginning", beginning)
        if not _BEGINNING.fullmatch(begin):
            return []
        outermost = Filter("parent_run_id", "is null")
        runs = (*_between("run_id", as_uuid(begin)), outermost)
        kept = (*_between("trace_id", begin), outermost)
        found = {
            *(run_id for (run_id,) in self._store.select_columns(RUNS, ("run_id",), runs)),
            *(run_id for (run_id,) in self._store.select_columns(RUNS, ("run_id",), kept)),
        }
        saved = self._store.aggregate(
            SPANS, (), _between("trace_id", begin), group_by=("trace_id",)
        )
        ids = {*map(trace_id_of, found), *(trace_id for (trace_id,) in saved)}
        return sorted(each for each in ids if each.startswith(begin))

    def _listing(self, filters: TraceFilters, order: Any) -> tuple[Listing, Choice]:
        refuse_unknown(filters, TraceFilters)
        choice = choice_of(filters, self._clock)
        return Listing(self._store, choice, descending=is_descending(order)), choice

    def _summaries(self, roots: Sequence[Root]) -> Columns:
        """Return the summaries of traces, as columns in stored form."""
        reader = TraceReader(self._store, brief=True)
        summaries = reader.summaries([root.seed for root in roots]) if roots else []
        return [
            [TRACES.encode_value(name, getattr(summary, name)) for summary in summaries]
            for name in TRACES.names
        ]


def _between(column: str, begin: str) -> Where:
    """Return filters for all ids that begin so, whatever the collation, and perhaps others."""
    return (Filter(column, ">=", begin), Filter(column, "<", f"{begin}g"))


class _TraceStream(Stream[TraceSummary]):
    """All traces of a choice, read some at a time."""

    def __init__(self, traces: TraceViews, listing: Listing, choice: Choice) -> None:
        super().__init__(traces._store, TRACES, choice.where, listing.order, snapshot=False)
        self._traces = traces
        self._listing = listing

    def _chunks(self, size: int = STREAM_ROWS) -> Iterator[Columns]:
        return self._pass(self._read())

    def _read(self) -> Iterator[Columns]:
        roots = self._listing.roots()
        while some := list(islice(roots, _AT_ONCE)):
            yield self._traces._summaries(some)
