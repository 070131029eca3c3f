"""The analytics of a window: totals, and a bucket for each span of time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from curio_persistence.compat.agentlens.base import Part
from curio_persistence.compat.agentlens.calls import (
    PRICED,
    cost_in,
    responded,
)
from curio_persistence.compat.agentlens.filters import (
    AnalyticsQuery,
    one_or_several,
    query_of,
    window,
)
from curio_persistence.compat.agentlens.records import (
    COST_TRACKED,
    NO_METRICS,
    OURS,
    TOOL_RESPONSE,
    object_of,
    parsed,
)
from curio_persistence.compat.agentlens.states import SEVERE, TOOL_ERROR
from curio_persistence.compat.agentlens.times import second_of
from curio_persistence.compat.agentlens.values import (
    AnalyticsBucket,
    AnalyticsResult,
    AnalyticsTotals,
)
from curio_persistence.errors import InvalidValueError
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import decode_text
from curio_persistence.store.filters import COUNT, Bucket, Filter, Where
from curio_persistence.tables import EVENTS
from curio_persistence.tables.columns import finite_number

_SECONDS = {"hour": 3_600, "day": 86_400, "week": 604_800}
_WITH_NUMBERS = (*PRICED, TOOL_RESPONSE)
"""The types of events whose payloads have numbers that are added up."""
_COLUMNS = ("run_id", "span_id", "event_type", "timestamp", "data")
_KEYS = ("run_id", "agent_id", "event_type", "level")


@dataclass
class Sums:
    """The sums of a span of time, or of the whole window."""

    events: int = 0
    tool_calls: int = 0
    errors: int = 0
    durations: int = 0
    duration: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    sessions: set[str] = field(default_factory=set)
    agents: set[str] = field(default_factory=set)

    def count(self, session: str, agent: str, event_type: str, level: str, events: int) -> None:
        """Add some events of one kind."""
        self.events += events
        self.tool_calls += events if event_type == "tool_call" else 0
        self.errors += events if level in SEVERE or event_type == TOOL_ERROR else 0
        self.sessions.add(session)
        self.agents.add(agent)

    def add(self, cost: Decimal, duration: Decimal | None) -> None:
        """Add the numbers of an event."""
        self.cost += cost
        if duration is not None:
            self.durations += 1
            self.duration += duration

    def latency(self) -> float:
        """Return the mean duration of tools in milliseconds; 0 if there is none."""
        return float(self.duration / self.durations) if self.durations else 0.0

    def values(self) -> dict[str, Any]:
        """Return the fields that spans and totals have."""
        return {
            "event_count": self.events,
            "tool_call_count": self.tool_calls,
            "error_count": self.errors,
            "avg_latency_ms": self.latency(),
            "total_cost_usd": float(self.cost),
            "unique_sessions": len(self.sessions),
        }


class Analyzes(Part):
    """The call that adds events up by time."""

    def get_analytics(
        self,
        from_: Any = None,
        to: Any = None,
        granularity: Any = None,
        agent_id: Any = None,
        exclude_metrics: Any = None,
        **filters: Any,
    ) -> AnalyticsResult:
        """Return sums of the events in a window, both ends included, by hour, day or ISO week.

        Spans without events are left out. All may be given as one mapping.
        """
        mapping = from_ if isinstance(from_, Mapping) else {"from_": from_}
        named = {"to": to, "granularity": granularity, "agent_id": agent_id}
        named = {"exclude_metrics": exclude_metrics, **named, **filters}
        named = {name: value for name, value in named.items() if value is not None}
        asked = query_of(AnalyticsQuery, mapping, named)
        span = Bucket("timestamp", _seconds(asked.granularity))
        spans, totals = add_up(self._store, _where(asked), span)
        buckets = [
            AnalyticsBucket(second_of(datetime.fromisoformat(start)), **sums.values())
            for start, sums in sorted(spans.items())
        ]
        return AnalyticsResult(
            buckets, AnalyticsTotals(**totals.values(), unique_agents=len(totals.agents))
        )


def _seconds(granularity: Any) -> int:
    if granularity not in _SECONDS:
        known = ", ".join(_SECONDS)
        raise InvalidValueError(
            f"granularity is one of {known}, not {granularity!r:.80}.", field="granularity"
        )
    return _SECONDS[granularity]


def _where(asked: AnalyticsQuery) -> Where:
    for name, value in ("from", asked.from_), ("to", asked.to):
        if value is None:
            raise InvalidValueError(f"{name} is required.", field=name)
    return (
        *(NO_METRICS if asked.exclude_metrics else OURS),
        *one_or_several(EVENTS, "agent_id", asked.agent_id),
        *window("timestamp", asked.from_, asked.to),
    )


def add_up(store: Store, where: Where, span: Bucket) -> tuple[Mapping[str, Sums], Sums]:
    """Return the sums of events by the begin of their span, and of all."""
    spans: defaultdict[str, Sums] = defaultdict(Sums)
    totals = Sums()
    groups = store.aggregate(EVENTS, (COUNT,), where, group_by=(span, *_KEYS))
    for start, session, agent, event_type, level, events in groups:
        for sums in (spans[start], totals):
            sums.count(session, agent, event_type, level, events)
    for time, cost, duration in _numbers(store, where):
        for sums in (spans[span.start_of(time)], totals):
            sums.add(cost, duration)
    return spans, totals


def _numbers(store: Store, where: Where) -> Iterator[tuple[str, Decimal, Decimal | None]]:
    """Yield the time of each event with numbers, the cost that it adds, and its duration."""
    where = (*where, Filter("event_type", "in", _WITH_NUMBERS))
    for columns in store.stream(EVENTS, where, snapshot=False):
        stored = dict(zip(EVENTS.names, columns, strict=True))
        rows = list(zip(*(stored[name] for name in _COLUMNS), strict=True))
        tracked = {row[:2] for row in rows if row[2] == COST_TRACKED}
        known = responded(store, {call for call in tracked if None not in call})
        for session, name, event_type, time, data in rows:
            payload = object_of(parsed(decode_text(data)))
            counts = event_type != COST_TRACKED or (session, name) not in known
            cost = cost_in(event_type, payload) if counts else Decimal(0)
            yield time, cost, _duration_in(event_type, payload)


def _duration_in(event_type: str, payload: Mapping[str, Any]) -> Decimal | None:
    number = finite_number(payload.get("durationMs")) if event_type == TOOL_RESPONSE else None
    return None if number is None else Decimal(str(number))
