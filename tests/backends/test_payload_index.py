"""PostgreSQL finds payloads by an optional index."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
import pytest

from curio_persistence import (
    InMemoryPersistence,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
    UnsupportedError,
)
from curio_persistence.errors import AccessDeniedError
from tests.support.plans import Plan, PostgresPlanner

INDEX = "agent_run_events_payload"
RARE, FREQUENT = {"call.id": 77}, {"tool": "search"}
FILL = """
    INSERT INTO {schema}.agent_runs (agent_id, run_id, created_at, updated_at)
    VALUES ('agent', 'run', now(), now());
    INSERT INTO {schema}.agent_run_events (agent_id, run_id, data, timestamp, created_at)
    SELECT 'agent', 'run', json_build_object('tool', (ARRAY['search', 'fetch'])[i % 2 + 1],
        'call', json_build_object('id', i), 'text', repeat('x', 200)), t, t
    FROM generate_series(1, 30000) i, LATERAL (SELECT now() + i * interval '1 ms' AS t) AS moments;
"""


@pytest.fixture
def planner(dsn: str, schema_name: str) -> Iterator[PostgresPlanner]:
    with (
        PostgresPersistence(dsn=dsn, schema=schema_name) as persistence,
        closing(psycopg2.connect(dsn)) as connection,
        connection.cursor() as cursor,
    ):
        connection.autocommit = True
        cursor.execute(FILL.replace("{schema}", schema_name))
        cursor.execute(f"ANALYZE {schema_name}.agent_run_events")
        yield PostgresPlanner(persistence, cursor, schema_name)


def plan(planner: PostgresPlanner, ask: Callable[[Persistence], object]) -> Plan:
    with planner.listening() as asked:
        ask(planner.persistence)
    return planner.plan(asked)


def test_rare_payloads_are_found_by_the_index_and_frequent_ones_by_time(
    planner: PostgresPlanner,
) -> None:
    assert INDEX not in plan(planner, lambda p: p.count_events(payload=RARE)).indexes
    assert planner.persistence.create_payload_index()
    for ask in (
        lambda p: p.query_events(payload=RARE),
        lambda p: p.query_events(payload=RARE | FREQUENT),
        lambda p: p.query_events(payload=RARE, event_type="", agent_id="agent"),
        lambda p: p.count_events(payload=RARE),
        lambda p: next(iter(p.iter_agent_run_events(payload=RARE)), None),
    ):
        found = plan(planner, ask)
        assert INDEX in found.indexes
        assert not found.unaided
    frequent = plan(planner, lambda p: p.query_events(payload=FREQUENT, limit=10))
    assert frequent.indexes == {"agent_run_events_by_time"}
    assert not frequent.sorts


def test_a_payload_is_read_once_for_several_values(planner: PostgresPlanner) -> None:
    with planner.listening() as asked:
        planner.persistence.count_events(payload=RARE | FREQUENT)
    [(sql, params)] = asked.items()
    assert sql.count("curio_payload") == 1
    assert json.loads(params[0]) == {"call": {"id": 77}, "tool": "search"}


def test_results_are_the_same_with_the_index(planner: PostgresPlanner) -> None:
    persistence = planner.persistence
    odd = [
        "no JSON",
        "[1]",
        r'{"call": {"id": 77}, "x": "\u0000"}',
        "[" * 9_000,
        '{"call":{"id":77.0}}',
    ]
    for data in odd:
        persistence.append_event("run", "agent", "odd", payload=data)

    def answers() -> list[object]:
        payloads = (RARE, FREQUENT, RARE | FREQUENT, {"call.id": None}, {"call": 77})
        return [persistence.count_events(payload=payload) for payload in payloads]

    before = answers()
    assert before[:2] == [2, 15_000]
    assert persistence.create_payload_index()
    assert answers() == before
    for data in odd:
        persistence.append_event("run", "agent", "odd", payload=data)
    assert persistence.count_events(payload=RARE) == 3


def test_it_is_built_once(planner: PostgresPlanner) -> None:
    assert planner.persistence.create_payload_index()
    assert not planner.persistence.create_payload_index()
    assert INDEX in planner.indexes


def test_the_remains_of_a_killed_build_are_replaced(planner: PostgresPlanner) -> None:
    assert planner.persistence.create_payload_index()
    planner._cursor.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass",
        (f"{planner._schema}.{INDEX}",),
    )
    assert INDEX not in plan(planner, lambda p: p.count_events(payload=RARE)).indexes
    assert planner.persistence.create_payload_index()
    assert INDEX in plan(planner, lambda p: p.count_events(payload=RARE)).indexes


def test_a_transaction_cannot_build_it(planner: PostgresPlanner) -> None:
    with (
        planner.persistence.transaction(),
        pytest.raises(UnsupportedError, match="end the open one"),
    ):
        planner.persistence.create_payload_index()
    assert INDEX not in planner.indexes


def test_a_read_only_persistence_cannot_build_it(planner: PostgresPlanner) -> None:
    dsn = planner._cursor.connection.dsn
    with (
        PostgresPersistence(dsn=dsn, schema=planner._schema, read_only=True) as reader,
        pytest.raises(AccessDeniedError),
    ):
        reader.create_payload_index()


@pytest.mark.parametrize("make", [InMemoryPersistence, lambda: SQLitePersistence(":memory:")])
def test_other_backends_have_no_payload_index(make: Callable[[], Persistence]) -> None:
    with make() as persistence, pytest.raises(UnsupportedError, match="On PostgreSQL there is one"):
        persistence.create_payload_index()
