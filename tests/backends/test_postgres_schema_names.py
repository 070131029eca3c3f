"""A schema may have any name that PostgreSQL allows: it is a name, never a piece of SQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from psycopg2 import sql

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    ConfigurationError,
    PostgresPersistence,
    connect,
)
from curio_persistence.backends.sql.migrations import OUR_TABLES
from tests.backends.conftest import Ask

ODD_NAMES = [
    'x"; DROP TABLE bystander; --',
    "per%cent",
    "%s %(name)s %%",
    "{braces}",
    "{schema}",
    "ünïcode ☃ 数",
    "Upper Case",
    "it's",
    "back\\slash",
    "back\\0041%slash",
    '"quoted"',
    "select",
    "1",
    "new\nline",
    "n" * 63,
    "é" * 31,
]
TOO_LONG = ["n" * 64, "é" * 32]


@pytest.fixture(params=ODD_NAMES)
def odd_name(request: pytest.FixtureRequest, dsn: str) -> Iterator[str]:
    name: str = request.param
    yield name
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)),
        )


def test_a_schema_may_have_an_odd_name(dsn: str, odd_name: str, ask: Ask) -> None:
    ask("CREATE TEMP TABLE bystander AS SELECT 1")
    for _ in range(2):  # Once to create the tables, once to find them.
        with PostgresPersistence(dsn=dsn, schema=odd_name) as persistence:
            persistence.create_agent_run(AgentRun("agent", "run", status="running"))
            persistence.log_agent_run_event(AgentRunEvent("agent", "run", data="100%"))
            persistence.log_agent_run_event(AgentRunEvent("agent", "stub"))
            persistence.log_agent_run_events([AgentRunEvent("agent", "stub")] * 2)
            persistence.log_llm_usage(AgentLLMUsage("agent", "run", usage_metrics={"cost_usd": 1}))
            persistence.update_agent_run("run", AgentRun("agent", "run", status="completed"))
            [run] = persistence.get_agent_runs("agent", limit=1, offset=1)
            assert (run.run_id, run.status) == ("run", "completed")
            assert [event.data for event in persistence.get_agent_run_events("run")] == ["100%"]
            assert persistence.get_agent_run_stats()["total_cost_usd"] == 1
            assert {check.level for check in persistence.diagnose()} == {"ok"}
            assert persistence.delete_agent_run("run")
            assert persistence.delete_agent_run("stub")
            with persistence.transaction():
                assert persistence.get_agent_run("run") is None
        ask_count = "SELECT count(*) FROM pg_tables WHERE schemaname = %s"
        assert ask(ask_count, odd_name) == [(len(OUR_TABLES),)]
        ask_delete = sql.SQL("DELETE FROM {}").format(sql.Identifier(odd_name, "agent_llm_usage"))
        ask(ask_delete)  # type: ignore[arg-type]
    assert ask("SELECT * FROM bystander") == [(1,)]


@pytest.mark.parametrize("name", [*TOO_LONG, "", "nul\0", "\udc80", None, 5])
def test_an_invalid_name_is_refused_before_anything_is_sent(name: object) -> None:
    with pytest.raises(ConfigurationError, match="chema"):
        PostgresPersistence("nowhere.invalid", schema=name)  # type: ignore[arg-type]


def test_a_name_reserved_by_the_server_is_refused_by_it(dsn: str) -> None:
    with pytest.raises(ConfigurationError, match="another name"):
        PostgresPersistence(dsn=dsn, schema="pg_mine")


def test_a_url_may_name_the_schema(dsn: str, schema_name: str, ask: Ask) -> None:
    with connect(f"{dsn}&schema={schema_name}") as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
    assert ask(f"SELECT run_id FROM {schema_name}.agent_runs") == [("run",)]


def test_two_schemas_of_a_database_are_two_persistences(dsn: str, schema_name: str) -> None:
    with (
        PostgresPersistence(dsn=dsn, schema=schema_name) as one,
        PostgresPersistence(dsn=dsn, schema=f"{schema_name}_2") as other,
    ):
        one.create_agent_run(AgentRun("agent", "run"))
        assert other.get_agent_runs() == []
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA {schema_name}_2 CASCADE")
