"""SQL over a database and its archive answers as before its runs moved there, and only reads."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    InMemoryPersistence,
    InvalidValueError,
    Persistence,
    SQLitePersistence,
    UnsupportedError,
    archive_runs,
    open_archive,
    restore_runs,
)
from curio_persistence.backends.sql.migrations import VIEWS
from tests.conformance.test_archive import AWKWARD, NOON
from tests.conformance.test_retention import record
from tests.schema.test_views import record as record_for_views
from tests.support.hands import Hands

pytestmark = pytest.mark.slow

TOOLS: tuple[tuple[str, Any], ...] = (
    ("tool_call", {"tool_name": "search", "args": {"q": "漢"}, "result": "!", "latency_ms": 0.5}),
    ("tool_call", {"tool": "sql", "error": "HTTP 500", "latency_ms": 2500, "duration_ms": 1}),
    ("tool_call", {"tool_name": "", "tool": None, "action": "act", "error": ""}),
    ("tool_call", {"action_name": "z" * 300, "error": False, "duration_ms": 2.0005}),
    ("tool_call", {"tool_name": 5, "error": 404, "latency_ms": True}),
    ("tool_call", {"tool_name": ["a", None], "error": {"code": 5}, "latency_ms": "1"}),
    ("tool_call", {"tool_name": "nul\0", "error": True, "latency_ms": 1e300}),
    ("tool_call", {"tool_name": "half \ud800", "args": [1.5, False], "result": False}),
    ("tool_call", {"tool_name": "null", "args": None, "result": None, "error": None}),
    ("tool_call", {"args": "no name"}),
    ("tool_call", '{"tool_name": "odd", "latency_ms": NaN}'),
    ("tool_call", '{"tool_name": "escaped \\ud800"}'),
    ("tool_call", "not JSON"),
    ("tool_call", None),
    ("tool_call", "[1]"),
    ("mcp.call", {"server": "files", "tool": "read", "error": 0}),
    ("mcp.call", {"server": "", "tool": "alone"}),
    ("mcp.call", {"server": 7, "tool": "numbered"}),
    ("action_execution_completed", {"action": "done", "duration_ms": 12}),
    ("tool_call_started", {"tool_name": "search"}),
    ("log", {"text": "NaN and Infinity", "n": [1, None]}),
    ("log", AWKWARD),
)  # fmt: skip


@pytest.fixture(autouse=True)
def stopped(clock: Hands) -> None:
    clock.put(NOON)


def fill(persistence: Persistence) -> None:
    """Twelve runs of a year, with calls of tools of all shapes, and a call of no run."""
    for number in range(12):
        name, day = f"run-{number:02}", NOON - timedelta(days=10 * number + 1)
        record(
            persistence,
            name,
            days=10 * number + 1,
            agent_id="planner" if number % 3 else "writer",
            status="error" if number % 4 == 0 else "completed",
            session_id=f"s{number // 3}",
            user_id=f"u{number % 2}",
            tags=["even"] if number % 2 == 0 else None,
            objective=AWKWARD,
            events=2,
        )
        for at, (event_type, data) in enumerate(TOOLS):
            time = day + timedelta(seconds=at + number)
            event = AgentRunEvent("planner", name, "", time, event_type, data)
            event.level = "error" if at % 5 == 0 else "info"
            event.session_id = "own" if at % 7 == 0 else None
            event.trace_id = f"{number:032x}" if at else None
            persistence.log_agent_run_event(event)
        call = AgentLLMUsage("planner", name, model=f"gpt-{number % 2}", created_at=day)
        call.cost_usd, call.input_tokens, call.latency_ms = 0.1 * number, number, 100 * number + 1
        persistence.log_llm_usage(call)
    persistence.log_llm_usage(AgentLLMUsage("planner", None, model="gpt-0", created_at=NOON))


STATEMENTS = (
    "SELECT run_id, agent_id, agent_name, status, started_at, finished_at, duration_s, objective, "
    "error_message, session_id, user_id, parent_run_id, trace_id, total_iterations, llm_calls, "
    "input_tokens, output_tokens, cost_usd, tags, metadata, created_at FROM runs ORDER BY run_id",
    "SELECT created_at, run_id, agent_id, model, status, input_tokens, cost_usd, duration_s, "
    "session_id, user_id FROM llm_calls ORDER BY created_at, run_id, id",
    "SELECT run_id, timestamp, agent_id, tool_name, failed, duration_s, session_id, user_id, "
    "trace_id FROM tool_calls ORDER BY run_id, timestamp",
    "SELECT run_id, timestamp, event_type, level, message, payload, session_id, user_id, trace_id, "
    "event_id FROM events WHERE payload NOT LIKE '%escaped%' OR payload IS NULL "
    "ORDER BY run_id, timestamp, id",
    "SELECT agent_id, count(*) FROM events GROUP BY agent_id ORDER BY agent_id",
    "SELECT status, count(*), sum(llm_calls), sum(input_tokens) FROM runs GROUP BY 1 ORDER BY 1",
    "SELECT date(started_at), count(*) FROM runs GROUP BY 1 ORDER BY 1",
    "SELECT count(*) FROM runs",
    "SELECT count(*) FROM events WHERE level = 'error'",
    "SELECT count(*) FROM events WHERE session_id = 's2'",
    "SELECT count(*) FROM runs "
    "WHERE started_at >= '2026-09-01' AND started_at < '2026-10-01T12:00'",
    "SELECT model, sum(cost_usd) > 1, round(avg(duration_s), 6) FROM llm_calls GROUP BY 1 "
    "ORDER BY 1",
    "SELECT tool_name, sum(failed), max(duration_s) FROM tool_calls GROUP BY 1 ORDER BY 1",
    "SELECT r.session_id, count(*) FROM runs r JOIN events e ON e.run_id = r.run_id "
    "WHERE e.event_type = 'tool_call' GROUP BY 1 ORDER BY 1",
    "SELECT run_id FROM runs WHERE run_id NOT IN (SELECT run_id FROM tool_calls WHERE failed = 2) "
    "ORDER BY started_at DESC LIMIT 3",
    "WITH late AS (SELECT run_id FROM runs WHERE user_id = 'u1') "
    "SELECT count(*) FROM llm_calls WHERE run_id IN (SELECT run_id FROM late)",
    "SELECT count(*) FROM agent_run_events -- the tables themselves",
    "SELECT max(timestamp) FROM events WHERE payload ->> 'tool' = 'sql'",
    "SELECT trace_id FROM runs WHERE trace_id IS NOT NULL ORDER BY 1",
    "SELECT max(user_id), min(agent_id) FROM events",
    "VALUES (1, 'x', NULL);",
)
IN_DUCKDB = (
    ("SELECT count(*) FROM runs WHERE list_contains(tags::VARCHAR[], 'even')", 6),
    ("SELECT count(*) FROM query('SELECT DISTINCT session_id FROM events')", 5),
    ("SELECT count(*) FROM (SUMMARIZE runs)", 22),
    ("SELECT count(*) FROM (DESCRIBE events)", 15),
    ("SELECT count(*) FROM (SELECT e FROM events e WHERE e.level = 'error' LIMIT 3)", 3),
    ("SELECT count(COLUMNS('^run_id$')) FROM runs", 12),
    ("FROM (SELECT count(*) FROM runs NATURAL JOIN (SELECT 's1' AS session_id))", 3),
    ("SELECT count(*) FROM runs WHERE started_at > TIMESTAMP '2026-11-25' - INTERVAL 30 DAY", 3),
    ("SELECT count(*) FROM generate_series(1, 3)", 3),
    ("SELECT sum(n) FROM (SELECT unnest(json_extract(tags, '$[*]')), 1 AS n FROM runs)", 6),
    ("SELECT count(*) FROM runs r, json_each(r.tags) t WHERE t.value = '\"even\"'", 6),
)


def in_common(answer: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return rows in forms that both dialects share: bools as numbers."""
    return [tuple(int(v) if isinstance(v, bool) else v for v in row) for row in answer]


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The answers of a SQLite database with the same records."""
    with SQLitePersistence(tmp_path / "same.db") as same:
        fill(same)
        return {each: in_common(same.sql(each).rows) for each in STATEMENTS}


@pytest.fixture
def both(persistence: Persistence, place: Path, clock: Hands) -> Persistence:
    """A database of which eight of twelve runs have moved to its archive, with it."""
    fill(persistence)
    clock.move(seconds=1)
    assert archive_runs(persistence, place, older_than="40d", pace=1).runs == 8
    return open_archive(persistence, place)


def test_sql_answers_as_the_database_did(both: Persistence, expected: dict[str, Any]) -> None:
    for statement in STATEMENTS:
        assert in_common(both.sql(statement).rows) == expected[statement], statement


@pytest.mark.thorough
def test_sql_is_that_of_duckdb(both: Persistence) -> None:
    for statement, expected in IN_DUCKDB:
        assert both.sql(statement).rows == [(expected,)], statement


@pytest.mark.thorough
def test_rows_count_once_whatever_moves_between_database_and_archive(
    persistence: Persistence, both: Persistence, place: Path, clock: Hands
) -> None:
    counts = [f"SELECT count(*), count(DISTINCT run_id) FROM {view}" for view in VIEWS]
    before = [both.sql(count).rows for count in counts]
    # Restored, a run is in both; changed and archived again, it is in the archive twice.
    restore_runs(persistence, place, ["run-08", "run-11"])
    assert [both.sql(count).rows for count in counts] == before
    run = persistence.get_agent_run("run-11")
    assert run is not None
    run.objective = "changed"
    persistence.update_agent_run("run-11", run)
    clock.move(seconds=1)
    assert archive_runs(persistence, place, older_than="105d", pace=1).runs == 1
    assert [both.sql(count).rows for count in counts] == before
    found = both.sql("SELECT run_id FROM runs WHERE objective = 'changed'")
    assert found.rows == [("run-11",)]
    assert persistence.count_agent_runs() == 5


@pytest.mark.thorough
def test_the_views_have_the_columns_of_sqlite_with_the_same_json(
    persistence: Persistence, place: Path, clock: Hands, tmp_path: Path
) -> None:
    with SQLitePersistence(tmp_path / "same.db") as same:
        for each in (persistence, same):
            record_for_views(each)
            record(each, "old", days=200, events=0)
        clock.move(seconds=1)
        archive_runs(persistence, place, older_than="100d", pace=1)
        both = open_archive(persistence, place)
        for view in VIEWS:
            query = f"SELECT * FROM {view} ORDER BY {'run_id' if view == 'runs' else 'id'}"
            here, there = both.sql(query), same.sql(query)
            assert here.columns == there.columns
            assert [*map(parsed, here.to_dicts())] == [*map(parsed, there.to_dicts())]


def parsed(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its JSON parsed, without the id, of which PostgreSQL leaves some out."""
    found = {name: value for name, value in row.items() if name != "id"}
    for name in {"args", "result", "payload"} & {*found}:
        found[name] = None if found[name] is None else json.loads(found[name])
    return found


@pytest.mark.thorough
def test_half_a_surrogate_pair_makes_a_payload_a_text_as_in_postgresql(both: Persistence) -> None:
    found = both.sql("SELECT payload FROM events WHERE payload LIKE '%escaped%'")
    assert {json.loads(payload) for (payload,) in found} == {'{"tool_name": "escaped \\ud800"}'}


@pytest.mark.thorough
def test_times_and_parameters_are_in_utc(both: Persistence) -> None:
    moment = datetime(2026, 9, 1, tzinfo=timezone(timedelta(hours=2)))
    query = "SELECT count(*), max(started_at) FROM runs WHERE started_at < $1 AND agent_id = $2"
    [(count, last)] = both.sql(query, [moment, "writer"])
    assert count == len(both.query_agent_runs(agent_id="writer", until=moment)) > 0
    assert last < "2026-08-31T22"
    assert last.endswith("+00:00")
    assert both.sql("SELECT $1, $2, $3, $1", [None, True, 1.5]).rows == [(None, True, 1.5, None)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT 1.50, 2.0::DECIMAL(9, 1), 1e0, 7, NULL, TRUE", (1.5, 2.0, 1.0, 7, None, True)),
        ("SELECT 'x\\x00'::BLOB, DATE '2026-11-20'", (b"x\0", "2026-11-20")),
        ("SELECT TIMESTAMP '2026-11-20 10:30:00.5'", ("2026-11-20T10:30:00.500000+00:00",)),
        ("SELECT [1.5, 2], {'a': DATE '2026-11-20'}", ([1.5, 2.0], '{"a": "2026-11-20"}')),
        ("SELECT sum(x) FROM range(10) t(x)", (45,)),
    ],
)
@pytest.mark.before_io
@pytest.mark.thorough
def test_values_are_those_of_a_result(
    both: Persistence, query: str, expected: tuple[Any, ...]
) -> None:
    assert both.sql(query).rows == [expected]


@pytest.mark.thorough
def test_a_limited_result_reports_whether_there_are_more_rows(both: Persistence) -> None:
    first = both.sql("SELECT run_id FROM runs ORDER BY run_id", limit=2)
    assert (first.rows, first.has_more) == ([("run-00",), ("run-01",)], True)
    assert both.sql("SELECT run_id FROM runs", limit=0).rows == []
    assert not both.sql("SELECT run_id FROM runs", limit=12).has_more


REFUSED = (
    "SELEC 1",
    "SELECT nothing FROM runs",
    "SELECT * FROM no_such_table",
    "SELECT $1",
    "",
    "-- nothing",
    "SELECT 1; SELECT 2",
    "INSERT INTO agent_runs (run_id) VALUES ('x')",
    "UPDATE agent_runs SET status = 'x'",
    "WITH gone AS (SELECT 1) DELETE FROM agent_runs",
    "DROP VIEW runs",
    "CREATE TABLE t (x INTEGER)",
    "CREATE TABLE t AS FROM read_text('{outside}')",
    "BEGIN",
    "COPY runs TO '{written}'",
    "COPY (SELECT 1) TO '{written}' (FORMAT parquet)",
    "EXPORT DATABASE '{written}'",
    "EXPLAIN ANALYZE COPY runs TO '{written}'",
    "SELECT * FROM query('COPY runs TO ''{written}''')",
    "ATTACH '{written}' AS other",
    "ATTACH '{outside}' AS other (TYPE sqlite)",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA version",
    "CALL pragma_version()",
    "CHECKPOINT",
    "SET memory_limit = '100GB'",
    "SET enable_external_access = true",
    "RESET enable_external_access",
    "SET VARIABLE x = 1",
    "SELECT * FROM enable_logging(storage := 'file', storage_path := '{written}')",
    "SELECT * FROM enable_profiling(save_location := '{written}')",
    "SELECT * FROM '{outside}'",
    "SELECT * FROM read_text('{outside}')",
    "SELECT * FROM read_blob('{outside}')",
    "SELECT * FROM read_csv('{outside}')",
    "SELECT * FROM read_parquet('{outside}')",
    "SELECT * FROM parquet_metadata('{outside}')",
    "SELECT * FROM sqlite_scan('{outside}', 'agent_runs')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM read_text('http://127.0.0.1:9/x')",
    "SELECT * FROM read_text('s3://bucket/x')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "SELECT getenv('HOME')",
    "SELECT * FROM query",
    "SELECT * FROM params",
    "PREPARE p AS SELECT 1",
)


@pytest.mark.before_io
def test_a_statement_that_does_not_just_read_the_views_is_refused(
    both: Persistence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "outside").write_text("hidden words")
    names = {"outside": folder / "outside", "written": folder / "written", "folder": folder}
    for query in REFUSED:
        with pytest.raises(InvalidValueError, match="refused the query: ") as caught:
            both.sql(query.format_map(names))
        assert caught.value.field == "query"
        assert "hidden words" not in str(caught.value)
        assert "Expected is one statement, which only reads" in str(caught.value)
        assert [path.name for path in folder.iterdir()] == ["outside"], query
    assert both.sql("SELECT count(*) FROM runs").rows == [(12,)]


@pytest.mark.thorough
def test_nothing_is_left_in_the_folder_for_temporary_files(
    both: Persistence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    both.sql("SELECT count(*) FROM events")
    with pytest.raises(InvalidValueError):
        both.sql("SELECT nothing FROM events")
    both.close()  # Which leaves the scratch folder of the archive till then.
    assert [*folder.iterdir()] == []


def test_in_memory_there_is_sql_with_an_archive_only(place: Path, clock: Hands) -> None:
    with InMemoryPersistence() as persistence:
        record(persistence, "old", days=200)
        clock.move(seconds=1)
        archive_runs(persistence, place, older_than="100d", pace=1)
        with pytest.raises(UnsupportedError, match="SQL"):
            persistence.sql("SELECT 1")
        both = open_archive(persistence, place)
        assert both.sql("SELECT run_id FROM runs").rows == [("old",)]


@pytest.mark.thorough
def test_a_run_without_records_counts_once_if_it_is_archived_twice(
    persistence: Persistence, place: Path, clock: Hands
) -> None:
    long_ago = NOON - timedelta(days=200)
    persistence.create_agent_run(AgentRun("planner", "bare", created_at=long_ago))
    for objective in ("first", "second"):
        run = persistence.get_agent_run("bare")
        assert run is not None
        run.objective, run.status, run.finished_at = objective, "completed", long_ago
        persistence.update_agent_run("bare", run)
        clock.move(seconds=1)
        assert archive_runs(persistence, place, older_than="105d", pace=1).runs == 1
        if objective == "first":
            restore_runs(persistence, place, ["bare"])
    both = open_archive(persistence, place)
    assert both.sql("SELECT run_id, objective, llm_calls FROM runs").rows == [("bare", "second", 0)]
    assert both.sql("SELECT count(*) FROM events").rows == [(0,)]
