"""The steps of one run by time: its events, model calls and child runs, some hundred at once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from heapq import merge
from typing import Any, TypeVar

from curio_persistence.models import AgentRun
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Order
from curio_persistence.store.query import Position
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS
from curio_persistence.views.brief import (
    CALL_LINES,
    CALL_WORDS,
    EVENT_LINES,
    EVENT_WORDS,
    RUN_LINES,
    CallRow,
    EventRow,
    Found,
    RunRow,
    call_line,
    event_line,
    lacks_its_error,
    run_line,
)
from curio_persistence.views.histories import History
from curio_persistence.views.pairs import Pairs
from curio_persistence.views.step_filters import StepFilters
from curio_persistence.views.steps import ENDS_OF_RUNS, is_said_by_the_run, step_of

EVENT, CHILD, CALL = "event", "run", "usage"
"""The kinds of records; in the order of these words those of one moment stand."""
_AT_ONCE = 250
_LAST_ID = 2**63 - 1

Row = TypeVar("Row", EventRow, CallRow)


class Slices:
    """The steps of one run, which is `depth` runs below another.

    Most that do not pass the filters are left out; child runs never are.
    """

    def __init__(self, store: Store, run_id: str, depth: int, filters: StepFilters) -> None:
        self._store = store
        self._run_id = run_id
        self._depth = depth
        self._filters = filters
        self._admits_all = filters.admits_all
        self._pairs = Pairs(store, run_id)

    def steps(self, start: Position | None, *, newest_first: bool) -> Iterator[Found]:
        """Yield the steps on one side of a position, the nearest first; without one, all."""
        kinds = (self._events, self._calls, self._children)
        # Positions differ, so that nothing else is compared.
        return merge(*(kind(start, newest_first) for kind in kinds), reverse=newest_first)

    def _events(self, start: Position | None, newest_first: bool) -> Iterator[Found]:
        table = EVENT_WORDS if self._filters.text else EVENT_LINES
        for rows in self._read(EventRow, table, _behind(start, EVENT), newest_first):
            in_time = rows[::-1] if newest_first else rows
            ends, ended = self._pairs.ends(in_time), self._pairs.ended(in_time)
            for row in rows:
                end = ends.get(row.id)
                if row.id in ended:
                    continue
                if not (self._admits_all or self._filters.may_admit_event(end or row)):
                    continue
                if not self._is_said_by_the_run(row):
                    yield self._event(row, end)

    def _event(self, begun: EventRow, end: EventRow | None) -> Found:
        last = end or begun
        if lacks_its_error(last):
            where = (Filter("id", "=", last.id),)
            [last] = map(EventRow._make, zip(*self._store.select(EVENT_WORDS, where), strict=True))
            begun, end = (begun, last) if end else (last, None)
        line = event_line(begun, end, self._run_id, self._depth)
        return Found((begun.timestamp, EVENT, begun.id), line, (begun, end) if end else (begun,))

    def _calls(self, start: Position | None, newest_first: bool) -> Iterator[Found]:
        table = CALL_WORDS if self._filters.text else CALL_LINES
        for rows in self._read(CallRow, table, _behind(start, CALL), newest_first):
            for row in filter(self._filters.may_admit_call, rows):
                line = call_line(row, self._run_id, self._depth)
                yield Found((row.created_at, CALL, row.id), line, (row,))

    def _children(self, start: Position | None, newest_first: bool) -> Iterator[Found]:
        for position, row in reversed(self._child_runs) if newest_first else self._child_runs:
            if start is None or (position < start if newest_first else position > start):
                yield Found(position, run_line(row, self._run_id, self._depth), (row,))

    @cached_property
    def _child_runs(self) -> list[tuple[Position, RunRow]]:
        where = (Filter("parent_run_id", "=", self._run_id),)
        rows = map(RunRow._make, zip(*self._store.select(RUN_LINES, where), strict=True))
        return sorted(((row.begin, CHILD, row.id), row) for row in rows)

    def _read(
        self, kind: type[Row], table: Table[Any], after: Position | None, newest_first: bool
    ) -> Iterator[list[Row]]:
        """Yield rows, which begin with their time and id, in lists."""
        time = kind._fields[0]
        order = (Order(time, newest_first), Order("id", newest_first))
        where = (Filter("run_id", "=", self._run_id),)
        while True:
            columns = self._store.select(table, where, order=order, after=after, limit=_AT_ONCE)
            rows = list(map(kind._make, zip(*columns, strict=True)))
            yield rows
            if len(rows) < _AT_ONCE:
                return
            after = rows[-1][:2]

    # --- what the run says itself -----------------------------------------------------------------

    def _is_said_by_the_run(self, row: EventRow) -> bool:
        if row.event_type not in ENDS_OF_RUNS:
            return False
        event = EVENTS.decode(self._store.select(EVENTS, (Filter("id", "=", row.id),)))
        return any(is_said_by_the_run(step_of(each), History(self._run)) for each in event)

    @cached_property
    def _run(self) -> AgentRun:
        where = (Filter("run_id", "=", self._run_id),)
        return next(iter(RUNS.decode(self._store.select(RUNS, where, limit=1))))


def _behind(start: Position | None, kind: str) -> Position | None:
    """Return the time and id behind which the records of a kind follow a position."""
    if start is None:
        return None
    at, last, ident = start
    return at, ident if kind == last else _LAST_ID if kind < str(last) else 0
