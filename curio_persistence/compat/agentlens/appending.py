"""Append events to the chains of their sessions, and change the rows that they are counted in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from curio_persistence.capabilities.chains import Link
from curio_persistence.compat.agentlens.base import Part
from curio_persistence.compat.agentlens.calls import (
    AT_ONCE,
    CallCosts,
    calls_in,
    stored_events_of,
)
from curio_persistence.compat.agentlens.records import object_of
from curio_persistence.compat.agentlens.states import (
    ACTIVE,
    AgentState,
    SessionState,
    label,
    name_in,
)
from curio_persistence.compat.agentlens.times import moment_of
from curio_persistence.compat.agentlens.values import AgentLensEvent
from curio_persistence.models import AgentRun, AgentRunStatus
from curio_persistence.persistence import Persistence
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter
from curio_persistence.store.table import Columns, Row, Table
from curio_persistence.tables import AGENTS, EVENTS, RUNS, SESSIONS

_OF_RUN = ("status", "finished_at")
"""The columns of a run that follow its session."""
_UNCHANGED = {"id", "created_at", "user_id"}
"""The columns of a stored session or agent that are not changed here."""


class Pending(NamedTuple):
    """An event that is to be appended, and its row."""

    event: AgentLensEvent
    moment: datetime
    row: Row


class Appends(Part):
    """The part of an event store that changes rows, inside of a transaction."""

    def __init__(self, persistence: Persistence) -> None:
        super().__init__(persistence)
        redaction = persistence.redaction
        self._encode_event = redaction.encoder(EVENTS)
        self._encode_session = redaction.encoder(SESSIONS)
        self._encode_agent = redaction.encoder(AGENTS)

    def _append(self, new: Sequence[Pending], link: Link) -> None:
        """Append events to their chains, and count them."""
        if not new:
            return
        events = [each.event for each in new]
        sessions = self._sessions({event.session_id for event in events})
        agents = self._agents({event.agent_id for event in events})
        costs = CallCosts()
        for event in stored_events_of(self._store, calls_in(events)):
            costs.add(event)
        for each in new:
            _count(each, sessions, agents, costs)
        self._create_runs(events, sessions)
        self._chains.insert([each.row for each in new], link)
        self._store_sessions(sessions)
        self._store_agents(agents.values())

    def _sessions(self, ids: Collection[str]) -> dict[str, SessionState]:
        """Return those of the sessions that are stored."""
        rows = self._rows(SESSIONS, "session_id", ids)
        found = (SessionState.of(each) for columns in rows for each in SESSIONS.decode(columns))
        return {session.id: session for session in found}

    def _agents(self, ids: Collection[str]) -> dict[str, AgentState]:
        """Return those of the agents that are stored."""
        rows = self._rows(AGENTS, "agent_id", ids)
        found = (AgentState.of(each) for columns in rows for each in AGENTS.decode(columns))
        return {agent.id: agent for agent in found}

    def _rows(self, table: Table[Any], column: str, ids: Iterable[Any]) -> Iterator[Columns]:
        """Yield the rows of a table that have one of these ids."""
        left = iter(dict.fromkeys(ids))
        while some := tuple(islice(left, AT_ONCE)):
            yield self._store.select(table, (table.filter_any(column, some),))

    def _create_runs(
        self, events: Iterable[AgentLensEvent], sessions: dict[str, SessionState]
    ) -> None:
        """Store a run for each session that has none."""
        agents = {event.session_id: event.agent_id for event in events}
        where = (Filter("run_id", "in", tuple(agents)),)
        for (run_id,) in self._store.select_columns(RUNS, ("run_id",), where):
            del agents[run_id]
        self.persistence.create_agent_runs(
            _run_of(sessions[session_id], agent_id) for session_id, agent_id in agents.items()
        )

    def _store_sessions(self, sessions: Mapping[str, SessionState]) -> None:
        """Store sessions, and the status of their runs, whose own changes move their times."""
        self._store_runs(sessions)
        self._upsert(SESSIONS, [self._encode_session(each.record()) for each in sessions.values()])

    def _store_runs(self, sessions: Mapping[str, SessionState]) -> None:
        """Let runs end with their sessions, or go on with them."""
        where = (Filter("run_id", "in", tuple(sessions)),)
        for run_id, *stored in self._store.select_columns(RUNS, ("run_id", *_OF_RUN), where):
            session = sessions[run_id]
            ended = _end_of_run(session)
            wanted = [_status_of_run(session), None if ended is None else encode_time(ended)]
            if stored != wanted:
                changes: Row = dict(zip(_OF_RUN, wanted, strict=True))
                changes["updated_at"] = encode_time(self._clock.stamp(run_id))
                self._store.update(RUNS, (Filter("run_id", "=", run_id),), changes)

    def _store_agents(self, agents: Collection[AgentState]) -> None:
        self._upsert(AGENTS, [self._encode_agent(each.record()) for each in agents])

    def _upsert(self, table: Table[Any], rows: list[Row]) -> None:
        now = encode_time(self._clock.now())
        for row in rows:
            row["created_at"] = row["updated_at"] = now
        [key] = table.unique
        changed = tuple(n for n in table.names if n not in _UNCHANGED and n not in key)
        self._store.upsert(table, rows, key=key, update=changed)


def _count(
    each: Pending,
    sessions: dict[str, SessionState],
    agents: dict[str, AgentState],
    costs: CallCosts,
) -> None:
    """Count an event in its session, and note when its agent was seen."""
    event, moment = each.event, each.moment
    session = sessions.get(event.session_id)
    if session is None:
        session = SessionState(event.session_id, event.agent_id, event.timestamp, moment)
        sessions[session.id] = session
    session.add(event, moment, costs.add(event))
    agent = agents.get(event.agent_id)
    if agent is None:
        name = name_in(object_of(event.payload)) or event.agent_id
        agent = AgentState(event.agent_id, name, event.timestamp, event.timestamp)
        agents[agent.id] = agent
    agent.see(event.timestamp, moment)


def _run_of(session: SessionState, agent_id: str) -> AgentRun:
    started = moment_of(session.started_at, "startedAt")
    return AgentRun(
        agent_id,
        session.id,
        agent_name=label(session.agent_name),
        started_at=started,
        finished_at=_end_of_run(session),
        status=_status_of_run(session),
        created_at=started,  # By which runs are listed.
        session_id=session.id,
    )


def _status_of_run(session: SessionState) -> str:
    return AgentRunStatus.RUNNING.value if session.status == ACTIVE else session.status


def _end_of_run(session: SessionState) -> datetime | None:
    if session.status == ACTIVE or session.ended_at is None:
        return None
    return moment_of(session.ended_at, "endedAt")
