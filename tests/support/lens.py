"""Events of AgentLens as tests need them, in chains."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import count
from typing import Any

from curio_persistence.compat.agentlens import AgentLensEvent, EventStore, compute_event_hash

_ids = count(1)


def at(minute: float, day: int = 7) -> str:
    """Return a time on a day of February 2026, as AgentLens writes it."""
    hour, rest = divmod(minute, 60)
    second = round(rest % 1 * 60)
    return f"2026-02-{day:02d}T{10 + int(hour):02d}:{int(rest):02d}:{second:02d}.000Z"


def event(
    event_type: str = "custom",
    payload: Any = None,
    *,
    prev: str | None = None,
    minute: float = 0,
    **fields: Any,
) -> AgentLensEvent:
    """Return an event with its hash."""
    given = {
        "id": f"event-{next(_ids):05d}",
        "timestamp": at(minute),
        "session_id": "s",
        "agent_id": "a",
        **fields,
    }
    made = AgentLensEvent(
        **given, event_type=event_type, payload={} if payload is None else payload, prev_hash=prev
    )
    return replace(made, hash=compute_event_hash(made))


def chained(events: Iterable[AgentLensEvent], prev: str | None = None) -> list[AgentLensEvent]:
    """Return events of one session as a chain that follows a hash."""
    chain = []
    for each in events:
        linked = replace(each, prev_hash=prev)
        linked = replace(linked, hash=compute_event_hash(linked))
        chain.append(linked)
        prev = linked.hash
    return chain


def append(store: EventStore, *events: AgentLensEvent) -> list[AgentLensEvent]:
    """Append events, in this order, to the chains of their sessions; return them as stored."""
    tails: dict[str, str | None] = {}
    done = []
    for each in events:
        if each.session_id not in tails:
            tails[each.session_id] = store.get_last_event_hash(each.session_id)
        [linked] = chained([each], tails[each.session_id])
        tails[each.session_id] = linked.hash
        done.append(linked)
    store.insert_events(done)
    return done
