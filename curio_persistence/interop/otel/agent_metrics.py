"""Store what coding agents measure: metric events of the run in which it was measured.

Other metrics tell of no run and no session, and sums since the start of their sender would be added
up again and again: these are counted only.
"""

from __future__ import annotations

from _blake2 import blake2b  # Ten times as quick to import as hashlib.
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from curio_persistence.interop.otel.agent_events import ID_LENGTH, kept_id, session_of
from curio_persistence.interop.otel.agent_turns import LOCK, latest_run
from curio_persistence.interop.otel.coding_agents import CODING_AGENTS, CodingAgent
from curio_persistence.interop.otel.records import moment_of
from curio_persistence.interop.otel.spans import OtelPoint
from curio_persistence.interop.otel.words import as_text
from curio_persistence.models import METRIC, AgentRun, AgentRunEvent
from curio_persistence.persistence import Persistence

_ADDED_UP = frozenset({"sum", "gauge"})


@dataclass(frozen=True, slots=True)
class MetricsStored:
    """How many data points were new, how many were stored already, and how many were ignored."""

    new: int = 0
    repeated: int = 0
    ignored: int = 0


def store_points(persistence: Persistence, points: Iterable[OtelPoint]) -> MetricsStored:
    """Store the data points that coding agents send as metric events, in one transaction."""
    total = 0
    events: list[AgentRunEvent] = []
    runs: dict[tuple[str, str], str] = {}
    with persistence.transaction():
        persistence._store.advisory_lock(LOCK)
        for point in points:
            total += 1
            if (agent := _agent(point)) is None:
                continue
            session_id = session_of(agent, point.attributes)
            if session_id is None:
                continue
            key = (agent.name, session_id)
            if key not in runs:
                runs[key] = _run(persistence, agent, session_id, moment_of(point.time_ns)[0])
            events.append(_event(agent, session_id, runs[key], point))
        new = persistence.log_agent_run_events(events)
    return MetricsStored(new, len(events) - new, total - len(events))


def _agent(point: OtelPoint) -> CodingAgent | None:
    """Return the agent whose data point can be kept; None for any other."""
    if point.value is None or point.type not in _ADDED_UP:
        return None
    if point.type == "sum" and not point.is_delta:
        return None
    found = (agent for prefix, agent in CODING_AGENTS.items() if point.name.startswith(prefix))
    return next(found, None)


def _run(persistence: Persistence, agent: CodingAgent, session_id: str, time: datetime) -> str:
    """Return the run of the latest turn of a session; one for the session if there is none."""
    if (found := latest_run(persistence, agent.name, session_id, time)) is not None:
        return found
    run_id = f"{agent.name}/{session_id}"
    if persistence.get_agent_run(run_id) is None:
        run = AgentRun(agent.name, run_id, agent.name, status="completed", session_id=session_id)
        run.started_at = run.created_at = run.finished_at = time
        persistence.create_agent_run(run)
    return run_id


def _event(agent: CodingAgent, session_id: str, run_id: str, point: OtelPoint) -> AgentRunEvent:
    told = [point.name, point.start_ns, point.time_ns, sorted(point.attributes.items())]
    digest = blake2b(as_text(told).encode(errors="surrogatepass"), digest_size=16).hexdigest()
    time = moment_of(point.time_ns)[0]
    data: dict[str, Any] = {
        "name": kept_id(point.name),
        "value": point.value,
        "unit": point.unit or None,
        "tags": {name: as_text(value)[:ID_LENGTH] for name, value in _tags(agent, point)},
    }
    return AgentRunEvent(
        agent.name,
        run_id,
        agent.name,
        time,
        METRIC,
        data,
        created_at=time,
        event_id=f"{agent.name}:metric:{digest}",
        session_id=session_id,
    )


def _tags(agent: CodingAgent, point: OtelPoint) -> Iterable[tuple[str, Any]]:
    """Return what tells of a data point more than its session does."""
    return (
        (name, value)
        for name, value in point.attributes.items()
        if name not in agent.keys["session"] and not name.startswith(("user.", "organization."))
    )
