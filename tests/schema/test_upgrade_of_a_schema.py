"""What is particular to the upgrade of a PostgreSQL schema: whose the tables are."""

from __future__ import annotations

from curio_persistence import AgentRunEvent, PostgresPersistence, upgrade
from tests.schema import original
from tests.schema.conftest import PostgresSchema


def test_the_new_tables_belong_to_whom_the_old_ones_did(
    postgres_schema: PostgresSchema,
) -> None:
    role = postgres_schema.name
    original.make(postgres_schema)
    postgres_schema.run(f'CREATE ROLE "{role}" LOGIN; ALTER SCHEMA {{schema}} OWNER TO "{role}"')
    try:
        for table in ("agent_runs", "agent_run_events", "agent_llm_usage"):
            postgres_schema.run(f'ALTER TABLE {{schema}}.{table} OWNER TO "{role}"')
        upgrade(postgres_schema.url)
        theirs = postgres_schema.dsn.replace("postgres@", f"{role}@", 1)
        with PostgresPersistence(dsn=theirs, schema=role) as persistence:
            persistence.log_agent_run_events([AgentRunEvent("planner", "run-1")])
            assert len(persistence.get_agent_run_events("run-1")) == 2
    finally:
        postgres_schema.run(f'DROP OWNED BY "{role}" CASCADE; DROP ROLE "{role}"')
