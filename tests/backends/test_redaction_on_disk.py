"""Redacted text is not in a database's files, nor in the rows of a server."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import sql

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    InvalidValueError,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
)
from curio_persistence.tables import TABLES

SECRET = "hunter2-and-more"
WORDS = f"password={SECRET}"


def write_all(persistence: Persistence) -> None:
    """Write every kind of record, and an update of a stored one."""
    for number in range(3):
        run = AgentRun("agent", f"run {number}", objective=WORDS, metadata={"token": SECRET})
        persistence.create_agent_run(run)
        run.final_synthesis_output = WORDS
        persistence.update_agent_run(run.run_id, run)
    tool = {"tool_name": "search", "args": {"api_key": SECRET}}
    persistence.log_agent_run_events(
        AgentRunEvent("agent", "early", event_type="tool_call", data=tool) for _ in range(50)
    )
    persistence.log_llm_usages(AgentLLMUsage("agent", None, prompt=WORDS) for _ in range(50))


@pytest.mark.parametrize(
    "settings", [{"redactor": "keys"}, {"capture_content": "metrics-only"}], ids=str
)
def test_no_file_of_a_sqlite_database_contains_it(tmp_path: Path, settings: dict[str, str]) -> None:
    with SQLitePersistence(tmp_path / "runs.db", **settings) as persistence:  # type: ignore[arg-type]
        write_all(persistence)
        while_open = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    closed = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {"runs.db", "runs.db-wal"} <= while_open.keys()
    assert not [
        kept for kept in (*while_open.values(), *closed.values()) if SECRET.encode() in kept
    ]
    assert b"search" in closed["runs.db"]


def test_no_row_of_postgres_contains_it(postgres18: str, schema_name: str) -> None:
    with PostgresPersistence(dsn=postgres18, schema=schema_name, redactor="keys") as persistence:
        write_all(persistence)
    rows = []
    with closing(psycopg2.connect(postgres18)) as connection, connection.cursor() as cursor:
        for table in TABLES:
            name = sql.Identifier(schema_name, table.name)
            cursor.execute(sql.SQL("SELECT row::text FROM {} AS row").format(name))
            rows += [text for (text,) in cursor]
    assert len(rows) > 100
    assert not [row for row in rows if SECRET in row]


def test_no_message_and_no_repr_contains_it(tmp_path: Path) -> None:
    class Mine:
        def __call__(self, field: str, text: str) -> str:
            return text.replace(SECRET, "…")

        def __repr__(self) -> str:
            return f"Mine({SECRET!r})"

    with SQLitePersistence(tmp_path / "runs.db", redactor=Mine()) as persistence:
        assert SECRET not in repr(persistence)
        with pytest.raises(InvalidValueError) as refused:
            persistence.log_agent_run_event(AgentRunEvent("", "run", data=WORDS))
        assert SECRET not in str(refused.value)
