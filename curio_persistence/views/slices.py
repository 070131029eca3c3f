"""The steps of one run, read a slice at a time: neighbouring events, model calls and child runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Order
from curio_persistence.store.query import Position
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, USAGE
from curio_persistence.views.histories import History
from curio_persistence.views.pairs import Pairs
from curio_persistence.views.steps import (
    Step,
    begin_of,
    ended,
    is_said_by_the_run,
    ref_of,
    step_of,
    step_of_run,
    time_of,
)

_AT_ONCE = 250
"""The events, and the model calls, of a slice at most."""
_LAST_ID = 2**63 - 1

Record = AgentRunEvent | AgentLLMUsage | AgentRun


class Slices:
    """The steps of one run."""

    def __init__(self, store: Store, run: AgentRun) -> None:
        self._store = store
        self._run = run
        self._pairs = Pairs(store, run.run_id)

    def steps(
        self, start: Position | None, *, newest_first: bool
    ) -> Iterator[tuple[Position, Step]]:
        """Yield the steps on one side of a position, the nearest first; without one, all."""
        while True:
            events = self._read(EVENTS, start, newest_first)
            calls = self._read(USAGE, start, newest_first)
            ends = [position_of(some[-1]) for some in (events, calls) if len(some) == _AT_ONCE]
            # What lies behind the end of one kind may come after what was not read of it.
            end = (max if newest_first else min)(ends, default=None)
            records = [*events, *calls, *self._children_behind(start, newest_first)]
            yield from self._steps_of(records, events, end, newest_first)
            if end is None:
                return
            start = end

    def _read(self, table: Table[Any], start: Position | None, newest_first: bool) -> list[Any]:
        order = (Order(table.ages_by, newest_first), Order("id", newest_first))
        where = (Filter("run_id", "=", self._run.run_id),)
        after = None if start is None else _behind(start, _KINDS[table.model])
        return table.decode(
            self._store.select(table, where, order=order, after=after, limit=_AT_ONCE)
        )

    def _children_behind(self, start: Position | None, newest_first: bool) -> Iterable[AgentRun]:
        if start is None:
            return self._children
        return [child for child in self._children if _is_behind(child, start, newest_first)]

    @cached_property
    def _children(self) -> Sequence[AgentRun]:
        where = (Filter("parent_run_id", "=", self._run.run_id),)
        return RUNS.decode(self._store.select(RUNS, where))

    def _steps_of(
        self,
        records: list[Record],
        events: list[AgentRunEvent],
        end: Position | None,
        newest_first: bool,
    ) -> Iterator[tuple[Position, Step]]:
        """Yield the steps among some records, up to an end."""
        in_time = events[::-1] if newest_first else events
        ends, ended_here = self._pairs.ends(in_time), self._pairs.ended(in_time)
        for position, record in sorted(
            ((position_of(record), record) for record in records),
            key=lambda each: each[0],
            reverse=newest_first,
        ):
            if end is not None and (position < end if newest_first else position > end):
                return
            if isinstance(record, AgentRun):
                yield position, step_of_run(History(record))
            elif isinstance(record, AgentLLMUsage):
                yield position, step_of(record)
            elif record.id not in ended_here:
                step = step_of(record)
                if closing := ends.get(record.id or 0):
                    step = ended(step, step_of(closing))
                if not is_said_by_the_run(step, History(self._run)):
                    yield position, step


_KINDS: dict[type, str] = {AgentRunEvent: "event", AgentRun: "run", AgentLLMUsage: "usage"}
"""The kinds of records; in the order of these words those of one moment stand."""
CHILD = _KINDS[AgentRun]


def position_of(record: Record) -> Position:
    """Return the position of a record among those of its run; of a child run, in its parent."""
    at = begin_of(record) if isinstance(record, AgentRun) else time_of(record)
    ref = ref_of(record)
    return encode_time(at), ref.kind, ref.id


def _behind(start: Position, kind: str) -> Position:
    """Return the position behind which the records of a kind follow."""
    at, last, ident = start
    return at, ident if kind == last else _LAST_ID if kind < str(last) else 0


def _is_behind(child: AgentRun, start: Position, newest_first: bool) -> bool:
    position = position_of(child)
    return position < start if newest_first else position > start
