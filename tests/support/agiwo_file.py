"""Databases as Agiwo writes them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from curio_persistence.compat.agiwo import serialize_run_log_entry_for_storage
from curio_persistence.runlog.entries import RunLogEntry

_TABLES = """
CREATE TABLE IF NOT EXISTS counters (
    session_id TEXT PRIMARY KEY, sequence INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS run_log_entries (session_id TEXT NOT NULL, sequence INTEGER NOT NULL,
    run_id TEXT NOT NULL, agent_id TEXT NOT NULL, kind TEXT NOT NULL, payload TEXT NOT NULL,
    PRIMARY KEY (session_id, sequence));
CREATE TABLE IF NOT EXISTS agiwo_traces (trace_id TEXT PRIMARY KEY, agent_id TEXT,
    session_id TEXT, user_id TEXT, start_time TEXT NOT NULL, end_time TEXT, duration_ms REAL,
    status TEXT NOT NULL, root_span_id TEXT, total_tokens INTEGER DEFAULT 0,
    total_llm_calls INTEGER DEFAULT 0, max_depth INTEGER DEFAULT 0, input_query TEXT,
    final_output TEXT, spans TEXT);
"""
Row = dict[str, Any]


def row_of(entry: RunLogEntry, **other: Any) -> Row:
    """Return an entry as a row of Agiwo's table, with some columns changed."""
    payload = serialize_run_log_entry_for_storage(entry)
    names = ("session_id", "sequence", "run_id", "agent_id", "kind")
    columns = {name: payload[name] for name in names}
    return {**columns, "payload": json.dumps(payload), **other}


def write_database(path: Path, rows: Iterable[Row], table: str = "run_log_entries") -> Path:
    """Write a database as Agiwo does, or add to it."""
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(_TABLES)
        for row in rows:
            names, marks = ", ".join(row), ", ".join("?" * len(row))
            values = tuple(row.values())
            database.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", values)
    return path
