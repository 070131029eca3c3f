"""A run with all that belongs to it: its events, model calls and scores, and its child runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from heapq import merge
from itertools import islice
from typing import Any

from curio_persistence.capabilities.events import Events
from curio_persistence.capabilities.runs import Runs
from curio_persistence.capabilities.scores import Scores
from curio_persistence.capabilities.usage import Usage
from curio_persistence.errors import NotFoundError
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent, Level, Score
from curio_persistence.views.runs import DEEPEST
from curio_persistence.views.steps import (
    Record,
    RecordRef,
    begin_of,
    ref_of,
    severity,
    step_of,
    time_of,
)


@dataclass(frozen=True, slots=True)
class HistoryOptions:
    """The part of each run that is read: at most the last `limit` events and model calls.

    With `around`, `limit` records before and after that one are read, and only child runs that
    began among them. With `types`, only events of these types are read, and no model calls.
    """

    types: Sequence[str] | None = None
    min_level: str = Level.DEBUG.value
    limit: int | None = None
    depth: int = DEEPEST
    around: RecordRef | None = None

    def admits(self, record: Record) -> bool:
        # Not left to the database, which does not know that a tool call at `info` failed.
        least = severity(self.min_level)
        return not least or severity(step_of(record).level) >= least


@dataclass(frozen=True, slots=True)
class Totals:
    """Model calls added up. The cost is None where no call has one; `unpriced` calls have none."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = None
    unpriced: int = 0

    def plus(self, other: Totals) -> Totals:
        """Return both together."""
        costs = [cost for cost in (self.cost_usd, other.cost_usd) if cost is not None]
        return Totals(
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            sum(costs, Decimal()) if costs else None,
            self.unpriced + other.unpriced,
        )


@dataclass(frozen=True, slots=True)
class History:
    """A run and its records, oldest first. The lists are None for a run that lies too deep.

    `own` adds up all model calls of the run, whatever the limit. `cut_before` and `cut_after` tell
    of earlier and later records than the limit admits; `hit` is the record that the others
    surround.
    """

    run: AgentRun
    events: list[AgentRunEvent] | None = None
    usage: list[AgentLLMUsage] | None = None
    scores: list[Score] | None = None
    children: list[History] | None = None
    own: Totals = Totals()
    cut_before: bool = False
    cut_after: bool = False
    hit: Record | None = None

    @property
    def totals(self) -> Totals:
        """The run's own model calls and those of its child runs, added up."""
        totals = self.own
        for child in self.children or ():
            totals = totals.plus(child.totals)
        return totals

    def to_dict(self) -> dict[str, Any]:
        """Return the run and its records as dictionaries, ready for JSON."""
        return {"run": self.run.to_dict()} | {
            name: None if records is None else [record.to_dict() for record in records]
            for name, records in (
                ("events", self.events),
                ("usage", self.usage),
                ("scores", self.scores),
                ("children", self.children),
            )
        }


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads histories, by the options."""

    runs: Runs
    events: Events
    usage: Usage
    scores: Scores
    options: HistoryOptions

    def read(self, run: AgentRun) -> History:
        """Return the history of a run."""
        return self._read(run, self.options, set())

    def _read(self, run: AgentRun, options: HistoryOptions, seen: set[str]) -> History:
        if options.depth < 0 or run.run_id in seen:  # Parents may go in circles.
            return History(run)
        seen.add(run.run_id)
        calls = list(self.usage.iterate(run_id=run.run_id))
        cut = _cut(self._newest_first(run, calls, options), run, options)
        children = self.runs.iterate(parent_run_id=run.run_id, order="oldest")
        below = replace(options, depth=options.depth - 1, around=None)
        return History(
            run,
            [record for record in cut.records if isinstance(record, AgentRunEvent)],
            [record for record in cut.records if isinstance(record, AgentLLMUsage)],
            self.scores.list(run.run_id),
            [self._read(child, below, seen) for child in children if cut.admits(child)],
            _added_up(calls),
            cut.before,
            cut.after,
            cut.hit,
        )

    def _newest_first(
        self, run: AgentRun, calls: list[AgentLLMUsage], options: HistoryOptions
    ) -> Iterator[Record]:
        events = self.events.iterate(run_id=run.run_id, event_type=options.types, order="newest")
        both: tuple[Iterable[Record], ...] = ([] if options.types else calls, events)
        return filter(options.admits, merge(*both, key=time_of, reverse=True))


@dataclass(frozen=True, slots=True)
class _Cut:
    """Return the chosen events and model calls of a run, oldest first, and where more were."""

    records: list[Record]
    before: bool
    after: bool = False
    hit: Record | None = None

    def admits(self, child: AgentRun) -> bool:
        """Return True for a child run to be seen: around a hit only if it began near it."""
        if self.hit is None:
            return True
        begin, first, last = begin_of(child), self.records[0], self.records[-1]
        early, late = begin < time_of(first), begin > time_of(last)
        return not (self.before and early) and not (self.after and late)


def _cut(newest_first: Iterator[Record], run: AgentRun, options: HistoryOptions) -> _Cut:
    limit = options.limit
    # One more than is shown, to know whether there are more.
    most = None if limit is None else limit + 1
    later: deque[Record] = deque(maxlen=most)
    hit = None if options.around is None else _found(newest_first, run, options.around, later)
    earlier = list(islice(newest_first, most))
    return _Cut(
        [*earlier[:limit][::-1], *([hit] if hit else []), *list(later)[::-1][:limit]],
        limit is not None and len(earlier) > limit,
        limit is not None and len(later) > limit,
        hit,
    )


def _found(
    newest_first: Iterator[Record], run: AgentRun, ref: RecordRef, passed: deque[Record]
) -> Record:
    """Return the record of that name, and keep those that were passed on the way there."""
    for record in newest_first:
        if ref_of(record) == ref:
            return record
        passed.append(record)
    raise NotFoundError(f"Run {run.run_id} has no such record: {ref}.")


def _added_up(calls: Iterable[AgentLLMUsage]) -> Totals:
    totals = Totals()
    for call in calls:
        cost = call.get_cost_usd()
        totals = totals.plus(
            Totals(1, call.input_tokens or 0, call.output_tokens or 0, cost, int(cost is None))
        )
    return totals
