"""The roots of the traces that pass filters, in the order of their begins.

Two kinds of rows begin traces: outermost runs, and saved spans without a parent and a run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import merge
from math import isfinite
from typing import Any, NamedTuple, TypedDict, TypeVar

from curio_persistence.capabilities.record_filter import Condition, FilterKind, checked_values
from curio_persistence.capabilities.traces import outermost_of_traces, runs_of_traces
from curio_persistence.capabilities.windows import TimeLike
from curio_persistence.clock import Clock
from curio_persistence.errors import InvalidValueError
from curio_persistence.models import SpanStatus
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Order, Where
from curio_persistence.store.query import Position, position_of_last
from curio_persistence.store.table import Table
from curio_persistence.tables import RUNS, SPANS
from curio_persistence.trace_ids import may_share_its_trace, trace_id_of
from curio_persistence.views.traces.deriving import RUN_STATUSES
from curio_persistence.views.traces.reading import Seed

_FIRST, _MOST = 100, 2_000
"""The rows that are read first, and later at most, to find some that begin a trace."""
_LAST_ID = 2**63 - 1


class _StoredFilters(TypedDict, total=False):
    agent_id: str | Collection[str] | None
    session_id: str | Collection[str] | None
    user_id: str | Collection[str] | None
    status: str | Collection[str] | None
    since: TimeLike | None
    until: TimeLike | None


class TraceFilters(_StoredFilters, total=False):
    """The filters of traces, all of them about the root; a trace must pass all that are given."""

    min_duration_ms: float | None
    max_duration_ms: float | None


def _statuses_of_runs(wanted: Any) -> Where:
    """Return the filter for runs whose spans have one of some statuses."""
    chosen = {wanted} if isinstance(wanted, str) else {*wanted}
    others_wanted = SpanStatus.OK.value in chosen
    known = sorted(run for run, span in RUN_STATUSES.items() if (span in chosen) != others_wanted)
    return (Filter("status", "not in" if others_wanted else "in", tuple(known)),)


_OF_RUNS = FilterKind(
    RUNS,
    _StoredFilters,
    conditions={
        "status": Condition(lambda value: checked_values(SPANS, "status", value), _statuses_of_runs)
    },
)
_OF_SPANS = FilterKind(SPANS, _StoredFilters)


class _RunRoot(NamedTuple):
    run_id: str
    id: int
    parent_run_id: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    # The columns of the filters, by which an archive decides.
    agent_id: str
    session_id: str | None
    user_id: str | None
    status: str


class _SavedRoot(NamedTuple):
    trace_id: str
    run_id: str | None
    id: int
    started_at: str
    ended_at: str | None
    agent_id: str | None
    session_id: str | None
    user_id: str | None
    status: str
    parent_span_id: None


_RUNS = RUNS.part(*_RunRoot._fields)
_ROOTS = SPANS.part(*_SavedRoot._fields)
R = TypeVar("R", _RunRoot, _SavedRoot)


class Root(NamedTuple):
    """The begin of a trace: its place in the order, and how to read it."""

    begin: str
    kind: int
    id: int
    seed: Seed


@dataclass(frozen=True, slots=True)
class Choice:
    """The filters of a call, checked: those of runs and of saved spans, and the durations."""

    runs: Where
    spans: Where
    least_ms: float | None
    most_ms: float | None

    @property
    def where(self) -> Where:
        """Return what tells two choices apart."""
        durations = Filter("duration_ms", "in", (self.least_ms, self.most_ms))
        return (*self.runs, *self.spans, durations)

    def admits(self, begin: str, end: str | None) -> bool:
        """Return whether the duration of a root is as asked for; one that is not known never is."""
        if self.least_ms is None and self.most_ms is None:
            return True
        if end is None:
            return False
        took = datetime.fromisoformat(end) - datetime.fromisoformat(begin)
        ms = max(took / timedelta(milliseconds=1), 0.0)
        return (self.least_ms or 0) <= ms and (self.most_ms is None or ms <= self.most_ms)


def choice_of(filters: Mapping[str, Any], clock: Clock) -> Choice:
    """Return the choice that keywords describe; raise as `FilterKind.of` does."""
    stored = {n: v for n, v in filters.items() if n not in ("min_duration_ms", "max_duration_ms")}
    runs, spans = (kind.of(stored).where(clock) for kind in (_OF_RUNS, _OF_SPANS))
    least, most = (_milliseconds(n, filters.get(n)) for n in ("min_duration_ms", "max_duration_ms"))
    return Choice(runs, spans, least, most)


def _milliseconds(name: str, value: Any) -> float | None:
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not isfinite(value) or value < 0:
        raise InvalidValueError(
            f"{name} is a number of milliseconds from 0 up, not {value!r:.80}.", field=name
        )
    return float(value)


class Listing:
    """The roots of the traces of a choice, newest or oldest first."""

    def __init__(self, store: Store, choice: Choice, *, descending: bool) -> None:
        self._store = store
        self._choice = choice
        self._descending = descending

    def roots(self, after: Position | None = None) -> Iterator[Root]:
        """Yield the roots behind a position, reading no more than is asked for."""
        return merge(
            self._outermost_runs(self._behind(after, 0)),
            self._saved_roots(self._behind(after, 1)),
            key=lambda root: root[:3],
            reverse=self._descending,
        )

    @property
    def order(self) -> tuple[Order, ...]:
        """Return the order of the roots."""
        return self._by(*Root._fields[:3])

    def _by(self, *columns: str) -> tuple[Order, ...]:
        return tuple(Order(column, self._descending) for column in columns)

    def _behind(self, after: Position | None, kind: int) -> Position | None:
        """Return the position behind which the rows of a kind follow."""
        if after is None:
            return None
        begin, last, ident = after
        if kind == last:
            return begin, ident
        return begin, 0 if (kind > int(str(last))) is not self._descending else _LAST_ID

    def _outermost_runs(self, after: Position | None) -> Iterator[Root]:
        """Yield runs that no stored run has started."""
        order = self._by("created_at", "id")
        for rows in self._rows(_RunRoot, _RUNS, self._choice.runs, order, after):
            parents = {row.parent_run_id for row in rows if row.parent_run_id is not None}
            stored, received = self._stored(parents), self._received(rows)
            for row in rows:
                trace_id = trace_id_of(row.run_id)
                run_ids = received.get(trace_id, [row.run_id])
                is_root = row.parent_run_id not in stored and row.run_id == run_ids[0]
                if is_root and self._choice.admits(
                    row.started_at or row.created_at, row.finished_at
                ):
                    yield Root(row.created_at, 0, row.id, Seed(trace_id, tuple(run_ids)))

    def _received(self, rows: list[_RunRoot]) -> dict[str, list[str]]:
        """Return the outermost runs of the traces of which several may have been received."""
        received = (row.run_id for row in rows if may_share_its_trace(row.run_id))
        return outermost_of_traces(self._store, {*map(trace_id_of, received)})

    def _saved_roots(self, after: Position | None) -> Iterator[Root]:
        """Yield the first spans of traces without a stored run."""
        order = self._by("started_at", "id")
        where = (*self._choice.spans, Filter("parent_span_id", "is null"))
        for rows in self._rows(_SavedRoot, _ROOTS, where, order, after):
            of_runs = self._stored({row.run_id for row in rows if row.run_id is not None})
            firsts = self._firsts({row.trace_id for row in rows if row.run_id not in of_runs})
            for row in rows:
                is_first = firsts.get(row.trace_id) == (row.started_at, row.id)
                if is_first and self._choice.admits(row.started_at, row.ended_at):
                    yield Root(row.started_at, 1, row.id, Seed(row.trace_id, ()))

    def _firsts(self, trace_ids: Collection[str]) -> dict[str, tuple[str, int]]:
        """Return begin and id of the first root of each trace that has no stored run."""
        where = (Filter("trace_id", "in", tuple(trace_ids)),)
        columns = ("trace_id", "run_id", "parent_span_id", "started_at", "id")
        spans = self._store.select_columns(SPANS, columns, where) if trace_ids else []
        stored = self._stored({run_id for _, run_id, *_ in spans if run_id is not None})
        of_runs = {trace_id for trace_id, run_id, *_ in spans if run_id in stored}
        of_runs.update(runs_of_traces(self._store, trace_ids))
        firsts: dict[str, tuple[str, int]] = {}
        for trace_id, _, parent, begin, ident in spans:
            if parent is None and trace_id not in of_runs:
                first = firsts.setdefault(trace_id, (begin, ident))
                firsts[trace_id] = min(first, (begin, ident))
        return firsts

    def _stored(self, run_ids: Collection[str]) -> set[str]:
        """Return those of some runs that are stored."""
        where = (Filter("run_id", "in", tuple(run_ids)),)
        rows = self._store.select_columns(RUNS, ("run_id",), where) if run_ids else ()
        return {run_id for (run_id,) in rows}

    def _rows(
        self,
        row: type[R],
        table: Table[Any],
        where: Where,
        order: tuple[Order, ...],
        after: Position | None,
    ) -> Iterator[list[R]]:
        """Yield the rows of a table in an order, more and more at a time."""
        size = _FIRST
        while True:
            columns = self._store.select(table, where, order=order, after=after, limit=size)
            if columns[0]:
                yield [row(*values) for values in zip(*columns, strict=True)]
            if len(columns[0]) < size:
                return
            after = position_of_last(table, order, columns)
            size = min(2 * size, _MOST)
