"""SQL of users gives the same result in both databases, and can only read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    InMemoryPersistence,
    InvalidValueError,
    NullPersistence,
    Persistence,
    SQLitePersistence,
    SQLResult,
    UnsupportedError,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def filled(persistence: Persistence, lasting: None) -> Persistence:
    for n in range(5):
        run = AgentRun("agent", f"run-{n}", "", "東京\0", started_at=NOON, created_at=NOON)
        run.finished_at = NOON + timedelta(milliseconds=1500 * n)
        persistence.create_agent_run(run)
        call = AgentLLMUsage("agent", run.run_id, "acme", "acme-1", cost_usd=0.25 * n)
        persistence.log_llm_usage(call)
    persistence.append_event("run-0", "agent", "log", timestamp=NOON, payload={"city": "Zürich"})
    return persistence


def answer(persistence: Persistence, query: str, *params: Any) -> list[tuple[Any, ...]]:
    return persistence.sql(query, params).rows


def test_a_result_has_columns_and_rows(filled: Persistence) -> None:
    query = "SELECT run_id, duration_s, cost_usd FROM runs WHERE run_id < 'run-2' ORDER BY run_id"
    expected = SQLResult(
        ("run_id", "duration_s", "cost_usd"), [("run-0", 0, 0), ("run-1", 1.5, 0.25)]
    )
    assert filled.sql(query) == expected
    assert len(expected) == 2
    assert expected.to_dicts()[1] == {"run_id": "run-1", "duration_s": 1.5, "cost_usd": 0.25}
    assert list(expected) == expected.rows


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT count(*), sum(cost_usd), avg(cost_usd) FROM llm_calls", (5, 2.5, 0.5)),
        ("SELECT DISTINCT started_at FROM runs", ("2026-11-20T12:00:00.000000+00:00",)),
        ("SELECT date(min(started_at)) FROM runs", ("2026-11-20",)),
        ("SELECT count(*) FROM runs WHERE started_at >= '2026-11-20'", (5,)),
        ("SELECT count(*) FROM runs WHERE started_at < '2026-11-20T12:00'", (0,)),
        ("SELECT objective FROM runs LIMIT 1", ("東京\0",)),
        ("SELECT count(*) FROM runs WHERE objective = '東京\0'", (5,)),
        ("SELECT round(sum(duration_s), 1) FROM runs", (15.0,)),
        ("SELECT message, user_id FROM events", (None, None)),
        ("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) "
         "SELECT max(i) FROM n;", (9,)),
        ("VALUES ('%s')", ("%s",)),
        ("SELECT count(*) FROM agent_run_events -- the tables themselves", (1,)),
    ],
)  # fmt: skip
def test_both_databases_give_the_same_result(
    filled: Persistence, query: str, expected: tuple[Any, ...]
) -> None:
    assert answer(filled, query) == [expected]


def test_payload_fields_can_be_queried(filled: Persistence) -> None:
    assert answer(filled, "SELECT payload ->> 'city' FROM events") == [("Zürich",)]
    [(payload,)] = answer(filled, "SELECT payload FROM events")
    assert payload == '{"city": "Zürich"}'


def test_parameters_are_values_and_never_sql(filled: Persistence) -> None:
    query = "SELECT count(*) FROM runs WHERE run_id = $1"
    assert answer(filled, query, "run-1") == [(1,)]
    assert answer(filled, query, "' OR 1=1 --") == [(0,)]
    assert answer(filled, "SELECT count(*) FROM runs WHERE objective = $1", "東京\0") == [(5,)]
    window = "SELECT count(*) FROM runs WHERE started_at >= $1 AND duration_s > $2"
    assert answer(filled, window, NOON, 1.5) == [(3,)]
    assert answer(filled, window, NOON + timedelta(microseconds=1), 0) == [(0,)]
    assert answer(filled, "SELECT $1, $1", None) == [(None, None)]


def test_a_limited_result_reports_whether_there_are_more_rows(filled: Persistence) -> None:
    query = "SELECT run_id FROM runs ORDER BY run_id"
    first = filled.sql(query, limit=2)
    assert (first.rows, first.has_more) == ([("run-0",), ("run-1",)], True)
    assert filled.sql(query, limit=5) == filled.sql(query)
    assert not filled.sql(query).has_more
    assert filled.sql(query, limit=0) == SQLResult(("run_id",), [], has_more=True)


def test_a_result_may_be_long(filled: Persistence) -> None:
    numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
    assert answer(filled, f"{numbers} SELECT i FROM n") == [(i,) for i in range(1, 20_001)]


REFUSED = (
    "SELEC 1",
    "SELECT nothing FROM runs",
    "SELECT * FROM no_such_table",
    "SELECT $1",
    "SELECT 1 WHERE",
    "",
    "-- nothing",
    "INSERT INTO agent_llm_usage (status, created_at) VALUES ('x', '2026-11-20')",
    "UPDATE agent_runs SET status = 'x'",
    "UPDATE agent_runs SET status = 'x' RETURNING run_id",
    "WITH gone AS (SELECT 1) DELETE FROM agent_runs",
    "DELETE FROM runs",
    "DROP VIEW runs",
    "CREATE TABLE t (x INTEGER)",
    "CREATE TEMP TABLE t AS SELECT 1",
    "BEGIN",
    "COMMIT",
    "ROLLBACK; DELETE FROM agent_runs",
    "SELECT 1; COMMIT; DELETE FROM agent_runs",
    "SELECT 1; DELETE FROM agent_runs",
    "ATTACH 'attached.db' AS other",
    "VACUUM",
    "VACUUM INTO 'attached.db'",
    "PRAGMA query_only = OFF",
    "PRAGMA user_version = 5",
    "PRAGMA journal_mode = DELETE",
    "SELECT load_extension('x')",
    "SET transaction_read_only = off",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "COPY agent_runs TO STDOUT",
    "SELECT nextval('agent_runs_id_seq')",
)


@pytest.mark.parametrize("query", REFUSED)
def test_an_invalid_or_writing_statement_is_refused(
    filled: Persistence, query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    with pytest.raises(InvalidValueError, match="refused the query: ") as caught:
        filled.sql(query)
    assert caught.value.field == "query"
    assert filled.count_agent_runs(status="pending") == 5
    assert filled.count_llm_usage() == 5
    assert set(tmp_path.iterdir()) == before
    assert answer(filled, "SELECT count(*) FROM runs") == [(5,)]
    filled.create_agent_run(AgentRun("agent", "later"))  # Nothing stays behind.


@pytest.mark.parametrize("params", ["text", None, 5, [object()], [2**63], [{}]])
def test_parameters_of_other_types_are_refused(filled: Persistence, params: Any) -> None:
    with pytest.raises(InvalidValueError) as caught:
        filled.sql("SELECT $1", params)
    assert caught.value.field == "params"


def test_sql_in_a_transaction_is_refused(filled: Persistence) -> None:
    with filled.transaction(), pytest.raises(UnsupportedError, match="end it before"):
        filled.sql("SELECT 1")


def test_queued_records_are_stored_first(filled: Persistence) -> None:
    with filled.buffered() as buffered:
        buffered.append_event("run-0", "agent", "log")
        assert answer(buffered, "SELECT count(*) FROM events") == [(2,)]


def test_columns_with_the_same_name_are_distinguished_in_dicts(filled: Persistence) -> None:
    found = filled.sql("SELECT 1 AS a, 2 AS b, 3 AS a, 4 AS a, 5 AS a_2")
    assert found.columns == ("a", "b", "a", "a", "a_2")
    assert found.to_dicts() == [{"a": 1, "b": 2, "a_2": 3, "a_3": 4, "a_2_2": 5}]


def test_a_result_converts_to_a_frame(filled: Persistence) -> None:
    pytest.importorskip("pandas")
    frame = filled.sql("SELECT run_id, cost_usd FROM runs ORDER BY run_id").to_pandas()
    assert list(frame.columns) == ["run_id", "cost_usd"]
    assert frame.cost_usd.sum() == 2.5


@pytest.mark.parametrize(
    "make", [InMemoryPersistence, NullPersistence, lambda: SQLitePersistence(":memory:")]
)
def test_in_memory_there_is_no_sql(make: Any) -> None:
    with make() as persistence, pytest.raises(UnsupportedError, match="SQL"):
        persistence.sql("SELECT 1")
