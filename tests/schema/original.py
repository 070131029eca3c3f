"""The tables of original Curios, as they created them, with rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from itertools import groupby
from typing import Any

from psycopg2.extras import execute_batch

from tests.schema.conftest import Database, PostgresSchema

_TABLES = """
CREATE TABLE {schema}.agent_runs (
    id {id}, agent_id {name} NOT NULL, run_id {name} UNIQUE NOT NULL, agent_name {name},
    objective TEXT, additional_context {json}, started_at {time}, finished_at {time},
    total_iterations INTEGER DEFAULT 0, final_synthesis_output TEXT, execution_history {json},
    status {name} DEFAULT 'pending', error_message TEXT, metadata {json},
    created_at {time}{now}, updated_at {time}{now}
);
CREATE TABLE {schema}.agent_run_events (
    id {id}, agent_id {name} NOT NULL, run_id {name} NOT NULL, agent_name {name},
    timestamp {time}, event_type {name}, data {json}, created_at {time}{now}{key}
);
CREATE TABLE {schema}.agent_llm_usage (
    id {id}, agent_id {name}, run_id {name}, provider {name}, model {name}, prompt TEXT,
    prompt_length INTEGER, input_params {json}, input_tokens INTEGER, output_tokens INTEGER,
    response_content TEXT, response_length INTEGER, usage_metrics {json},
    status {name} DEFAULT 'success', error_message TEXT, latency_ms INTEGER,
    created_at {time}{now}
);
CREATE INDEX idx_runs_agent_id ON {at}agent_runs (agent_id);
CREATE INDEX idx_events_run_id ON {at}agent_run_events (run_id);
CREATE TABLE {schema}.audit_logs (id {id}, run_id {name}, action {name}, hash {name});
CREATE TABLE {schema}.cost_entries (id {id}, run_id {name}, cost_usd DOUBLE PRECISION);
INSERT INTO {schema}.audit_logs (run_id, action, hash) VALUES ('run-1', 'started', 'f00');
INSERT INTO {schema}.cost_entries (run_id, cost_usd) VALUES ('run-1', 0.25);
"""
_TYPES = {
    "sqlite": {
        "id": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "name": "TEXT",
        "time": "TEXT",
        "now": "",
        "json": "TEXT",
        "at": "",
        # SQLite never enforced it.
        "key": ", FOREIGN KEY (run_id) REFERENCES {schema}.agent_runs (run_id)",
    },
    "postgres": {
        "id": "SERIAL PRIMARY KEY",
        "name": "VARCHAR",
        "time": "TIMESTAMP",
        "now": " DEFAULT CURRENT_TIMESTAMP",
        "json": "TEXT",
        "at": "{schema}.",
        "key": "",
    },
}

RUN = {
    "id": 3,
    "agent_id": "planner",
    "run_id": "run-1",
    "agent_name": "Planner",
    "objective": "Book a room",
    "additional_context": '{"floor": 2}',
    "started_at": "2024-05-01T10:00:00.250000",
    "finished_at": "2024-05-01 10:00:07",
    "total_iterations": 2,
    "final_synthesis_output": "Booked: Zimmer 4 \N{HOUSE BUILDING}",
    "execution_history": "[]",
    "status": "completed",
    "metadata": '{"b": 1, "a": 2}',
    "created_at": "2024-05-01T10:00:00.300000",
    "updated_at": "2024-05-01T10:00:07.100000",
}
EVENT = {
    "id": 11,
    "agent_id": "planner",
    "run_id": "run-1",
    "agent_name": "Planner",
    "timestamp": "2024-05-01T10:00:01.500000",
    "event_type": "action_execution_completed",
    "data": '{"action": "search", "duration_ms": 12}',
    "created_at": "2024-05-01T10:00:01.600000",
}
USAGE = {
    "id": 21,
    "agent_id": "planner",
    "run_id": "run-1",
    "provider": "acme",
    "model": "acme-1",
    "prompt": "Which room?",
    "prompt_length": 11,
    "input_params": '{"temperature": 0}',
    "input_tokens": 5,
    "output_tokens": 7,
    "response_content": "Zimmer 4",
    "response_length": 8,
    "usage_metrics": '{"cost_usd": 0.0003}',
    "status": "success",
    "latency_ms": 420,
    "created_at": "2024-05-01T10:00:02.000000",
}


def tables(dialect: str, **types: str) -> str:
    """Return the statements with which an original Curio creates its tables."""
    chosen = _TYPES[dialect] | types
    script = _TABLES
    for what, text in chosen.items():
        script = script.replace(f"{{{what}}}", text)
    return script


def make(
    database: Database,
    *,
    runs: Iterable[Mapping[str, Any]] = (RUN,),
    events: Iterable[Mapping[str, Any]] = (EVENT,),
    usage: Iterable[Mapping[str, Any]] = (USAGE,),
    **types: str,
) -> None:
    """Create the tables of an original Curio, with these rows."""
    database.run(tables(database.dialect, **types))
    add(database, "agent_runs", runs)
    add(database, "agent_run_events", events)
    add(database, "agent_llm_usage", usage)


def add(database: Database, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows with the driver alone, as a program without this library does."""
    with closing(database.connect()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("BEGIN")
        for columns, alike in groupby(rows, key=tuple):
            values = [tuple(row.values()) for row in alike]
            names = f"{table} ({', '.join(columns)})"
            if isinstance(database, PostgresSchema):
                marks = ", ".join(["%s"] * len(columns))
                sql = f'INSERT INTO "{database.name}".{names} VALUES ({marks})'
                execute_batch(cursor, sql, values, page_size=1_000)
            else:
                marks = ", ".join("?" * len(columns))
                cursor.executemany(f"INSERT INTO {names} VALUES ({marks})", values)
        cursor.execute("COMMIT")
