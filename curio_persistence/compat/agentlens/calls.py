"""The cost of model calls, which AgentLens may be told twice: each call counts once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any

from curio_persistence.compat.agentlens.records import (
    COST_TRACKED,
    LLM_RESPONSE,
    call_of,
    event_of,
    object_of,
)
from curio_persistence.compat.agentlens.values import AgentLensEvent
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Where
from curio_persistence.tables import EVENTS
from curio_persistence.tables.columns import finite_number

PRICED = (COST_TRACKED, LLM_RESPONSE)
AT_ONCE = 500
"""The values of a filter that a query binds."""
_NOTHING = Decimal(0)
Call = tuple[str, str]
"""A session, and what is the same in all events of a call in it."""


class CallCosts:
    """Adds costs up in the order in which events were appended.

    The cost of a call is that of its response: what was tracked for the call before it is taken
    away again, and what is tracked after it is not added.
    """

    def __init__(self) -> None:
        self._responded: set[Call] = set()
        self._tracked: defaultdict[Call, Decimal] = defaultdict(Decimal)

    def add(self, event: AgentLensEvent) -> Decimal:
        """Return by how much the cost of its session changes with an event."""
        cost, name = cost_in(event.event_type, object_of(event.payload)), call_of(event)
        if event.event_type not in PRICED or name is None:
            return cost
        call = (event.session_id, name)
        if event.event_type == LLM_RESPONSE:
            self._responded.add(call)
            return cost - self._tracked.pop(call, _NOTHING)
        if call in self._responded:
            return _NOTHING
        self._tracked[call] += cost
        return cost


def calls_in(events: Collection[AgentLensEvent]) -> set[Call]:
    """Return the calls whose cost some events name."""
    named = ((event, call_of(event)) for event in events if event.event_type in PRICED)
    return {(event.session_id, name) for event, name in named if name is not None}


def stored_events_of(store: Store, calls: Collection[Call]) -> Iterator[AgentLensEvent]:
    """Yield the stored events that name a cost of one of these calls."""
    for where in _wheres(calls, PRICED):
        for record in EVENTS.decode(store.select(EVENTS, where)):
            if (record.run_id, record.span_id) in calls:
                yield event_of(record)


def responded(store: Store, calls: Collection[Call]) -> set[Call]:
    """Return those of some calls that have a response."""
    found: set[Call] = set()
    for where in _wheres(calls, (LLM_RESPONSE,)):
        found.update(store.select_columns(EVENTS, ("run_id", "span_id"), where))
    return found.intersection(calls)


def _wheres(calls: Collection[Call], types: tuple[str, ...]) -> Iterator[Where]:
    """Yield filters for the events of some calls, and perhaps of others in their sessions."""
    left = iter(sorted(calls))
    while some := tuple(islice(left, AT_ONCE)):
        yield (
            Filter("run_id", "in", tuple({session for session, _ in some})),
            Filter("span_id", "in", tuple({name for _, name in some})),
            Filter("event_type", "in", types),
        )


def cost_in(event_type: str, payload: Mapping[str, Any]) -> Decimal:
    """Return the cost that an event names; 0 for one that names none."""
    cost = finite_number(payload.get("costUsd")) if event_type in PRICED else None
    return Decimal(str(cost)) if cost else _NOTHING
