"""Events of AgentLens as tests need them, in chains."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from curio_persistence.compat.agentlens import AgentLensEvent, EventStore, compute_event_hash
from curio_persistence.compat.agentlens.javascript import stringify

_ids = count(1)
Row = dict[str, Any]


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


_TABLES = """
CREATE TABLE events (id TEXT PRIMARY KEY NOT NULL, timestamp TEXT NOT NULL,
    session_id TEXT NOT NULL, agent_id TEXT NOT NULL, event_type TEXT NOT NULL,
    severity TEXT DEFAULT 'info' NOT NULL, payload TEXT NOT NULL,
    metadata TEXT DEFAULT '{}' NOT NULL, prev_hash TEXT, hash TEXT NOT NULL,
    tenant_id TEXT DEFAULT 'default' NOT NULL);
CREATE TABLE sessions (id TEXT NOT NULL, agent_id TEXT NOT NULL, agent_name TEXT,
    started_at TEXT NOT NULL, ended_at TEXT, status TEXT NOT NULL, event_count INTEGER NOT NULL,
    tool_call_count INTEGER NOT NULL, error_count INTEGER NOT NULL, total_cost_usd REAL NOT NULL,
    tags TEXT DEFAULT '[]' NOT NULL);
CREATE TABLE agents (id TEXT NOT NULL, name TEXT NOT NULL, description TEXT,
    first_seen_at TEXT NOT NULL, last_seen_at TEXT NOT NULL, session_count INTEGER NOT NULL);
CREATE TABLE alert_rules (id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL,
    enabled INTEGER NOT NULL, condition TEXT NOT NULL, threshold REAL NOT NULL,
    window_minutes INTEGER NOT NULL, scope TEXT NOT NULL, notify_channels TEXT NOT NULL,
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE TABLE alert_history (id TEXT PRIMARY KEY NOT NULL, rule_id TEXT NOT NULL,
    triggered_at TEXT NOT NULL, resolved_at TEXT, current_value REAL NOT NULL,
    threshold REAL NOT NULL, message TEXT NOT NULL);
"""


def write_database(path: Path, events: Iterable[AgentLensEvent], **tables: list[Row]) -> Path:
    """Write a database as AgentLens does, or add to it."""
    rows = [_row_of(each) for each in events]
    with closing(sqlite3.connect(path)) as database, database:
        if not database.execute("SELECT 1 FROM sqlite_master").fetchall():
            database.executescript(_TABLES)
        for table, added in {"events": rows, **tables}.items():
            for row in added:
                names, marks = ", ".join(row), ", ".join("?" * len(row))
                values = tuple(row.values())
                database.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", values)
    return path


def _row_of(each: AgentLensEvent) -> Row:
    texts = {"payload": stringify(each.payload), "metadata": stringify(each.metadata)}
    return {**vars(each), **texts}


def random_value(dice: Random, depth: int = 3) -> Any:
    """Return any value that JSON can express."""
    kind = dice.randrange(7 if depth else 5)
    if kind == 0:
        return dice.choice([None, True, False, 0, -1])
    if kind == 1:
        return dice.randrange(-(2**70), 2**70) >> dice.randrange(70)
    if kind == 2:
        return dice.choice([-1, 1]) * dice.random() * 10.0 ** dice.randrange(-320, 308)
    if kind == 3:
        return round(dice.uniform(-1e6, 1e6), dice.randrange(6))
    if kind == 4:
        return _random_text(dice)
    parts = [random_value(dice, depth - 1) for _ in range(dice.randrange(5))]
    return parts if kind == 5 else {_random_key(dice): part for part in parts}


def _random_text(dice: Random) -> str:
    most = dice.choice([0x20, 0x80, 0x800, 0xFFFF, 0x10FFFF])
    return "".join(chr(dice.randint(0, most)) for _ in range(dice.randrange(9)))


def _random_key(dice: Random) -> str:
    return _random_text(dice) if dice.random() < 0.5 else str(dice.randrange(-3, 2**33) >> 20)
