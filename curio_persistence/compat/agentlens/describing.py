"""The calls that describe sessions and agents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from curio_persistence.compat.agentlens.appending import Appends
from curio_persistence.compat.agentlens.states import (
    ACTIVE,
    COUNTERS,
    IDLE,
    AgentState,
    SessionState,
)
from curio_persistence.compat.agentlens.times import moment_of, text_of
from curio_persistence.compat.agentlens.values import Agent, Session, Value, named
from curio_persistence.errors import InvalidValueError
from curio_persistence.store.codecs import encode_count, encode_id
from curio_persistence.tables.columns import finite_number

_MAY_BE_NONE = ("agent_name", "ended_at", "description")


class Describes(Appends):
    """The calls that store a session or an agent, or change some of its fields."""

    def upsert_session(self, session: Any) -> None:
        """Store a session, or change the fields that are given; others keep their values."""
        given = _checked(Session, session)
        now = text_of(self._clock.now())
        with self._writing():
            state = self._sessions([given["id"]]).get(given["id"])
            if state is None:
                began = given.get("started_at", now)
                moment = moment_of(began, "Session.started_at")
                state = SessionState(given["id"], "", began, moment)
            for name, value in given.items():
                setattr(state, name, value)
            self._store_sessions({state.id: state})

    def upsert_agent(self, agent: Any) -> None:
        """Store an agent, or change the fields that are given; others keep their values.

        How many sessions it has is counted, and not stored.
        """
        given = _checked(Agent, agent)
        given.pop("session_count", None)
        now = text_of(self._clock.now())
        with self._writing():
            state = self._agents([given["id"]]).get(given["id"])
            if state is None:
                seen = given.get("first_seen_at", given.get("last_seen_at", now))
                state = AgentState(given["id"], given["id"], seen, seen)
            for name, value in given.items():
                setattr(state, name, value)
            self._store_agents([state])


def _checked(kind: type[Value], given: Any) -> dict[str, Any]:
    """Return the fields that are given, each checked; None counts only where it may be read."""
    values = named(kind, given.to_dict() if isinstance(given, kind) else given)
    fields = {n: v for n, v in values.items() if v is not None or n in _MAY_BE_NONE}
    for name in ("id", *fields):
        fields[name] = _field(kind, name, fields.get(name))
    return fields


def _field(kind: type[Value], name: str, value: Any) -> Any:
    field = f"{kind.__name__}.{name}"
    if value is None and name in _MAY_BE_NONE:
        return None
    if name.endswith("_at"):
        moment_of(value, field)
        return text_of(value) if isinstance(value, datetime) else value
    try:
        check: Callable[[Any], Any] = _CHECKS.get(name, _text)
        return check(value)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{field} {error}.", field=field) from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"is a text, not {value!r:.80}")
    return value


def _texts(value: Any) -> list[str]:
    if isinstance(value, str) or not all(isinstance(each, str) for each in value):
        raise TypeError(f"are some texts, not {value!r:.80}")
    return list(value)


def _cost(value: Any) -> Decimal:
    if (number := finite_number(value)) is None:
        raise ValueError(f"is a number of US dollars, not {value!r:.80}")
    return Decimal(str(number))


def _status(value: Any) -> str:
    """Return the status that is stored: `idle` is how an active session reads."""
    known = (ACTIVE, "completed", "error")
    if value not in (*known, IDLE):
        raise ValueError(f"is one of {', '.join(known)}, not {value!r:.80}")
    return ACTIVE if value == IDLE else str(value)


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "id": encode_id,
    "status": _status,
    "tags": _texts,
    "total_cost_usd": _cost,
    "session_count": encode_count,
    **dict.fromkeys(COUNTERS, encode_count),
}
