"""Tables of other programs are never changed, and are named in one error."""

from __future__ import annotations

import pytest

from curio_persistence import AgentRun, SchemaMismatchError
from tests.schema.conftest import Database, SQLiteFile

# As an original Curio creates and fills them.
CURIO = """
CREATE TABLE {schema}.agent_runs (
    id INTEGER PRIMARY KEY, agent_id TEXT NOT NULL, run_id TEXT NOT NULL UNIQUE, agent_name TEXT,
    objective TEXT, additional_context TEXT, started_at TIMESTAMP, finished_at TIMESTAMP,
    total_iterations INTEGER DEFAULT 0, final_synthesis_output TEXT, execution_history TEXT,
    status TEXT DEFAULT 'pending', error_message TEXT, metadata TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE {schema}.agent_run_events (
    id INTEGER PRIMARY KEY, agent_id TEXT NOT NULL, run_id TEXT NOT NULL, agent_name TEXT,
    timestamp TIMESTAMP NOT NULL, event_type TEXT NOT NULL, data TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (run_id) REFERENCES {schema}.agent_runs (run_id)
);
CREATE TABLE {schema}.agent_llm_usage (
    id INTEGER PRIMARY KEY, agent_id TEXT, run_id TEXT, provider TEXT NOT NULL, model TEXT NOT NULL,
    prompt TEXT, prompt_length INTEGER, input_params TEXT, input_tokens INTEGER,
    output_tokens INTEGER, response_content TEXT, response_length INTEGER, usage_metrics TEXT,
    status TEXT DEFAULT 'success', error_message TEXT, latency_ms INTEGER,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_runs_agent ON agent_runs (agent_id);
INSERT INTO {schema}.agent_runs (id, agent_id, run_id) VALUES (1, 'agent', 'run');
INSERT INTO {schema}.agent_run_events (id, agent_id, run_id, timestamp, event_type)
    VALUES (1, 'agent', 'run', '2024-05-01 10:00:00', 'run_started');
"""
LATER_CURIO = (
    CURIO
    + """
CREATE TABLE {schema}.audit_logs (id INTEGER PRIMARY KEY, what TEXT);
CREATE TABLE {schema}.cost_entries (id INTEGER PRIMARY KEY, cost_usd REAL);
"""
)
THREE = "agent_llm_usage, agent_run_events, agent_runs"
RAILS = """
CREATE TABLE {schema}.schema_migrations (version VARCHAR NOT NULL PRIMARY KEY);
INSERT INTO {schema}.schema_migrations VALUES ('20241120103000');
"""
ANOTHER_MIGRATOR = """
CREATE TABLE {schema}.schema_migrations (version BIGINT PRIMARY KEY, dirty BOOLEAN NOT NULL);
"""
EMPTIED = """
CREATE TABLE {schema}.schema_migrations (
    version INTEGER PRIMARY KEY, name TEXT, kind TEXT, checksum TEXT, applied_at TEXT
);
"""
FOREIGN = {
    "an original Curio": (CURIO, THREE),
    "a later Curio": (LATER_CURIO, THREE),
    "Rails": (RAILS, "schema_migrations"),
    "another migrator": (ANOTHER_MIGRATOR, "schema_migrations"),
    "Curio beside Rails": (CURIO + RAILS, f"{THREE}, schema_migrations"),
    "notes of steps that nobody took": (EMPTIED, "schema_migrations"),
    "Curio beside such notes": (CURIO + EMPTIED, f"{THREE}, schema_migrations"),
    "one table": ("CREATE TABLE {schema}.agent_runs (what TEXT)", "agent_runs"),
    "a view": ("CREATE VIEW {schema}.agent_runs AS SELECT 1 AS what", "agent_runs"),
}


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(("script", "found"), FOREIGN.values(), ids=FOREIGN)
def test_tables_of_other_programs_are_refused_and_not_changed(
    database: Database, script: str, found: str, read_only: bool
) -> None:
    database.run(_in_its_schema(script))
    before = database.state()
    with pytest.raises(SchemaMismatchError) as caught:
        database.open(read_only=read_only)
    assert type(caught.value) is SchemaMismatchError
    assert caught.value.found == found
    assert f"did not make: {found}. " in str(caught.value)
    assert "nothing was changed" in str(caught.value)
    assert bool(caught.value.command) == (script in (CURIO, LATER_CURIO))
    assert database.state() == before


def test_a_name_in_capitals_is_the_same_name_to_sqlite(sqlite_file: SQLiteFile) -> None:
    sqlite_file.run("CREATE TABLE Agent_Runs (what TEXT)")
    before = sqlite_file.state()
    with pytest.raises(SchemaMismatchError, match="Agent_Runs"):
        sqlite_file.open()
    assert sqlite_file.state() == before


def test_tables_with_other_names_are_allowed(database: Database) -> None:
    database.run("CREATE TABLE {schema}.users (name TEXT)")
    database.run("INSERT INTO {schema}.users VALUES ('Ada')")
    with database.open() as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        assert len(persistence.get_agent_runs()) == 1
    assert database.ask("SELECT name FROM {schema}.users") == [("Ada",)]


def _in_its_schema(script: str) -> str:
    """Qualify the statement. PostgreSQL names an index without a schema, its table with one."""
    return script.replace(" ON agent_runs", " ON {schema}.agent_runs")


def test_without_initializing_they_cannot_be_written_to_either(database: Database) -> None:
    database.run(_in_its_schema(CURIO))
    before = database.state()
    persistence = database.open(initialize=False)
    for _ in range(2):
        with pytest.raises(SchemaMismatchError, match="did not make"):
            persistence.create_agent_run(AgentRun("agent", "new"))
    with pytest.raises(SchemaMismatchError, match="did not make"), persistence.transaction():
        persistence.delete_agent_run("run")
    persistence.close()
    assert database.state() == before
