"""A run with all that belongs to it: its events, its model calls, and its child runs likewise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.cli.query import get_run
from curio_persistence.cli.steps import LEVELS, Record, severity, step_of, time_of

if TYPE_CHECKING:
    from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence

DEEPEST = 50
"""How far down child runs are followed at most: agents with more generations start each other."""


class Wanted(NamedTuple):
    """What is read of each run: of its events and model calls no more than the last `limit`.

    Who wants only some types of events wants no model calls.
    """

    types: Sequence[str] | None = None
    min_level: str = LEVELS[0]
    limit: int | None = None
    depth: int = DEEPEST

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
    is_cut: bool = False
    """Whether there were earlier events or calls than the limit let in."""

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
    records, is_cut = _last([] if wanted.types else calls, events, wanted)
    children = list(persistence.iter_agent_runs(parent_run_id=run.run_id, order="oldest"))
    below = wanted._replace(depth=wanted.depth - 1)
    return History(
        run,
        [record for record in records if isinstance(record, AgentRunEvent)],
        [record for record in records if isinstance(record, AgentLLMUsage)],
        [_read(persistence, child, below, seen) for child in children],
        _added_up(calls),
        is_cut,
    )


def _last(
    calls: Iterable[AgentLLMUsage], events: Iterable[AgentRunEvent], wanted: Wanted
) -> tuple[list[Record], bool]:
    """The last wanted ones, oldest first, and whether there are more; both are newest first."""
    both: tuple[Iterable[Record], ...] = (calls, events)
    found = filter(wanted.admits, merge(*both, key=time_of, reverse=True))
    # One more than is shown, to know whether there are more.
    newest = list(islice(found, None if wanted.limit is None else wanted.limit + 1))
    shown = newest[: wanted.limit]
    return shown[::-1], len(shown) < len(newest)


def _added_up(calls: Iterable[AgentLLMUsage]) -> Totals:
    totals = Totals()
    for call in calls:
        cost = call.get_cost_usd()
        totals = totals.plus(
            Totals(1, call.input_tokens or 0, call.output_tokens or 0, cost, int(cost is None))
        )
    return totals
