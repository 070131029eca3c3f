"""Opening a current database changes nothing, takes no lock and needs few privileges."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from psycopg2 import sql

from curio_persistence import AccessDeniedError, AgentRun, AgentRunEvent, ConflictError
from curio_persistence.backends.postgres.dsn import lock_key
from curio_persistence.backends.sql.migrations import SEARCH_TABLES
from curio_persistence.tables import ALL_TABLES
from tests.schema.conftest import PostgresSchema, SQLiteFile
from tests.support.children import Child

HOLD_THE_LOCK = """
holder = sqlite3.connect(sys.argv[1], isolation_level=None)
holder.execute("BEGIN IMMEDIATE")
print("held", flush=True)
input()
"""


def test_a_file_that_another_process_writes_to_opens_at_once(
    sqlite_file: SQLiteFile,
) -> None:
    sqlite_file.open().close()
    with Child(HOLD_THE_LOCK, sqlite_file.path) as holder:
        assert holder.read() == "held"
        with sqlite_file.open(lock_timeout=0) as persistence:
            assert persistence.get_agent_runs() == []


def test_opening_a_current_file_does_not_touch_it(sqlite_file: SQLiteFile) -> None:
    with sqlite_file.open() as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
    before, changed = sqlite_file.state(), _changed(sqlite_file.path)
    sqlite_file.open().close()
    with sqlite_file.open() as persistence:
        persistence.initialize_schema()
        assert len(persistence.get_agent_runs()) == 1
    assert sqlite_file.state() == before
    assert _changed(sqlite_file.path) == changed


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns


def test_a_schema_whose_tables_are_locked_for_writing_opens_at_once(
    postgres_schema: PostgresSchema,
) -> None:
    postgres_schema.open().close()
    names = sql.SQL(", ").join(
        sql.Identifier(postgres_schema.name, name) for name in postgres_schema.columns()
    )
    with closing(postgres_schema.connect()) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(names))
        with postgres_schema.open(statement_timeout=5) as persistence:
            assert persistence.get_agent_runs() == []


def test_a_current_schema_opens_at_once_beside_a_migration(
    postgres_schema: PostgresSchema,
) -> None:
    """A program that finds the schema current does not wait for the lock of migrations."""
    postgres_schema.open().close()
    key = lock_key(postgres_schema.name)
    with closing(postgres_schema.connect()) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (key,))
        with postgres_schema.open(statement_timeout=5) as persistence:
            assert persistence.get_agent_runs() == []


def test_a_read_only_session_opens_a_current_schema(
    postgres_schema: PostgresSchema,
) -> None:
    postgres_schema.open().close()
    before = postgres_schema.state()
    forbidden = f"{postgres_schema.dsn}&options=-c%20default_transaction_read_only%3Don"
    with postgres_schema.open(dsn=forbidden) as persistence:
        assert persistence.get_agent_runs() == []
        with pytest.raises(AccessDeniedError):
            persistence.create_agent_run(AgentRun("agent", "run"))
    assert postgres_schema.state() == before


@pytest.fixture
def role(postgres_schema: PostgresSchema) -> Iterator[str]:
    """A role that may only read and write rows of our tables; it has the schema's name."""
    postgres_schema.open().close()
    name = postgres_schema.name
    ours = (*(table.name for table in ALL_TABLES), *SEARCH_TABLES)
    tables = ", ".join(f"{name}.{table}" for table in ours)
    postgres_schema.run(
        f"CREATE ROLE {name}; GRANT USAGE ON SCHEMA {name} TO {name};"
        f"GRANT SELECT ON {name}.schema_migrations TO {name};"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {name};"
    )
    yield name
    postgres_schema.run(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_role_that_may_only_read_and_write_rows_can_use_everything(
    postgres_schema: PostgresSchema, role: str
) -> None:
    dsn = f"{postgres_schema.dsn}&options=-c%20role%3D{role}"
    with postgres_schema.open(dsn=dsn) as persistence:
        with persistence.record_run(agent_id="agent", run_id="run", on_error="raise") as run:
            run.log("said", {"word": "hello"})
            run.llm_call(model="acme-1", prompt="Hello", input_tokens=1)
        persistence.log_agent_run_event(AgentRunEvent("agent", "stub", event_type="e"))
        with pytest.raises(ConflictError):
            persistence.create_agent_run(AgentRun("agent", "run"))
        assert persistence.get_agent_run_stats()["total_runs"] == 2
        assert len(persistence.search_text("hello")) == 2
        persistence.search.rebuild()
        assert persistence.delete_agent_run("run")
