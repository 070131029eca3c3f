"""Store the events of coding agents: each turn is a run, from a prompt to the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from curio_persistence.interop.otel.agent_events import AgentEvent, call_of, event_of
from curio_persistence.interop.otel.coding_agents import Role
from curio_persistence.models import AgentRun
from curio_persistence.persistence import Persistence

LOCK = "otel"
"""Names the lock that transactions take which store what was received: one after another."""
_IS_CALL = {Role.CALL, Role.FAILURE}
_PLACED = {Role.CALL, Role.FAILURE, Role.TOOL}
"""The roles of events that are kept even if nothing tells their turn."""


@dataclass(slots=True)
class Turn:
    """What some events tell about one turn."""

    run_id: str
    events: list[AgentEvent] = field(default_factory=list)

    def run(self, stored: AgentRun | None) -> AgentRun:
        """Return the run as these events tell it, with what was known of it before.

        No event tells that a turn ends, so its end is the latest event, and its status is that of
        the latest call.
        """
        first, last = self.events[0], self.events[-1]
        run = AgentRun(
            first.agent.name,
            self.run_id,
            first.agent.name,
            started_at=first.time,
            created_at=first.time,
            status="completed",
            session_id=first.session_id,
            user_id=first.name("user"),
        )
        if stored is not None:
            run = replace(stored, started_at=min(stored.started_at or first.time, first.time))
        if run.finished_at is None or last.time >= run.finished_at:
            run.finished_at = last.time
            self._add_outcome(run)
        run.objective = run.objective or self._told(Role.PROMPT, "prompt") or ""
        return run

    def _add_outcome(self, run: AgentRun) -> None:
        run.final_synthesis_output = self._told(Role.ANSWER, "answer") or run.final_synthesis_output
        calls = [event for event in self.events if event.role in _IS_CALL]
        if calls:
            failed = calls[-1].role is Role.FAILURE
            run.status = "error" if failed else "completed"
            run.error_message = calls[-1].text("error") if failed else None

    def _told(self, role: Role, name: str) -> str | None:
        told = (each.text(name) for each in reversed(self.events) if each.role is role)
        return next(filter(None, told), None)


@dataclass(frozen=True, slots=True)
class TurnsStored:
    """How many events were new, how many were stored already, and how many had no turn."""

    new: int = 0
    repeated: int = 0
    ignored: int = 0


def store_events(persistence: Persistence, events: Iterable[AgentEvent]) -> TurnsStored:
    """Store the runs, calls and events that events of coding agents tell, in one transaction."""
    with persistence.transaction():
        persistence._store.advisory_lock(LOCK)
        turns, ignored = _turns(persistence, events)
        for turn in turns:
            _store_run(persistence, turn)
        told = [(event, turn.run_id) for turn in turns for event in turn.events]
        calls = [call_of(event, run_id) for event, run_id in told if event.role in _IS_CALL]
        others = [event_of(event, run_id) for event, run_id in told if event.role not in _IS_CALL]
        new = persistence.log_llm_usages(calls) + persistence.log_agent_run_events(others)
        return TurnsStored(new, len(told) - new, ignored)


def _store_run(persistence: Persistence, turn: Turn) -> None:
    stored = persistence.get_agent_run(turn.run_id)
    if stored is None:
        persistence.create_agent_run(turn.run(None))
    elif (run := turn.run(stored)) != stored:
        persistence.update_agent_run(turn.run_id, run)


def _turns(persistence: Persistence, events: Iterable[AgentEvent]) -> tuple[list[Turn], int]:
    """Return the turns of some events, with these by time, and how many events have none."""
    sessions: dict[tuple[str, str], list[AgentEvent]] = {}
    ignored = 0
    for event in sorted(events, key=lambda event: event.time):
        if event.role is Role.SKIPPED:
            ignored += 1
        else:
            key = (event.agent.name, event.session_id)
            sessions.setdefault(key, []).append(event)
    turns: dict[str, Turn] = {}
    for them in sessions.values():
        for event, run_id in _placed(persistence, them):
            if run_id is None:
                ignored += 1
            else:
                turns.setdefault(run_id, Turn(run_id)).events.append(event)
    return [*turns.values()], ignored


def _placed(
    persistence: Persistence, events: list[AgentEvent]
) -> Iterator[tuple[AgentEvent, str | None]]:
    """Yield the events of a session, by time, each with its run.

    The agent tells the turn, or it is that of the latest prompt. What comes before any prompt is
    in the turn that follows.
    """
    first = events[0]
    latest = latest_run(persistence, first.agent.name, first.session_id, first.time)
    following = next((run_id for event in events if (run_id := _told_run(event))), None)
    for event in events:
        latest = _told_run(event) or latest
        alone = _session_run(event) if event.role in _PLACED else None
        yield event, latest or following or alone


def _told_run(event: AgentEvent) -> str | None:
    """Return the run that an event tells: that of its turn, or the one that a prompt begins."""
    if event.turn_id is not None:
        return f"{_session_run(event)}/{event.turn_id}"
    if event.role is Role.PROMPT:
        return f"{_session_run(event)}/{event.time:%Y-%m-%dT%H:%M:%S.%fZ}"
    return None


def _session_run(event: AgentEvent) -> str:
    return f"{event.agent.name}/{event.session_id}"


def latest_run(
    persistence: Persistence, agent_id: str, session_id: str, time: datetime
) -> str | None:
    """Return the stored run of the latest turn that had begun at a time."""
    until = time + timedelta(microseconds=1)
    runs = persistence.query_agent_runs(
        agent_id=agent_id, session_id=session_id, until=until, limit=1
    )
    return next((run.run_id for run in runs), None)
