"""A database of AgentLens is imported byte for byte, with its chains as they are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import InvalidValueError, NotFoundError, Persistence, import_agentlens
from curio_persistence.compat.agentlens import (
    AgentLensEvent,
    ChainVerificationResult,
    EventStore,
)
from tests.conformance.conftest import Open
from tests.support.lens import append, at, chained, event, write_database

VALID = ChainVerificationResult(valid=True)
SESSION = {
    "id": "s",
    "agent_id": "a",
    "agent_name": "Ada",
    "started_at": "2026-02-07T10:00:00Z",
    "ended_at": None,
    "status": "completed",
    "event_count": 70,
    "tool_call_count": 6,
    "error_count": 5,
    "total_cost_usd": 0.75,
    "tags": '["x","y"]',
}
AGENT = {
    "id": "a",
    "name": "Ada",
    "description": None,
    "first_seen_at": "2026-02-01T10:00:00Z",
    "last_seen_at": "2026-02-07T10:00:00Z",
    "session_count": 9,
}
RULE = {
    "id": "r",
    "name": "Rule",
    "enabled": 1,
    "condition": "cost_exceeds",
    "threshold": 5,
    "window_minutes": 60,
    "scope": '{"agentId":"a"}',
    "notify_channels": '["https://example.com/hook"]',
    "created_at": "2026-02-01T10:00:00.000Z",
    "updated_at": "2026-02-02T10:00:00.000Z",
}
ALERT = {
    "id": "h",
    "rule_id": "r",
    "triggered_at": "2026-02-03T10:00:00.000Z",
    "resolved_at": None,
    "current_value": 6.5,
    "threshold": 5,
    "message": "Cost $6.5000 exceeds",
}
ALL: dict[str, list[dict[str, Any]]] = {
    "sessions": [SESSION],
    "agents": [AGENT],
    "alert_rules": [RULE],
    "alert_history": [ALERT],
}


@pytest.fixture
def chain() -> list[AgentLensEvent]:
    odd = {"é": "😀 \u2028", "n": [1e21, 1e-7, 0.1, 100000000000000000000], "10": 1, "2": 2}
    return chained(
        [
            event("session_started", {"tags": []}, timestamp="2026-02-07T10:00:00Z"),
            event("custom", odd, minute=1, metadata={"k": 1.5}, severity="notice"),
            event("tool_call", {"callId": "c"}, minute=2),
        ]
    )


def test_everything_is_imported(
    persistence: Persistence, chain: list[AgentLensEvent], tmp_path: Path
) -> None:
    path = write_database(tmp_path / "lens.db", chain, **ALL)
    report = import_agentlens(path, persistence)
    assert (report.ok, report.events, report.sessions, report.agents) == (True, 3, 1, 1)
    assert dict(report.also) == {"alert rules": 1, "alerts": 1}
    store = EventStore(persistence)
    assert store.get_session_timeline("s") == chain
    assert store.verify_session("s") == VALID
    session, agent = store.get_session("s"), store.get_agent("a")
    assert session is not None
    assert agent is not None
    assert session.to_dict() == {
        "id": "s",
        "agentId": "a",
        "agentName": "Ada",
        "startedAt": "2026-02-07T10:00:00Z",
        "status": "completed",
        "eventCount": 70,
        "toolCallCount": 6,
        "errorCount": 5,
        "totalCostUsd": 0.75,
        "llmCallCount": 0,
        "totalInputTokens": 0,
        "totalOutputTokens": 0,
        "tags": ["x", "y"],
    }
    assert (agent.name, agent.first_seen_at) == ("Ada", "2026-02-01T10:00:00Z")
    assert (agent.last_seen_at, agent.session_count) == ("2026-02-07T10:00:00Z", 1)
    [rule] = store.list_alert_rules()
    assert rule.to_dict() == {
        **rule.to_dict(),
        "enabled": True,
        "scope": {"agentId": "a"},
        "notifyChannels": ["https://example.com/hook"],
        "updatedAt": "2026-02-02T10:00:00.000Z",
    }
    assert store.list_alert_history("r").entries[0].message == "Cost $6.5000 exceeds"
    [stored] = [
        each for each in persistence.get_agent_run_events("s") if each.event_type == "custom"
    ]
    with closing(sqlite3.connect(path)) as original:
        query = "SELECT payload FROM events WHERE event_type = 'custom'"
        assert original.execute(query).fetchone() == (stored.data,)


def test_an_import_is_repeated_when_more_was_written(
    persistence: Persistence, chain: list[AgentLensEvent], tmp_path: Path
) -> None:
    path = write_database(tmp_path / "lens.db", chain[:2], **ALL)
    import_agentlens(path, persistence)
    write_database(path, chain[2:])
    report = import_agentlens(path, persistence)
    assert (report.events, report.skipped) == (1, {"stored before": 3})
    store = EventStore(persistence)
    assert store.verify_session("s") == VALID
    append(store, event("custom", minute=3))
    assert store.verify_session("s") == VALID
    assert import_agentlens(path, persistence).events == 0


def test_a_broken_chain_is_told_and_imported_as_it_is(
    persistence: Persistence, chain: list[AgentLensEvent], tmp_path: Path
) -> None:
    fork = event("custom", session_id="t", prev="0" * 64)
    start = event("custom", session_id="t")
    path = write_database(tmp_path / "lens.db", [*chain, start, fork])
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE events SET payload = '{\"n\":1}' WHERE id = ?", (chain[1].id,))
    report = import_agentlens(path, persistence)
    assert [problem.what for problem in report.problems] == [
        f"event {chain[1].id} of session s: its hash is not that of its content",
        f"event {fork.id} of session t: it does not follow the event before it",
    ]
    assert report.events == 5
    store = EventStore(persistence)
    assert store.verify_session("s").failed_at_index == 1
    assert store.verify_session("t").failed_at_index == 1


def test_a_chain_whose_beginning_was_purged_goes_on(
    persistence: Persistence, chain: list[AgentLensEvent], tmp_path: Path
) -> None:
    path = write_database(tmp_path / "lens.db", chain[1:])
    report = import_agentlens(path, persistence)
    assert (report.ok, report.events) == (True, 2)
    assert report.skipped == {"sessions' beginnings, purged before": 1}
    store = EventStore(persistence)
    assert store.verify_session("s") == VALID
    append(store, event("custom", minute=3))
    assert store.verify_session("s") == VALID
    assert import_agentlens(path, persistence).skipped == {"stored before": 2}


def test_what_cannot_be_stored_is_told_and_the_rest_is_imported(
    persistence: Persistence, chain: list[AgentLensEvent], tmp_path: Path
) -> None:
    bad = {**ALL, "sessions": [SESSION, {**SESSION, "id": "t", "status": "lost"}]}
    bad["alert_rules"] = [{**RULE, "id": "q", "window_minutes": 0}, {**RULE, "scope": "{"}]
    odd = event("custom", session_id="u", timestamp=at(1))
    path = write_database(tmp_path / "lens.db", [*chain, odd], **bad)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE events SET timestamp = 'soon' WHERE id = ?", (odd.id,))
    report = import_agentlens(path, persistence)
    told = [problem.what for problem in report.problems]
    assert [what.partition(":")[0] for what in told] == [
        f"event '{odd.id}'",
        "sessions 't'",
        "alert_rules 'q'",
        "alert_rules 'r'",
    ]
    assert (report.events, report.sessions, dict(report.also)) == (
        3,
        1,
        {"alert rules": 0, "alerts": 1},
    )


def test_a_dry_run_stores_nothing(chain: list[AgentLensEvent], tmp_path: Path) -> None:
    path = write_database(tmp_path / "lens.db", chain, **ALL)
    told: list[int] = []
    report = import_agentlens(path, None, progress=lambda done, total: told.append(done))
    assert (report.dry_run, report.ok, report.events, report.sessions) == (True, True, 3, 1)
    assert told[-1] == 7
    assert [each.name for each in tmp_path.iterdir()] == ["lens.db"]


@pytest.mark.before_io
def test_another_file_is_refused(persistence: Persistence, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        import_agentlens(tmp_path / "missing.db", persistence)
    with pytest.raises(InvalidValueError, match="folder"):
        import_agentlens(tmp_path, persistence)
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE t (x)")
    with pytest.raises(InvalidValueError, match="no table events"):
        import_agentlens(tmp_path / "other.db", persistence)


def test_a_redactor_would_break_the_chains(
    open_again: Open, chain: list[AgentLensEvent], tmp_path: Path
) -> None:
    path = write_database(tmp_path / "lens.db", chain)
    with pytest.raises(InvalidValueError, match="redactor"):
        import_agentlens(path, open_again(redactor="all"))
