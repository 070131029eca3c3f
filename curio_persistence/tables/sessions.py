"""The tables of sessions and agents, whose rows are made by the first run that names them."""

from __future__ import annotations

from curio_persistence.models import Agent, AgentSession, SessionStatus
from curio_persistence.store import codecs
from curio_persistence.store.column import Column
from curio_persistence.store.filters import Order
from curio_persistence.store.table import Maker, Row, Table
from curio_persistence.tables.columns import (
    identifier,
    integer,
    json_text,
    name,
    optional_identifier,
    stored_time,
    text,
    time,
)

SESSION_STATUSES = tuple(status.value for status in SessionStatus if status != SessionStatus.IDLE)


def _encode_status(value: object) -> str:
    status = codecs.encode_status(value)
    if status not in SESSION_STATUSES:
        raise ValueError(f"must be one of {', '.join(SESSION_STATUSES)}, not {status!r}")
    return status


SESSIONS = Table(
    "agent_sessions",
    AgentSession,
    (
        identifier("session_id"),
        optional_identifier("agent_id", optional=False),
        name("agent_name"),
        optional_identifier("user_id", optional=False),
        Column("status", _encode_status, default=SessionStatus.ACTIVE.value, repeats=True),
        stored_time("started_at"),
        time("ended_at"),
        stored_time("last_event_at"),
        Column("tags", codecs.encode_tags, codecs.decode_tags),
        json_text("metadata"),
        integer("id"),
        stored_time("created_at"),
        time("updated_at"),
    ),
    order=(Order("started_at", descending=True), Order("id", descending=True)),
    ages_by="started_at",
    lookups=("session_id",),
    ddl="sessions.sql",
    unique=(("session_id",),),
)

AGENTS = Table(
    "agents",
    Agent,
    (
        identifier("agent_id"),
        name("name"),
        text("description"),
        stored_time("first_seen_at"),
        stored_time("last_seen_at"),
        integer("id"),
        stored_time("created_at"),
        time("updated_at"),
        json_text("metadata"),
    ),
    order=(Order("last_seen_at", descending=True), Order("id", descending=True)),
    ages_by="last_seen_at",
    lookups=("agent_id",),
    ddl="agents.sql",
    unique=(("agent_id",),),
)


def _session_of(run: Row) -> Row:
    began, seen = _times_of(run)
    return {
        "session_id": run["session_id"],
        "agent_id": run["agent_id"],
        "agent_name": run["agent_name"],
        "user_id": run.get("user_id"),
        "status": SessionStatus.ACTIVE.value,
        "started_at": began,
        "last_event_at": seen,
        "created_at": run["created_at"],
    }


def _agent_of(run: Row) -> Row:
    began, seen = _times_of(run)
    return {
        "agent_id": run["agent_id"],
        "name": run["agent_name"],
        "first_seen_at": began,
        "last_seen_at": seen,
        "created_at": run["created_at"],
    }


def _times_of(run: Row) -> tuple[str, str]:
    """Return when a run began, and when it was last created or finished."""
    created = str(run["created_at"])
    return str(run["started_at"] or created), max(created, str(run["finished_at"] or created))


_WATCHED = ("agent_id", "session_id", "finished_at")
MADE_BY_RUNS = (
    Maker(AGENTS, "agent_id", _agent_of, "first_seen_at", "last_seen_at", _WATCHED),
    Maker(SESSIONS, "session_id", _session_of, "started_at", "last_event_at", _WATCHED),
)
"""The rows that a run makes."""
