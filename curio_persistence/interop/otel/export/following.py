"""Which traces an export that goes on has still to send: those that ended, and were not sent yet.

New rows of four tables tell of traces: they come from the change feeds of these, so that none is
missed. A trace waits until it has ended. One to which rows come later is sent once more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
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
from curio_persistence.store.filters import Where
from curio_persistence.store.query import Position
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, SPANS, USAGE
from curio_persistence.trace_ids import trace_id_of
from curio_persistence.views.traces.deriving import status_of_run
from curio_persistence.views.traces.listing import Choice, Listing
from curio_persistence.views.traces.reading import Seed, TraceReader
from curio_persistence.views.traces.records import SPAN_EVENTS, RunRow, of_values

FEEDS: dict[str, Table[Any]] = {
    "runs": RUNS.part("id", "run_id"),
    "events": EVENTS.part("id", "run_id", "event_type"),
    "usage": USAGE.part("id", "run_id"),
    "spans": SPANS.part("id", "run_id", "trace_id"),
}
"""The tables that tell of spans, as far as they tell of which trace."""
_RUNS, _SPANS = 0, 1
"""The kinds of roots, as in the listing of traces."""
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
    """A trace that has ended: its kind, the id of its root's row, and how to read it."""

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
        """Return traces that have waited and ended, at most `most`, and move the mark on.

        What is new, and as much of the history, waits for the next call: so all rows of a trace
        that has ended when it is looked at have been read from the feeds before it is sent.
        """
        due = [*self._ended_runs(mark), *self._ended_spans(mark)][:most]
        due = [each._replace(seed=self._seed(each)) for each in due]
        self._add_new(mark)
        self._add_history(mark, most)
        mark.runs -= {each.id for each in due if each.kind == _RUNS}
        mark.spans -= {each.id for each in due if each.kind == _SPANS}
        return due

    def _seed(self, due: Due) -> Seed:
        """Return how to read the whole trace, of which there may be several outermost runs."""
        found = self._reader.seed_of(due.seed.run_ids[0]) if due.kind == _RUNS else None
        return found or due.seed

    @staticmethod
    def wait(mark: Mark, due: Due) -> None:
        """Put a trace back into the mark, until it has ended."""
        (mark.runs if due.kind == _RUNS else mark.spans).add(due.id)

    # --- what has ended -----------------------------------------------------------------------

    def _ended_runs(self, mark: Mark) -> Iterator[Due]:
        """Yield the outermost runs that waited and have ended; forget those that are not there."""
        waited = (run_id for (run_id,) in self._rows(RUNS, ("run_id",), "id", mark.runs))
        roots = self._reader.roots(waited)
        mark.runs = {run.id for run in roots}
        for run in roots:
            if _has_ended(run):
                yield Due(_RUNS, run.id, Seed(trace_id_of(run.run_id), (run.run_id,)))

    def _ended_spans(self, mark: Mark) -> Iterator[Due]:
        """Yield the traces without a run that waited and have ended."""
        waited = {trace_id for (trace_id,) in self._rows(SPANS, ("trace_id",), "id", mark.spans)}
        traces = self._without_runs(waited)
        mark.spans = {_root_of(spans).id for spans in traces.values()}
        for trace_id, spans in traces.items():
            if self._spans_have_ended(spans):
                yield Due(_SPANS, _root_of(spans).id, Seed(trace_id, ()))

    def _without_runs(self, trace_ids: Collection[str]) -> dict[str, list[_SpanRow]]:
        """Return the saved spans of those of some traces of which no run is stored."""
        of_runs = self._runs_of(trace_ids)
        alone = [trace_id for trace_id in trace_ids if trace_id not in of_runs]
        traces: dict[str, list[_SpanRow]] = {}
        for row in self._rows(SPANS, _SpanRow._fields, "trace_id", alone):
            traces.setdefault(row[1], []).append(_SpanRow(*row))
        return traces

    def _spans_have_ended(self, spans: Sequence[_SpanRow]) -> bool:
        """Return whether the span without a parent has ended, or is not waited for any more."""
        root = _root_of(spans)
        if root.parent_span_id is None:
            return root.ended_at is not None
        last = max(span.updated_at for span in spans)
        return last <= encode_time(self._clock.now() - _ROOT_COMES)

    # --- what is new --------------------------------------------------------------------------

    def _add_new(self, mark: Mark) -> None:
        """Let the traces wait of which rows are new; the history comes to others by itself."""
        run_ids, trace_ids = self._new_rows(mark)
        run_ids.update(self._runs_of(trace_ids).values())
        runs = {
            run.id
            for run in self._reader.roots(run_ids)
            if _is_passed(mark, (run.created_at, _RUNS, run.id))
        }
        roots = map(_root_of, self._without_runs(trace_ids).values())
        spans = {root.id for root in roots if _is_passed(mark, (root.started_at, _SPANS, root.id))}
        mark.runs |= self._chosen(RUNS, runs, self._choice.runs)
        mark.spans |= self._chosen(SPANS, spans, self._choice.spans)

    def _new_rows(self, mark: Mark) -> tuple[set[str], set[str]]:
        """Read the feeds to their ends; return the runs, and the traces without a run, in them."""
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

    def _runs_of(self, trace_ids: Collection[str]) -> dict[str, str]:
        return runs_of_traces(self._store, trace_ids) if trace_ids else {}

    # --- history ------------------------------------------------------------------------------

    def _add_history(self, mark: Mark, most: int) -> None:
        """Let traces wait that were stored before the first export, some at a time."""
        if mark.history is None:
            return
        listing = Listing(self._store, self._choice, descending=False)
        roots = [*islice(listing.roots(mark.history or None), most)]
        mark.history = roots[-1][:3] if len(roots) == most else None
        mark.runs |= {root.id for root in roots if root.kind == _RUNS}
        mark.spans |= {root.id for root in roots if root.kind == _SPANS}

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
        for some in of_values(column, sorted(values), where):
            yield from self._store.select_columns(table, columns, some)


def _root_of(spans: Sequence[_SpanRow]) -> _SpanRow:
    """Return the first span without a parent; where there is none, the first that was stored."""
    return min((s for s in spans if s.parent_span_id is None), default=min(spans))


def _is_passed(mark: Mark, position: Position) -> bool:
    """Return whether the history has passed a root, and will not come to it any more."""
    return mark.history is None or (mark.history != () and position <= mark.history)


def _has_ended(run: RunRow) -> bool:
    return run.finished_at is not None or status_of_run(run.status) != SpanStatus.RUNNING.value
