"""Which traces an export that goes on has still to send: those that ended, and were not sent yet.

New rows of four tables tell of traces: they come from the change feeds of these, so that none is
missed. A trace waits until it has ended. One to which rows come later is sent once more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any, NamedTuple

from curio_persistence.capabilities.traces import runs_of_traces
from curio_persistence.clock import Clock
from curio_persistence.interop.otel.export.mark import Mark
from curio_persistence.models import SpanStatus
from curio_persistence.store.base import Store
from curio_persistence.store.change_feed import read_changes, watermark_now
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.query import Position
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, SPANS, USAGE
from curio_persistence.trace_ids import trace_id_of
from curio_persistence.views.traces.deriving import status_of_run
from curio_persistence.views.traces.listing import Choice, Listing
from curio_persistence.views.traces.reading import Seed, TraceReader
from curio_persistence.views.traces.records import SPAN_EVENTS, RunRow

FEEDS: dict[str, Table[Any]] = {
    "runs": RUNS.part("id", "run_id"),
    "events": EVENTS.part("id", "run_id", "event_type"),
    "usage": USAGE.part("id", "run_id"),
    "spans": SPANS.part("id", "run_id", "trace_id"),
}
"""The tables that tell of spans, as far as they tell of which trace."""
_RUNS, _SPANS = 0, 1
"""The kinds of roots, as in the listing of traces."""
_AT_ONCE = 500
_ROOT_COMES = timedelta(minutes=1)
"""How long the spans of a trace wait for one that names no parent."""


class _SpanRow(NamedTuple):
    id: int
    trace_id: str
    run_id: str | None
    parent_span_id: str | None
    started_at: str
    ended_at: str | None
    updated_at: str


class Due(NamedTuple):
    """A trace that may be sent: its kind, the id of its root's row, and how to read it."""

    kind: int
    id: int
    seed: Seed


class Following:
    """Finds the traces that are due, by a mark, which it moves on."""

    def __init__(self, store: Store, clock: Clock, choice: Choice) -> None:
        self._store = store
        self._clock = clock
        self._choice = choice
        self._reader = TraceReader(store, brief=False)

    def begin(self) -> Mark:
        """Return the mark before the first export."""
        return Mark({name: watermark_now(self._store, each) for name, each in FEEDS.items()})

    def next(self, mark: Mark, most: int) -> list[Due]:
        """Return some traces that may be sent, and move the mark on behind them.

        Those that have ended after they were stored, at most `most`; and as many of the history,
        which may not have ended: `wait` puts them back into the mark.
        """
        run_ids, trace_ids = self._new(mark)
        due = [*self._due_runs(mark, run_ids | self._runs_of(trace_ids))]
        due += self._due_spans(mark, trace_ids)
        due = due[:most]
        mark.runs -= {each.id for each in due if each.kind == _RUNS}
        mark.spans -= {each.id for each in due if each.kind == _SPANS}
        return due + self._history(mark, most)

    @staticmethod
    def wait(mark: Mark, due: Due) -> None:
        """Put a trace back into the mark, until it has ended."""
        (mark.runs if due.kind == _RUNS else mark.spans).add(due.id)

    # --- what is new --------------------------------------------------------------------------

    def _new(self, mark: Mark) -> tuple[set[str], set[str]]:
        """Read the feeds to their ends; return the runs, and the traces without a run, in them.

        Those of runs come first: all rows of a run that has ended when it is read are there then.
        """
        run_ids: set[str] = set()
        trace_ids: set[str] = set()
        for name, table in FEEDS.items():
            for row in self._changes(mark, name, table):
                if row.get("event_type", SPAN_EVENTS[0]) not in SPAN_EVENTS:
                    continue
                if row["run_id"] is not None:
                    run_ids.add(row["run_id"])
                elif "trace_id" in row:
                    trace_ids.add(row["trace_id"])
        return run_ids, trace_ids

    def _changes(self, mark: Mark, name: str, table: Table[Any]) -> Iterator[dict[str, Any]]:
        while True:
            changes = read_changes(self._store, table, since=mark.feeds[name])
            mark.feeds[name] = changes.watermark
            for values in zip(*changes.columns, strict=True):
                yield dict(zip(table.names, values, strict=True))
            if not changes.more:
                return

    def _runs_of(self, trace_ids: Collection[str]) -> set[str]:
        return {*runs_of_traces(self._store, trace_ids).values()} if trace_ids else set()

    # --- traces of runs -----------------------------------------------------------------------

    def _due_runs(self, mark: Mark, new: Collection[str]) -> Iterator[Due]:
        """Yield the outermost runs that have ended, of those that are new or waited."""
        waited = (row[0] for row in self._rows(RUNS, ("run_id",), "id", mark.runs))
        roots = self._reader.roots(dict.fromkeys((*waited, *new)))
        open_runs = [run for run in roots if _is_passed(mark, (run.created_at, _RUNS, run.id))]
        chosen = self._chosen(RUNS, {run.id for run in open_runs}, self._choice.runs)
        mark.runs = chosen
        for run in open_runs:
            if run.id in chosen and _has_ended(run):
                yield Due(_RUNS, run.id, Seed(trace_id_of(run.run_id), (run.run_id,)))

    # --- traces without runs ------------------------------------------------------------------

    def _due_spans(self, mark: Mark, new: Collection[str]) -> Iterator[Due]:
        waited = {row[0] for row in self._rows(SPANS, ("trace_id",), "id", mark.spans)}
        traces: dict[str, list[_SpanRow]] = {}
        for row in self._rows(SPANS, _SpanRow._fields, "trace_id", waited | {*new}):
            traces.setdefault(row[1], []).append(_SpanRow(*row))
        for trace_id in runs_of_traces(self._store, [*traces]) if traces else ():
            del traces[trace_id]
        mark.spans = set()
        for trace_id, spans in traces.items():
            first = min((span for span in spans if span.parent_span_id is None), default=None)
            known = first or min(spans)
            if not _is_passed(mark, (known.started_at, _SPANS, known.id)):
                continue
            if not self._chosen(SPANS, {known.id}, self._choice.spans):
                continue
            mark.spans.add(known.id)
            if self._spans_have_ended(first, spans):
                yield Due(_SPANS, known.id, Seed(trace_id, ()))

    def _spans_have_ended(self, first: _SpanRow | None, spans: Iterable[_SpanRow]) -> bool:
        """Return whether the span without a parent has ended, or is not waited for any more."""
        if first is not None:
            return first.ended_at is not None
        last = max(span.updated_at for span in spans)
        return last <= encode_time(self._clock.now() - _ROOT_COMES)

    # --- history ------------------------------------------------------------------------------

    def _history(self, mark: Mark, most: int) -> list[Due]:
        """Return traces that were stored before the first export, some at a time."""
        if mark.history is None:
            return []
        listing = Listing(self._store, self._choice, descending=False)
        roots = [*islice(listing.roots(mark.history or None), most)]
        mark.history = roots[-1][:3] if len(roots) == most else None
        return [Due(root.kind, root.id, root.seed) for root in roots]

    # --- rows ---------------------------------------------------------------------------------

    def _chosen(self, table: Table[Any], ids: set[int], where: Where) -> set[int]:
        """Return the ids of the rows that pass filters."""
        if not where:
            return ids
        return {row[0] for row in self._rows(table, ("id",), "id", ids, where)}

    def _rows(
        self,
        table: Table[Any],
        columns: tuple[str, ...],
        column: str,
        values: Iterable[Any],
        where: Where = (),
    ) -> Iterator[tuple[Any, ...]]:
        waiting = sorted(values)
        for first in range(0, len(waiting), _AT_ONCE):
            some = Filter(column, "in", tuple(waiting[first : first + _AT_ONCE]))
            yield from self._store.select_columns(table, columns, (*where, some))


def _is_passed(mark: Mark, position: Position) -> bool:
    """Return whether the history has passed a root, and will not come to it any more."""
    return mark.history is None or (mark.history != () and position <= mark.history)


def _has_ended(run: RunRow) -> bool:
    return run.finished_at is not None or status_of_run(run.status) != SpanStatus.RUNNING.value
