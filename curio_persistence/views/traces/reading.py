"""Traces put together from the database: some at a time, by a few queries for all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from curio_persistence.capabilities.traces import outermost_of_traces, runs_of_traces
from curio_persistence.store.base import Store
from curio_persistence.tables import SPANS
from curio_persistence.trace_ids import may_share_its_trace, span_id_of, trace_id_of
from curio_persistence.views.traces.deriving import Spans
from curio_persistence.views.traces.records import EventRow, RecordReader, RunRow
from curio_persistence.views.traces.trace import Trace, TraceSpan, TraceSummary, summary_of
from curio_persistence.views.traces.tree import depth_of


class Seed(NamedTuple):
    """A trace that is to be read: its id, and its outermost runs; none if it is only saved."""

    trace_id: str
    run_ids: tuple[str, ...]


class TraceReader:
    """Reads traces; in brief, without long texts."""

    def __init__(self, store: Store, *, brief: bool) -> None:
        self._store = store
        self._records = RecordReader(store, brief=brief)

    # --- which trace --------------------------------------------------------------------------

    def seed_of(self, ident: str) -> Seed | None:
        """Return the trace with this id, or that of the run with this id; None if unknown."""
        if roots := self._roots_of([ident]):
            return self._seed_of_root(roots[0])
        runs = runs_of_traces(self._store, [ident]).values()
        where = (SPANS.filter("trace_id", "=", ident),)
        saved = self._store.select_columns(SPANS, ("run_id",), where)
        named = [run_id for (run_id,) in saved if run_id is not None]
        roots = self._roots_of(runs) or self._roots_of(named)
        if len(roots) == 1 and runs:
            return self._seed_of_root(roots[0])
        if saved:
            return Seed(ident, tuple(roots))
        of_run = self._store.select_columns(SPANS, ("trace_id",), SPANS.where(run_id=ident), 1)
        return self.seed_of(of_run[0][0]) if of_run else None

    def _seed_of_root(self, run_id: str) -> Seed:
        """Return the trace of an outermost run, with others that were received of it."""
        trace_id = trace_id_of(run_id)
        if not may_share_its_trace(run_id):
            return Seed(trace_id, (run_id,))
        beside = outermost_of_traces(self._store, [trace_id]).get(trace_id, [run_id])
        return Seed(trace_id, tuple(beside))

    def _roots_of(self, run_ids: Iterable[str]) -> list[str]:
        return [run.run_id for run in self.roots(run_ids)]

    def roots(self, run_ids: Iterable[str]) -> list[RunRow]:
        """Return the outermost of the stored runs that led to some, each once, in their order.

        Of runs that are parents of each other in a circle, it is the one that was stored first.
        """
        roots: dict[str, RunRow] = {}
        for run in self._records.runs("run_id", run_ids):
            line = {run.run_id: run}
            while above := self._parent_of(run):
                if above.run_id in line:
                    ids = [*line]
                    circle = ids[ids.index(above.run_id) :]
                    run = min((line[each] for each in circle), key=lambda each: each.id)
                    break
                run = line[above.run_id] = above
            roots.setdefault(run.run_id, run)
        return [*roots.values()]

    def _parent_of(self, run: RunRow) -> RunRow | None:
        if run.parent_run_id is None:
            return None
        return next(iter(self._records.runs("run_id", [run.parent_run_id])), None)

    # --- reading ------------------------------------------------------------------------------

    def read(self, seeds: Sequence[Seed]) -> list[Trace]:
        """Return the traces of some seeds, in their order."""
        found = self._collected(seeds)
        return [_trace(seed, found[seed.trace_id].done()) for seed in seeds]

    def summaries(self, seeds: Sequence[Seed]) -> list[TraceSummary]:
        """Return what the traces of some seeds add up to, in their order; none of those gone."""
        found = self._collected(seeds)
        told = (_summary(seed, found[seed.trace_id]) for seed in seeds)
        return [summary for summary in told if summary is not None]

    def _collected(self, seeds: Sequence[Seed]) -> dict[str, Spans]:
        """Return by their ids all that is stored of the traces of some seeds."""
        traces = {seed.trace_id: Spans(seed.trace_id) for seed in seeds}
        of_run = self._add_runs(
            {run_id: traces[seed.trace_id] for seed in seeds for run_id in seed.run_ids}
        )
        for call in self._records.calls(of_run, traces):
            spans = traces[call.trace_id or ""] if call.run_id is None else of_run[call.run_id]
            spans.add_call(call)
        events: defaultdict[Spans, list[EventRow]] = defaultdict(list)
        for event in self._records.events(of_run):
            events[of_run[event.run_id]].append(event)
        for spans, found in events.items():
            spans.add_events(found)
        self._add_saved(traces, of_run)
        return traces

    def _add_runs(self, roots: Mapping[str, Spans]) -> dict[str, Spans]:
        """Add the runs of all traces, and return by run_id which trace each belongs to."""
        of_run = dict(roots)
        for run in self._records.family(roots):
            if run.run_id not in of_run:
                of_run[run.run_id] = of_run[run.parent_run_id or ""]
            of_run[run.run_id].add_run(run)
        return of_run

    def _add_saved(self, traces: Mapping[str, Spans], of_run: Mapping[str, Spans]) -> None:
        """Add the saved spans of the runs, and those of the traces that no stored run has."""
        saved = self._records.saved(of_run, traces)
        others = {span["run_id"] for span in saved if "run_id" in span} - of_run.keys()
        stored = {run.run_id for run in self._records.runs("run_id", others)}
        for span in saved:
            run_id = span.get("run_id", "")
            if run_id in of_run:
                of_run[run_id].add_saved(span)
            elif run_id not in stored:
                traces[span["trace_id"]].add_saved(span)


def _trace(seed: Seed, spans: tuple[TraceSpan, ...]) -> Trace:
    """Return a trace; its root is that of its first run, or else the first span without parent."""
    return Trace(seed.trace_id, _root_id(seed, spans), spans)


def _root_id(seed: Seed, spans: Sequence[TraceSpan]) -> str:
    if seed.run_ids:
        return span_id_of(seed.run_ids[0])
    without = [span for span in spans if span.parent_span_id is None]
    # There is none if they were deleted meanwhile.
    root = min(without or spans, key=attrgetter("started_at"), default=None)
    return root.span_id if root else ""


def _summary(seed: Seed, found: Spans) -> TraceSummary | None:
    """Return what a trace adds up to, for which few need its tree; None if it has no spans."""
    spans = found.brief()
    root_id, depth = _root_id(seed, spans), depth_of(spans)
    root = found.span(root_id)
    if root is not None and depth is not None:
        return summary_of(seed.trace_id, root, spans, depth)
    return _trace(seed, found.done()).summary if spans else None
