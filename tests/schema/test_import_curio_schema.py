"""The import of a PostgreSQL schema: its types and keys, and the owner of its tables."""

from __future__ import annotations

from curio_persistence import AgentRunEvent, PostgresPersistence, import_curio
from tests.schema import original
from tests.schema.conftest import PostgresSchema
from tests.schema.original import EVENT

_KEY = ", FOREIGN KEY (run_id) REFERENCES {schema}.agent_runs (run_id)"


def test_a_schema_with_other_keys_and_types_is_imported(postgres_schema: PostgresSchema) -> None:
    original.make(postgres_schema, key=_KEY, json="JSONB", time="TIMESTAMPTZ")
    import_curio(postgres_schema.url, timezone="Asia/Tokyo")
    with postgres_schema.open() as persistence:
        [run] = persistence.get_agent_runs()
        [event] = persistence.get_agent_run_events("run-1")
        run.objective = "Book another"
        persistence.update_agent_run("run-1", run)
    assert run.metadata == '{"a": 2, "b": 1}'
    assert event.get_data_dict() == {"action": "search", "duration_ms": 12}
    # The server read them in its own zone, so they have a zone.
    [(kept, told)] = postgres_schema.ask(
        "SELECT o.timestamp, n.timestamp FROM {schema}.agent_run_events n "
        "JOIN {schema}.agent_run_events_before_import o USING (id)"
    )
    assert event.timestamp == kept == told


def test_times_out_of_pythons_range_are_reported(postgres_schema: PostgresSchema) -> None:
    events = [EVENT | {"timestamp": "infinity"}, EVENT | {"id": 12, "timestamp": "0044-03-15 BC"}]
    original.make(postgres_schema, events=events)
    report = import_curio(postgres_schema.url)
    assert [example.value for example in report.examples] == ["infinity", "0044-03-15 00:00:00 BC"]
    with postgres_schema.open() as persistence:
        for event in persistence.get_agent_run_events("run-1"):
            assert event.timestamp == event.created_at


def test_the_new_tables_have_the_same_owner(
    postgres_schema: PostgresSchema,
) -> None:
    role = postgres_schema.name
    original.make(postgres_schema)
    postgres_schema.run(f'CREATE ROLE "{role}" LOGIN; ALTER SCHEMA {{schema}} OWNER TO "{role}"')
    try:
        for table in ("agent_runs", "agent_run_events", "agent_llm_usage"):
            postgres_schema.run(f'ALTER TABLE {{schema}}.{table} OWNER TO "{role}"')
        import_curio(postgres_schema.url)
        theirs = postgres_schema.dsn.replace("postgres@", f"{role}@", 1)
        with PostgresPersistence(dsn=theirs, schema=role) as persistence:
            persistence.log_agent_run_events([AgentRunEvent("planner", "run-1")])
            assert len(persistence.get_agent_run_events("run-1")) == 2
    finally:
        postgres_schema.run(f'DROP OWNED BY "{role}" CASCADE; DROP ROLE "{role}"')
