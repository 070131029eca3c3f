"""The reading calls of an event store."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Any

from curio_persistence.capabilities.chains import IN_ORDER
from curio_persistence.compat.agentlens.base import Part, events_in, links_of
from curio_persistence.compat.agentlens.filters import (
    EventQuery,
    SessionQuery,
    one_or_several,
    page_of,
    query_of,
    several,
    window,
)
from curio_persistence.compat.agentlens.hashing import verify_chain_batch
from curio_persistence.compat.agentlens.records import OURS
from curio_persistence.compat.agentlens.states import (
    ACTIVE,
    IDLE,
    SEVERE,
    STORED,
    TOOL_ERROR,
    AgentState,
    SessionState,
    storable_tags,
)
from curio_persistence.compat.agentlens.values import (
    Agent,
    AgentLensEvent,
    ChainVerificationResult,
    EventCounts,
    EventQueryResult,
    Session,
    SessionQueryResult,
    StorageStats,
)
from curio_persistence.errors import ConfigurationError
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import COUNT, Filter, Order, Select, Where
from curio_persistence.tables import AGENTS, EVENTS, SESSIONS

_OLDEST = (Order("timestamp"), Order("id"))
_NEWEST = (Order("timestamp", descending=True), Order("id", descending=True))
_IDLE_MINUTES = "AGENTLENS_SESSION_IDLE_MINUTES"


class Reads(Part):
    """The calls that read events, sessions and agents."""

    # --- events -------------------------------------------------------------------------------

    def query_events(self, query: Any = None, **filters: Any) -> EventQueryResult:
        """Return a page of events, the newest first unless `order` is "asc".

        The filters are `session_id`, `agent_id`, `event_type` and `severity`, each one or several;
        `from_` and `to`, both included; `search` for a part of the payload's JSON; and
        `exclude_metrics`. `limit` is 50 if it is not given, and 500 at most.
        """
        asked = query_of(EventQuery, query, filters)
        limit, offset = page_of(asked)
        where, order = asked.where(), _NEWEST if asked.is_descending() else _OLDEST
        total = self._store.count(EVENTS, where)
        rows = self._store.select(EVENTS, where, order=order, limit=limit, offset=offset)
        events = events_in(rows)
        return EventQueryResult(events, total, has_more=offset + len(events) < total)

    def count_events(self, query: Any = None, **filters: Any) -> int:
        """Return how many events pass the filters of `query_events`."""
        return self._store.count(EVENTS, query_of(EventQuery, query, filters).where())

    def get_event(self, event_id: str) -> AgentLensEvent | None:
        """Return an event, or None."""
        where = (*OURS, EVENTS.filter("event_id", "=", event_id))
        return next(iter(events_in(self._store.select(EVENTS, where, limit=1))), None)

    def get_session_timeline(self, session_id: str) -> list[AgentLensEvent]:
        """Return the events of a session by time; those of one time in the order of appending."""
        where = (*OURS, EVENTS.filter("run_id", "=", session_id))
        return events_in(self._store.select(EVENTS, where, order=_OLDEST))

    def get_last_event_hash(self, session_id: str) -> str | None:
        """Return the hash that the next event of a session has to follow; None for its first."""
        EVENTS.filter("run_id", "=", session_id)
        return self._tail(session_id)

    def count_events_batch(self, agent_id: str, from_: Any, to: Any) -> EventCounts:
        """Return how many events of an agent there are in a window, and how many are errors."""
        where = (*OURS, *one_or_several(EVENTS, "agent_id", agent_id))
        where = (*where, *window("timestamp", from_, to))
        groups = self._store.aggregate(EVENTS, (COUNT,), where, group_by=("level", "event_type"))
        error, critical = (sum(n for level, _, n in groups if level == word) for word in SEVERE)
        tool_error = sum(n for _, event_type, n in groups if event_type == TOOL_ERROR)
        return EventCounts(sum(n for *_, n in groups), error, critical, tool_error)

    def verify_session(self, session_id: str) -> ChainVerificationResult:
        """Verify the chain of a session as it is stored, in the order of appending.

        An event that was edited, removed or moved is found, also the last ones.
        """
        EVENTS.filter("run_id", "=", session_id)
        head = self._head(session_id)
        events = events_in(self._store.select(EVENTS, links_of(session_id), order=IN_ORDER))
        found = verify_chain_batch(events, head.anchor_hash or None if head else None)
        if not found.valid or head is None:
            return found
        last = events[-1].hash if events else head.anchor_hash
        if last == head.hash:
            return found
        reason = f"The chain ends with hash {head.hash}, which is missing"
        return ChainVerificationResult(valid=False, failed_at_index=len(events), reason=reason)

    def get_stats(self) -> StorageStats:
        """Return how much is stored, and the times of the first and the last event."""
        oldest, newest = (
            events_in(self._store.select(EVENTS, OURS, order=order, limit=1))
            for order in (_OLDEST, _NEWEST)
        )
        return StorageStats(
            total_events=self._store.count(EVENTS, OURS),
            total_sessions=self._store.count(SESSIONS, STORED),
            total_agents=self._store.count(AGENTS, STORED),
            storage_size_bytes=self._used_bytes(),
            oldest_event=oldest[0].timestamp if oldest else None,
            newest_event=newest[0].timestamp if newest else None,
        )

    def _used_bytes(self) -> int:
        """Return what the records take; where the database does not tell, what the events do."""
        used = self._store.used_bytes()
        if used is not None:
            return used
        sizes = self._store.sizes(EVENTS, OURS).values()
        return sum(rows * self._store.row_overhead + octets for rows, octets in sizes)

    # --- sessions and agents ------------------------------------------------------------------

    def get_session(self, session_id: str) -> Session | None:
        """Return a session, or None."""
        where = (*STORED, SESSIONS.filter("session_id", "=", session_id))
        return next(iter(self._sessions_in(where, 1, 0)), None)

    def query_sessions(self, query: Any = None, **filters: Any) -> SessionQueryResult:
        """Return a page of sessions, those that began last first.

        The filters are `agent_id`, `status` (one or several), `from_` and `to` for the time when
        the session began, both included, and `tags`, any of them. The rest is as for events.
        """
        asked = query_of(SessionQuery, query, filters)
        limit, offset = page_of(asked)
        where = _sessions_of(asked, self._idle_since())
        total = self._store.count(SESSIONS, where)
        sessions = self._sessions_in(where, limit, offset)
        return SessionQueryResult(sessions, total, has_more=offset + len(sessions) < total)

    def sum_session_cost(self, agent_id: str, from_: Any) -> float:
        """Return the cost of the sessions of an agent that began at a time or later."""
        where = _sessions_of(SessionQuery(agent_id=agent_id, from_=from_), self._idle_since())
        pieces = self._store.stream(SESSIONS, where)
        records = (record for columns in pieces for record in SESSIONS.decode(columns))
        return float(sum(SessionState.of(record).total_cost_usd for record in records))

    def get_agent(self, agent_id: str) -> Agent | None:
        """Return an agent, or None."""
        where = (*STORED, AGENTS.filter("agent_id", "=", agent_id))
        return next(iter(self._agents_in(where)), None)

    def list_agents(self) -> list[Agent]:
        """Return all agents, those that were seen last first."""
        return self._agents_in(STORED)

    def _sessions_in(self, where: Where, limit: int, offset: int) -> list[Session]:
        since = self._idle_since()
        rows = self._store.select(SESSIONS, where, limit=limit, offset=offset)
        return [SessionState.of(record).value(since) for record in SESSIONS.decode(rows)]

    def _agents_in(self, where: Where) -> list[Agent]:
        agents = [
            AgentState.of(record) for record in AGENTS.decode(self._store.select(AGENTS, where))
        ]
        named = (Filter("agent_id", "in", tuple(agent.id for agent in agents)),)
        by_agent = self._store.aggregate(
            SESSIONS, (COUNT,), (*STORED, *named), group_by=("agent_id",)
        )
        counts = dict(by_agent)
        return [agent.value(counts.get(agent.id, 0)) for agent in agents]

    def _idle_since(self) -> datetime:
        """Return the moment since when something came for a session that is not idle."""
        return self._clock.now() - idle_after()


def idle_after() -> timedelta:
    """Return after how long without an event an active session is idle."""
    minutes = os.environ.get(_IDLE_MINUTES, "30")
    try:
        return timedelta(minutes=float(minutes))
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(f"{_IDLE_MINUTES} is a number, not {minutes!r}.") from error


def _sessions_of(asked: SessionQuery, idle_since: datetime) -> Where:
    """Return the filters for the sessions of a query."""
    where: Where = (
        *STORED,
        *one_or_several(SESSIONS, "agent_id", asked.agent_id),
        *window("started_at", asked.from_, asked.to),
    )
    if asked.tags is not None and (tags := several(asked.tags)):
        where = (*where, Filter("tags", "has any", storable_tags(tags)))
    return where if asked.status is None else (*where, *_with_status(asked.status, idle_since))


def _with_status(status: str | Collection[str], idle_since: datetime) -> Iterator[Filter]:
    """Yield the filters for sessions that read as one of these statuses."""
    wanted = {*several(status)}
    stored = {ACTIVE if each == IDLE else each for each in wanted}
    yield Filter("status", "in", tuple(sorted(map(str, stored))))
    if (ACTIVE in wanted) is not (IDLE in wanted):
        moment = encode_time(idle_since)
        is_active = Filter("status", "=", ACTIVE)
        other = Filter("last_event_at", "<" if ACTIVE in wanted else ">=", moment)
        yield Filter("session_id", "not in", Select(SESSIONS, "session_id", (is_active, other)))
