"""A run with all that belongs to it: its events, its model calls, and its child runs likewise."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.cli.runs import get_run
from curio_persistence.cli.steps import LEVELS, Record, begin_of, severity, step_of, time_of
from curio_persistence.errors import NotFoundError

if TYPE_CHECKING:
    from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence

DEEPEST = 50
"""How far down child runs are followed at most: agents with more generations start each other."""


class Place(NamedTuple):
    """Where an event or a model call is to be found: `event:7`, `usage:3`."""

    kind: str
    id: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


class Wanted(NamedTuple):
    """What is read of each run: of its events and model calls no more than the last `limit`.

    Around a place it is so many before and after, and no child runs but those begun meanwhile. Who
    wants only some types of events wants no model calls.
    """

    types: Sequence[str] | None = None
    min_level: str = LEVELS[0]
    limit: int | None = None
    depth: int = DEEPEST
    around: Place | None = None

    def admits(self, record: Record) -> bool:
        # Not left to the database, which does not know that a tool call at `info` failed.
        least = severity(self.min_level)
        return not least or severity(step_of(record).level) >= least


EVERYTHING = Wanted()


class Totals(NamedTuple):
    """Model calls added up. The cost is None where no call told one, as `unpriced` ones did not."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = None
    unpriced: int = 0

    def plus(self, other: Totals) -> Totals:
        costs = [cost for cost in (self.cost_usd, other.cost_usd) if cost is not None]
        return Totals(
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            sum(costs, Decimal()) if costs else None,
            self.unpriced + other.unpriced,
        )


class History(NamedTuple):
    """One run's. The lists are None where nobody looked, because the run lies too deep."""

    run: AgentRun
    events: list[AgentRunEvent] | None = None
    usage: list[AgentLLMUsage] | None = None
    children: list[History] | None = None
    own: Totals = Totals()
    cut_before: bool = False
    cut_after: bool = False
    """Whether there were earlier, or later, events or calls than the limit let in."""
    hit: Record | None = None
    """The one around which the others stand."""

    @property
    def totals(self) -> Totals:
        """Its own model calls and those of its child runs."""
        totals = self.own
        for child in self.children or ():
            totals = totals.plus(child.totals)
        return totals

    def to_dict(self) -> dict[str, Any]:
        return {"run": self.run.to_dict()} | {
            name: None if records is None else [record.to_dict() for record in records]
            for name, records in (
                ("events", self.events),
                ("usage", self.usage),
                ("children", self.children),
            )
        }


def read_history(persistence: Persistence, run_id: str, wanted: Wanted = EVERYTHING) -> History:
    """The history of a run that must be there."""
    return _read(persistence, get_run(persistence, run_id), wanted, set())


def _read(persistence: Persistence, run: AgentRun, wanted: Wanted, seen: set[str]) -> History:
    from curio_persistence import AgentLLMUsage, AgentRunEvent

    if wanted.depth < 0 or run.run_id in seen:  # Parents may go in circles.
        return History(run)
    seen.add(run.run_id)
    calls = list(persistence.iter_llm_usage(run_id=run.run_id))
    events = persistence.iter_agent_run_events(
        run_id=run.run_id, event_type=wanted.types, order="newest"
    )
    both: tuple[Iterable[Record], ...] = ([] if wanted.types else calls, events)
    newest_first = filter(wanted.admits, merge(*both, key=time_of, reverse=True))
    cut = _cut(newest_first, run, wanted)
    children = persistence.iter_agent_runs(parent_run_id=run.run_id, order="oldest")
    below = wanted._replace(depth=wanted.depth - 1, around=None)
    return History(
        run,
        [record for record in cut.records if isinstance(record, AgentRunEvent)],
        [record for record in cut.records if isinstance(record, AgentLLMUsage)],
        [_read(persistence, child, below, seen) for child in children if cut.admits(child)],
        _added_up(calls),
        cut.before,
        cut.after,
        cut.hit,
    )


class _Cut(NamedTuple):
    """What is left of a run's events and model calls, oldest first, and where there were more."""

    records: list[Record]
    before: bool
    after: bool = False
    hit: Record | None = None

    def admits(self, child: AgentRun) -> bool:
        """Whether a child run is to be seen: around a hit only if it began near it."""
        if self.hit is None:
            return True
        begin, first, last = begin_of(child), self.records[0], self.records[-1]
        early, late = begin < time_of(first), begin > time_of(last)
        return not (self.before and early) and not (self.after and late)


def _cut(newest_first: Iterator[Record], run: AgentRun, wanted: Wanted) -> _Cut:
    limit = wanted.limit
    # One more than is shown, to know whether there are more.
    most = None if limit is None else limit + 1
    later: deque[Record] = deque(maxlen=most)
    hit = None if wanted.around is None else _found(newest_first, run, wanted.around, later)
    earlier = list(islice(newest_first, most))
    return _Cut(
        [*earlier[:limit][::-1], *([hit] if hit else []), *list(later)[::-1][:limit]],
        limit is not None and len(earlier) > limit,
        limit is not None and len(later) > limit,
        hit,
    )


def _found(
    newest_first: Iterator[Record], run: AgentRun, place: Place, passed: deque[Record]
) -> Record:
    """The record at a place; those that were passed on the way there are kept."""
    for record in newest_first:
        if place_of(record) == place:
            return record
        passed.append(record)
    raise NotFoundError(f"Run {run.run_id} has no such record: {place}.")


def place_of(record: Record) -> Place:
    from curio_persistence import AgentRunEvent

    assert record.id is not None, "what was read has its id"
    return Place("event" if isinstance(record, AgentRunEvent) else "usage", record.id)


def _added_up(calls: Iterable[AgentLLMUsage]) -> Totals:
    totals = Totals()
    for call in calls:
        cost = call.get_cost_usd()
        totals = totals.plus(
            Totals(1, call.input_tokens or 0, call.output_tokens or 0, cost, int(cost is None))
        )
    return totals
