"""The state of a session as it was at a step, whatever came later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from curio_persistence.models import AgentLLMUsage, AgentRun, Approval, ApprovalStatus
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import decode_money, encode_time
from curio_persistence.store.filters import COUNT, Filter, Measure, Order, Where, total
from curio_persistence.store.query import Position
from curio_persistence.tables import APPROVALS, EVENTS, RUNS, USAGE
from curio_persistence.views.steps import RecordRef, Step, step_of
from curio_persistence.views.timelines import (
    BEGINS,
    CALL,
    EVENT,
    PLACES,
    Found,
    Timeline,
    TimelineEntry,
    entries_of,
    entry_of,
    ref_at,
)

_MOST_OPEN = 20
"""The open calls that are shown: an agent waits for few at a time."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The counts of a session up to a step. `cost_usd` is None if no call had a known cost."""

    runs: int = 0
    steps: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = None
    unpriced: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """A step of a session, and what was known when it had happened.

    It is the step `number` of `steps`; `earlier` and `later` name its neighbours. `open_runs` and
    `open_calls` had begun and not ended, `approvals` had been requested and not been decided.
    `last_call` is the last model call that had answered. `seq` is the last entry of the session's
    run log until then; None without one. `around` are the steps before it, itself, and those after.
    """

    entry: TimelineEntry
    number: int
    steps: int
    earlier: RecordRef | None
    later: RecordRef | None
    counted: Counted
    open_runs: tuple[AgentRun, ...]
    open_calls: tuple[Step, ...]
    approvals: tuple[Approval, ...]
    last_call: AgentLLMUsage | None
    seq: int | None
    around: tuple[TimelineEntry, ...] = ()

    @property
    def ref(self) -> RecordRef:
        """The name of the step."""
        ref = self.entry.step.ref
        assert ref is not None
        return ref


def moment_of(store: Store, timeline: Timeline, found: Found, around: int) -> Moment:
    """Return a step, what was known then, and so many steps before and after it."""
    position = found.position
    before, behind = timeline.before(position, around or 1), timeline.behind(position, around or 1)
    number, state = timeline.count_to(position), _State(store, timeline, position)
    return Moment(
        entry_of(found),
        number,
        timeline.count_to(None),
        ref_at(before[-1]) if before else None,
        ref_at(behind[0]) if behind else None,
        state.counted(number),
        state.open_runs,
        state.open_calls(),
        state.approvals(),
        state.last_call(),
        state.seq(),
        entries_of([*before, found, *behind[:around]] if around else [found]),
    )


class _State:
    """The records of a session up to a position."""

    def __init__(self, store: Store, timeline: Timeline, position: Position) -> None:
        self._store = store
        self._at = str(position[0])
        self._begun = tuple(run_id for place, run_id in timeline.runs if place <= position)
        of_begun = Filter("run_id", "in", self._begun)
        self._events: Where = (of_begun, *timeline.up_to(position, EVENT))
        self._calls: Where = (of_begun, *timeline.up_to(position, CALL))
        self.open_runs = self._open_runs()

    def counted(self, steps: int) -> Counted:
        tools = (*self._events, Filter("tool_name", "is not null"))
        [(tool_calls, failed_tools)] = self._store.aggregate(
            EVENTS, (COUNT, total("tool_error")), tools
        )
        sums = (total("cost_usd"), total("input_tokens"), total("output_tokens"))
        measures = (COUNT, Measure("count", "cost_usd"), *sums)
        calls = priced = failed = 0
        added: Sequence[int] = (0, 0, 0)
        for status, some, with_cost, *numbers in self._store.aggregate(
            USAGE, measures, self._calls, group_by=("status",)
        ):
            calls, priced = calls + some, priced + with_cost
            failed += 0 if status == "success" else some
            added = [one + (other or 0) for one, other in zip(added, numbers, strict=True)]
        return Counted(
            len(self._begun),
            steps,
            calls,
            tool_calls,
            failed + (failed_tools or 0),
            added[1],
            added[2],
            decode_money(added[0]) if priced else None,
            calls - priced,
        )

    def _open_runs(self) -> tuple[AgentRun, ...]:
        columns = ("id", "finished_at")
        rows = self._store.select_columns(RUNS, columns, (Filter("run_id", "in", self._begun),))
        ids = tuple(ident for ident, finished in rows if not finished or finished > self._at)
        return tuple(RUNS.decode(self._store.select(RUNS, (Filter("id", "in", ids),))))

    def open_calls(self) -> tuple[Step, ...]:
        """Return the tool calls and spans that had begun in open runs, and not ended."""
        types = Filter("event_type", "in", (*BEGINS, *BEGINS.values()))
        of_open = Filter("run_id", "in", tuple(run.run_id for run in self.open_runs))
        columns = ("timestamp", "id", "event_type", "run_id", "span_id", "tool_name")
        rows = self._store.select_columns(EVENTS, columns, (*self._events, of_open, types))
        ids = (Filter("id", "in", tuple(_left_open(sorted(rows)))[-_MOST_OPEN:]),)
        return tuple(map(step_of, EVENTS.decode(self._store.select(EVENTS, ids))))

    def approvals(self) -> tuple[Approval, ...]:
        """Return the tickets that waited for a decision."""
        at = Filter("requested_at", "<", self._at), Filter("requested_at", "=", self._at)
        found = self._store.select(
            APPROVALS,
            (
                Filter("run_id", "in", self._begun),
                Filter("", "any", ((at[0],), (at[1],))),
                Filter("expires_at", ">", self._at),
            ),
        )
        return tuple(each for each in APPROVALS.decode(found) if self._was_open(each))

    def _was_open(self, ticket: Approval) -> bool:
        if ticket.resolved_at is None:
            return ticket.status in (ApprovalStatus.PENDING, ApprovalStatus.EXPIRED)
        return str(encode_time(ticket.resolved_at)) > self._at

    def last_call(self) -> AgentLLMUsage | None:
        order = (Order("created_at", True), Order("id", True))
        ids, *_ = self._store.select(PLACES[CALL], self._calls, order=order, limit=1)
        found = self._store.select(USAGE, (Filter("id", "in", tuple(ids)),)) if ids else None
        return USAGE.decode(found)[0] if found else None

    def seq(self) -> int | None:
        [(last,)] = self._store.aggregate(EVENTS, (Measure("max", "seq"),), self._events)
        return None if last is None else int(last)


def _left_open(rows: Iterable[tuple[Any, ...]]) -> Iterable[int]:
    """Return the ids of events by which calls began that did not end, the oldest first.

    What ends is the one with the same span_id; without one, the last that began of the same tool.
    """
    waiting: dict[tuple[Any, ...], list[int]] = {}
    for _, ident, event_type, run_id, span_id, tool_name in rows:
        begins = event_type in BEGINS
        call = (run_id, BEGINS.get(event_type, event_type), span_id or tool_name)
        if begins:
            waiting.setdefault(call, []).append(ident)
        elif waiting.get(call):
            waiting[call].pop()
    return sorted(ident for idents in waiting.values() for ident in idents)
