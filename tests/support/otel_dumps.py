"""What the tables have after spans were received, as it does not depend on how they came."""

from __future__ import annotations

from typing import Any

from curio_persistence import Persistence
from curio_persistence.store.table import Table
from curio_persistence.tables import AGENTS, EVENTS, RUNS, SESSIONS, SOURCES, SPANS, USAGE

_OF_THE_MOMENT: dict[Table[Any], set[str]] = {
    RUNS: {"id", "updated_at"},
    EVENTS: {"id"},
    USAGE: {"id"},
    SPANS: {"id", "created_at", "updated_at"},
    SOURCES: {"id", "created_at", "updated_at"},
    # Runs widen the times of these, by steps of ten seconds.
    SESSIONS: {*SESSIONS.names} - {"session_id", "status", "tags", "metadata"},
    AGENTS: {*AGENTS.names} - {"agent_id", "description", "metadata"},
}


def dump(persistence: Persistence) -> dict[str, list[Any]]:
    """Return the rows of all tables, without ids and the times at which they were stored."""
    return {table.name: _rows(persistence, table) for table in _OF_THE_MOMENT}


def _rows(persistence: Persistence, table: Table[Any]) -> list[Any]:
    names = tuple(name for name in table.names if name not in _OF_THE_MOMENT[table])
    rows = persistence._store.select_columns(table, names)
    return sorted(
        (dict(zip(names, row, strict=True)) for row in rows),
        key=lambda row: str(sorted(row.items())),
    )
