"""PostgreSQL keeps the space of deleted rows: the report says so, and what helps."""

from __future__ import annotations

import json
import random
import shlex
from datetime import UTC, datetime, timedelta

import pytest

from curio_persistence import AgentRun, AgentRunEvent, PostgresPersistence
from curio_persistence.capabilities.lifecycle.sizes import Sizes
from tests.backends.conftest import Ask

RUNS, EVENTS = 40, 50


def fill(persistence: PostgresPersistence, words: int) -> None:
    """Store runs, of which one half finished long ago."""
    now = datetime.now(UTC)
    chosen = random.Random(words)
    for number in range(RUNS):
        end = now - timedelta(days=100 if number < RUNS // 2 else 1)
        name = f"run-{number}"
        persistence.create_agent_run(
            AgentRun("agent", name, status="completed", created_at=end, finished_at=end)
        )
        persistence.log_agent_run_events(
            AgentRunEvent(
                "agent",
                name,
                event_type="log",
                timestamp=end,
                data=json.dumps([chosen.choice(["alpha", "beta", "gamma"]) for _ in range(words)]),
            )
            for _ in range(EVENTS)
        )


def size_of(ask: Ask, function: str, schema: str) -> int:
    """Return a size of the tables, by one of PostgreSQL's functions."""
    [[size]] = ask(
        f"SELECT sum({function}(c.oid))::bigint FROM pg_class c JOIN pg_namespace n "
        "ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind = 'r' "
        "AND c.relname IN ('agent_runs', 'agent_run_events', 'agent_llm_usage')",
        schema,
    )
    return int(size)


@pytest.mark.parametrize("words", [10, 1_000])
def test_the_estimated_size_is_that_of_the_tables_until_rows_are_deleted(
    dsn: str, ask: Ask, schema_name: str, words: int
) -> None:
    with PostgresPersistence(dsn=dsn, schema=schema_name) as persistence:
        fill(persistence, words)
        stored = size_of(ask, "pg_total_relation_size", schema_name)
        # A small table has half-empty pages, and a free space map.
        assert Sizes(persistence._store).used == pytest.approx(stored, rel=0.25)
        persistence.lifecycle.expire("90d", pace=1)
        assert size_of(ask, "pg_total_relation_size", schema_name) >= stored
        assert Sizes(persistence._store).used == pytest.approx(stored / 2, rel=0.3)


def test_the_report_says_how_to_make_the_indexes_smaller(
    dsn: str, ask: Ask, schema_name: str
) -> None:
    with PostgresPersistence(dsn=dsn, schema=schema_name) as persistence:
        fill(persistence, 10)
        report = persistence.lifecycle.expire("90d", pace=1)
        assert report.bytes_freed == 0
        assert report.advice.startswith("No space went back to the disk")
        before = size_of(ask, "pg_indexes_size", schema_name)
        words = shlex.split(report.advice.partition(": psql ")[2])
        statements = [each for each in words if each != "-c"]
        assert len(statements) == 3
        for statement in statements:
            assert statement.startswith("REINDEX TABLE CONCURRENTLY ")
            ask(statement)
        assert size_of(ask, "pg_indexes_size", schema_name) < before
        assert persistence.lifecycle.expire("90d", pace=1).advice == ""
