"""SQL of one dialect only reads, and leaves no traces in the connection."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AgentRun,
    InvalidValueError,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
    UnavailableError,
)
from tests.conftest import PostgresServers
from tests.support.backends import chosen


@pytest.fixture
def in_sqlite(tmp_path: Path) -> Persistence:
    with SQLitePersistence(tmp_path / "agents.db") as persistence:
        persistence.create_agent_run(AgentRun("agent", "run", objective="hello", tags=["a", "b"]))
        yield persistence


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT value FROM runs, json_each(tags) ORDER BY value", [("a",), ("b",)]),
        ("SELECT name FROM pragma_table_info('events') LIMIT 1", [("id",)]),
        ("SELECT count(*) FROM agent_search_words WHERE agent_search_words MATCH 'hello'", [(1,)]),
        ("SELECT 1; -- no more", [(1,)]),
    ],
)
def test_sqlite_allows_every_read(in_sqlite: Persistence, query: str, expected: list[Any]) -> None:
    assert len(in_sqlite.search_text("hello")) == 1  # It creates the index.
    assert in_sqlite.sql(query).rows == expected


@pytest.mark.parametrize(
    "query",
    [
        "UPDATE sqlite_master SET sql = ''",
        "DELETE FROM sqlite_master",
        "CREATE VIRTUAL TABLE temp.words USING fts5 (word)",
        "INSERT INTO agent_search_words (agent_search_words) VALUES ('rebuild')",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "PRAGMA writable_schema = ON",
        "SELECT * FROM pragma_journal_mode('delete')",
        "SAVEPOINT s",
        "SELECT zeroblob(2000000000)",
        "SELECT ?",
    ],
)
def test_sqlite_refuses_everything_else(in_sqlite: Persistence, query: str) -> None:
    in_sqlite.search_text("hello")
    with pytest.raises(InvalidValueError, match=r"refused the query: [^.]*[^.][.] Expected"):
        in_sqlite.sql(query)


def test_a_file_opened_read_only_can_be_queried_too(in_sqlite: Persistence, tmp_path: Path) -> None:
    with SQLitePersistence(tmp_path / "agents.db", read_only=True) as reading:
        assert reading.sql("SELECT run_id FROM runs").rows == [("run",)]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("SELECT model, sum(cost_usd), avg(duration_s) FROM llm_calls GROUP BY 1", "usage_stats"),
        ("SELECT sum(input_tokens) FROM llm_calls WHERE agent_id = 'agent'", "usage_stats"),
        ("SELECT tool_name, avg(duration_s), sum(failed) FROM tool_calls GROUP BY 1", "tools"),
    ],
)  # fmt: skip
def test_sums_in_sqlite_read_an_index_and_no_prompts(
    in_sqlite: Persistence, query: str, index: str
) -> None:
    [first, *_] = in_sqlite.sql(f"EXPLAIN QUERY PLAN {query}").to_dicts()
    assert re.search(rf"USING COVERING INDEX agent_\w*{index}", first["detail"])


@pytest.fixture(params=chosen("postgres18", "postgres16", "postgres15"))
def open_postgres(
    request: pytest.FixtureRequest, postgres_servers: PostgresServers, schema_name: str
) -> Callable[..., Persistence]:
    dsn = postgres_servers.dsn(request.param)
    return partial(PostgresPersistence, dsn=dsn, schema=schema_name, max_connections=1)


def test_settings_of_a_query_do_not_stay_in_the_connection(
    open_postgres: Callable[..., Persistence],
) -> None:
    with open_postgres() as persistence:
        before = persistence.sql("SELECT current_setting('lock_timeout')").rows
        persistence.sql("SELECT set_config('lock_timeout', '7s', false)")
        assert persistence.sql("SELECT current_setting('lock_timeout')").rows == before
        persistence.create_agent_run(AgentRun("agent", "run"))
        assert persistence.sql("EXPLAIN SELECT * FROM runs").columns == ("QUERY PLAN",)


def test_locks_of_a_query_do_not_stay_in_the_connection(
    open_postgres: Callable[..., Persistence],
) -> None:
    with open_postgres() as persistence:
        persistence.sql("SELECT pg_advisory_lock(42)")
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42"
        assert persistence.sql(held).rows == [(0,)]


def test_values_that_python_lacks_are_as_the_server_writes_them(
    open_postgres: Callable[..., Persistence],
) -> None:
    query = (
        "SELECT TIMESTAMPTZ '0044-03-15 12:00+00 BC', TIMESTAMPTZ '12026-11-20 10:30+00', "
        "TIMESTAMPTZ '-infinity', ARRAY[TIMESTAMPTZ '2026-11-20 10:30+02', 'infinity'], "
        "ARRAY[DATE '0044-03-15 BC'], ARRAY[1.50, 2], BYTEA '\\x00ff', NULL::bytea"
    )
    with open_postgres() as persistence:
        assert persistence.sql(query).rows == [
            (
                "0044-03-15 12:00:00+00 BC",
                "12026-11-20 10:30:00+00",
                "-infinity",
                ["2026-11-20T08:30:00.000000+00:00", "infinity"],
                ["0044-03-15 BC"],
                [1.5, 2],
                b"\x00\xff",
                None,
            )
        ]


def test_a_query_has_the_statement_timeout(open_postgres: Callable[..., Persistence]) -> None:
    with open_postgres(statement_timeout=0.3) as persistence:
        with pytest.raises(UnavailableError, match="statement_timeout"):
            persistence.sql("SELECT pg_sleep(20)")
        assert persistence.sql("SELECT 1").rows == [(1,)]


def test_values_of_other_types_are_text_or_numbers(
    open_postgres: Callable[..., Persistence],
) -> None:
    query = (
        "SELECT DATE '2026-11-20', TIMESTAMP '2026-11-20 10:30', INTERVAL '1 day', TRUE, 1.50, "
        "2.0, '{\"a\": 1}'::jsonb, TIMESTAMPTZ '2026-11-20 10:30+02', -3::numeric, NULL::numeric, "
        "NULL::timestamptz, '100%'"
    )
    with open_postgres() as persistence:
        assert persistence.sql(query).rows == [
            (
                "2026-11-20",
                "2026-11-20 10:30:00",
                "1 day",
                True,
                1.5,
                2,
                '{"a": 1}',
                "2026-11-20T08:30:00.000000+00:00",
                -3,
                None,
                None,
                "100%",
            )
        ]
