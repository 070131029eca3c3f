"""The SQL views for people and other programs: dollars and seconds, the same in every database."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence
from curio_persistence.backends.sql.migrations import VIEWS
from tests.schema.conftest import Database, SQLiteFile

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
AT = timedelta(minutes=1)


def record(persistence: Persistence) -> None:
    """A run with every field, one with almost none, a stub, and a call without a run."""
    whole = AgentRun(
        "agent", "whole", "Agent", "Find it", started_at=NOON, created_at=NOON, status="error"
    )
    # Rounding to milliseconds would be visible here, and change the second.
    whole.finished_at = NOON + timedelta(days=800, seconds=1, microseconds=999_999)
    whole.session_id, whole.user_id, whole.parent_run_id = "chat", "ann", "above"
    whole.error_message, whole.final_synthesis_output = "TimeoutError: 漢字", "nothing"
    whole.tags, whole.metadata, whole.total_iterations = ["nightly"], {"n": 1}, 3
    persistence.create_agent_run(whole)
    persistence.create_agent_run(AgentRun("other", "bare", created_at=NOON + AT))
    calls: list[dict[str, Any]] = [
        {"cost_usd": Decimal("0.000000000001"), "input_tokens": 7, "output_tokens": 5},
        {"cost_usd": Decimal("1234.56789"), "latency_ms": 1234, "status": "error"},
        {"run_id": None, "cost_usd": 0, "error_message": "refused", "latency_ms": 0},
    ]
    for n, given in enumerate(calls):
        call = AgentLLMUsage("agent", "whole", "acme", "acme-1", prompt="?", created_at=NOON)
        call.span_id, call.trace_id = f"{n:016}", "t" * 32
        for name, value in given.items():
            setattr(call, name, value)
        persistence.log_llm_usage(call)
    payloads: list[tuple[str, str, Any]] = [
        (
            "whole",
            "tool_call",
            {
                "tool_name": "search",
                "args": {"q": "漢", "n": [1, None]},
                "result": "found",
                "latency_ms": 0.5,
            },
        ),
        (
            "whole",
            "tool_call",
            {
                "tool_name": "search",
                "args": None,
                "result": True,
                "error": "HTTP 500",
                "latency_ms": 2500,
            },
        ),
        ("bare", "mcp.call", {"server": "s", "tool": "fetch", "result": 2.5, "error": True}),
        ("bare", "tool_call", {"tool_name": "no end"} | {"args": "text", "result": False}),
        ("stub", "log", "not JSON"),
        ("stub", "log", [1, 2]),
        ("stub", "log", '{"a": 1, "a": NaN}'),
        ("whole", "tool_call_started", {"tool_name": "search"}),
        ("whole", "log", None),
    ]
    for n, (run_id, event_type, data) in enumerate(payloads):
        event = AgentRunEvent("agent", run_id, "", NOON + n * AT, event_type, data)
        event.created_at, event.trace_id, event.level = NOON, "t" * 32, "warning"
        event.session_id = "another" if n == 1 else None
        persistence.log_agent_run_event(event)


def rows(database: Database, view: str) -> list[dict[str, Any]]:
    """Return the rows of a view in forms that all databases share."""
    names = database.columns()[view]
    key = "run_id" if view == "runs" else "id"
    found = database.ask(f"SELECT * FROM {{schema}}.{view} ORDER BY {key}")
    return [
        {n: in_common(database, n, value) for n, value in zip(names, row, strict=True)}
        for row in found
    ]


def in_common(database: Database, name: str, value: Any) -> Any:
    match value:
        case Decimal():
            return float(value)
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        case str() if name in ("args", "result", "payload") and database.dialect == "sqlite":
            return json.loads(value)  # The driver does this with jsonb.
    return value


@pytest.fixture
def filled(database: Database) -> Database:
    with database.open() as persistence:
        record(persistence)
    return database


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_shows_the_same_in_every_database(
    filled: Database, sqlite_file: SQLiteFile, view: str
) -> None:
    with sqlite_file.open() as persistence:
        record(persistence)
    here, there = rows(filled, view), rows(sqlite_file, view)
    for row in (*here, *there):
        row.pop("id", None)  # A refused row uses up an id in PostgreSQL.
    assert here == there != []


def test_runs_have_dollars_seconds_and_the_sums_of_their_calls(filled: Database) -> None:
    bare, whole = rows(filled, "runs")  # And not the stub.
    assert whole == {
        "run_id": "whole",
        "agent_id": "agent",
        "agent_name": "Agent",
        "status": "error",
        "started_at": "2026-11-20T12:00:00.000000+00:00",
        "finished_at": "2029-01-28T12:00:01.999999+00:00",
        "duration_s": 69_120_001.999999,
        "objective": "Find it",
        "final_synthesis_output": "nothing",
        "error_message": "TimeoutError: 漢字",
        "session_id": "chat",
        "user_id": "ann",
        "parent_run_id": "above",
        "trace_id": "t" * 32,
        "total_iterations": 3,
        "llm_calls": 2,
        "input_tokens": 7,
        "output_tokens": 5,
        "cost_usd": 1234.567890000001,
        "tags": '["nightly"]',
        "metadata": '{"n": 1}',
        "created_at": "2026-11-20T12:00:00.000000+00:00",
    }
    assert (bare["llm_calls"], bare["cost_usd"], bare["duration_s"]) == (0, None, None)


def test_model_calls_have_dollars_and_seconds(filled: Database) -> None:
    calls = rows(filled, "llm_calls")
    assert [(call["cost_usd"], call["duration_s"]) for call in calls] == [
        (1e-12, None),
        (1234.56789, 1.234),
        (0, 0),
    ]
    assert [(call["session_id"], call["user_id"]) for call in calls] == [("chat", "ann")] * 2 + [
        (None, None)
    ]


def test_tool_calls_have_their_arguments_results_and_errors(filled: Database) -> None:
    names = ("tool_name", "failed", "error_message", "duration_s", "args", "result", "session_id")
    assert [tuple(map(call.get, names)) for call in rows(filled, "tool_calls")] == [
        ("search", 0, None, 0.0005, {"q": "漢", "n": [1, None]}, "found", "chat"),
        ("search", 1, "HTTP 500", 2.5, None, True, "another"),
        ("s/fetch", 1, "error", None, None, 2.5, None),
        ("no end", 0, None, None, "text", False, None),
    ]


def test_a_payload_is_always_json(filled: Database) -> None:
    assert [event["payload"] for event in rows(filled, "events")][4:] == [
        "not JSON",
        "[1, 2]",
        '{"a": 1, "a": NaN}',
        {"tool_name": "search"},
        None,
    ]


@pytest.mark.parametrize(
    "kind", ["TABLE {schema}.runs (what TEXT)", "VIEW {schema}.runs AS SELECT 1 AS what"]
)
def test_a_name_taken_by_another_program_is_not_used(database: Database, kind: str) -> None:
    database.run(f"CREATE {kind}")
    before = database.ask("SELECT * FROM {schema}.runs")
    with database.open() as persistence:
        record(persistence)
        assert len(persistence.get_agent_runs()) == 3
    assert database.columns()["runs"] == ["what"]
    assert database.ask("SELECT * FROM {schema}.runs") == before
    assert len(rows(database, "llm_calls")) == 3
