"""AgentLens' event store: queries, chains as they are stored, analytics and purges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from curio_persistence import InvalidValueError, Persistence
from curio_persistence.compat.agentlens import (
    ChainVerificationResult,
    EventStore,
    HashChainError,
    RetentionResult,
)
from curio_persistence.store.filters import Filter
from curio_persistence.tables import CHAIN_HEADS, EVENTS, SESSIONS
from tests.support.hands import Hands
from tests.support.lens import append, at, chained, event

pytestmark = pytest.mark.slow  # Not in the inner loop.

VALID = ChainVerificationResult(valid=True)


@pytest.fixture
def lens(persistence: Persistence, clock: Hands) -> EventStore:
    clock.put(datetime(2026, 2, 7, 10, 0, tzinfo=UTC))
    return EventStore(persistence)


def found(lens: EventStore, **filters: Any) -> list[Any]:
    """Return the payloads of the events that a query finds."""
    return [each.payload for each in lens.query_events(filters).events]


# --- events -------------------------------------------------------------------------------------


def test_events_are_filtered(lens: EventStore) -> None:
    append(
        lens,
        event("custom", 1, minute=1, agent_id="a"),
        event("tool_call", 2, minute=2, agent_id="b", severity="warn"),
        event("custom", 3, minute=3, session_id="t", severity="notice"),
        event("custom", 4, minute=4, session_id="t", metadata={"source": "otlp_metric"}),
        event("custom", 5, minute=5, session_id="u", severity="warning"),
    )
    assert found(lens) == [5, 4, 3, 2, 1]
    assert found(lens, sessionId="t") == found(lens, session_id="t") == [4, 3]
    assert found(lens, agentId=["b", "z"]) == [2]
    assert found(lens, eventType="custom") == [5, 4, 3, 1]
    assert found(lens, eventType=["tool_call"], severity="warn") == [2]
    assert found(lens, severity=["warn", "notice"]) == [3, 2]
    assert found(lens, severity="warning") == [5]
    assert found(lens, severity="info") == [4, 1]
    assert found(lens, excludeMetrics=True, order="asc") == [1, 2, 3, 5]
    assert found(lens, **{"from": at(2), "to": at(4)}) == [4, 3, 2]
    assert found(lens, from_="2026-02-07T12:05:00+02:00") == [5]
    assert lens.count_events(session_id="t") == 2
    assert lens.count_events({"to": "2026-02-07T10:01:00Z"}, session_id="s") == 1
    assert lens.query_events(session_id="u", order="asc").events[0].payload == 5
    assert found(lens, session_id="") == [5, 4, 3, 2, 1]


def test_a_part_of_the_payload_is_found(lens: EventStore) -> None:
    append(
        lens,
        event("custom", {"text": "100% of É_x"}),
        event("custom", {"text": 'a\\b "O\'Neil"'}),
        event("custom", {"k": 1.5, "deep": {"toolName": "Web"}}),
    )
    third = {"k": 1.5, "deep": {"toolName": "Web"}}
    assert found(lens, search="0%") == found(lens, search="É_X") == [{"text": "100% of É_x"}]
    assert found(lens, search="é") == found(lens, search="_of") == []
    assert found(lens, search='"TOOLNAME":"web"') == found(lens, search='{"k":1.5,') == [third]
    assert found(lens, search="o'neil") == found(lens, search="a\\\\b") != []
    assert lens.count_events(search="") == 3
    assert lens.count_events(search="x" * 500 + "y") == 0
    append(lens, event("custom", "x" * 500))
    assert lens.count_events(search="x" * 500 + "y") == 1


def test_pages_never_overlap_and_ties_keep_their_order(lens: EventStore) -> None:
    append(lens, *(event("custom", n, minute=n // 10) for n in range(60)))
    page = lens.query_events()
    assert (len(page.events), page.total, page.has_more) == (50, 60, True)
    pages = [lens.query_events(limit=7, offset=offset).events for offset in range(0, 60, 7)]
    assert [each.payload for some in pages for each in some] == list(range(59, -1, -1))
    assert found(lens, limit=20, order="asc") == list(range(20))
    last = lens.query_events(limit=10, offset=50)
    assert (len(last.events), last.has_more) == (10, False)
    assert lens.query_events(limit=0).to_dict() == {"events": [], "total": 60, "hasMore": True}
    times = ("10:00:00Z", "10:00:00.000Z", "12:00:00+02:00")
    append(
        lens,
        *(event("tie", time, session_id="t", timestamp=f"2026-03-07T{time}") for time in times),
    )
    assert found(lens, session_id="t", order="asc") == list(times)
    assert found(lens, session_id="t") == list(times)[::-1]
    assert [each.payload for each in lens.get_session_timeline("t")] == list(times)


def test_no_more_than_500_events_come_at_once(lens: EventStore) -> None:
    lens.ingest_events(
        [{"sessionId": "s", "agentId": "a", "eventType": "e", "payload": n} for n in range(510)]
    )
    page = lens.query_events(limit=1_000)
    assert (len(page.events), page.total, page.has_more) == (500, 510, True)


@pytest.mark.parametrize(
    "filters",
    [
        {"limit": -1},
        {"offset": -1},
        {"limit": "x"},
        {"from": "soon"},
        {"order": "up"},
        {"search": 1},
    ],
)
@pytest.mark.before_io
def test_a_filter_that_means_nothing_is_refused(lens: EventStore, filters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(filters))):
        lens.query_events(filters)
    with pytest.raises(TypeError, match="sessions"):
        lens.query_events(sessions="s")


def test_what_is_unknown_is_none_or_empty(lens: EventStore) -> None:
    assert lens.get_event("x") is lens.get_session("x") is lens.get_agent("x") is None
    assert lens.get_session_timeline("x") == lens.list_agents() == []
    assert lens.get_last_event_hash("x") is None
    assert lens.verify_session("x") == VALID
    assert lens.sum_session_cost("x", at(0)) == 0


def test_events_are_counted_by_severity(lens: EventStore) -> None:
    append(
        lens,
        event("custom", severity="error", minute=1),
        event("tool_error", severity="critical", minute=2),
        event("tool_error", minute=3),
        event("custom", severity="fatal", minute=4),
        event("custom", severity="error", minute=5),
        event("custom", severity="error", agent_id="b", minute=2),
    )
    counts = lens.count_events_batch("a", at(1), at(4))
    assert counts.to_dict() == {"total": 4, "error": 1, "critical": 1, "toolError": 2}


# --- sessions and agents ------------------------------------------------------------------------


def test_sessions_are_filtered(lens: EventStore, clock: Hands) -> None:
    for n, (name, agent, tags) in enumerate(
        [("s1", "a", ["x"]), ("s2", "a", ["x y", "z"]), ("s3", "b", [])]
    ):
        append(
            lens,
            event("session_started", {"tags": tags}, session_id=name, agent_id=agent, minute=n),
            event("cost_tracked", {"costUsd": n + 0.5}, session_id=name, agent_id=agent, minute=n),
        )

    def ids(**filters: Any) -> list[str]:
        return [session.id for session in lens.query_sessions(filters).sessions]

    clock.put(datetime(2026, 2, 7, 10, 10, tzinfo=UTC))
    assert ids() == ["s3", "s2", "s1"]
    assert ids(agentId="a") == ["s2", "s1"]
    assert ids(tags=["x", "other"]) == ["s1"]
    assert ids(tags="z") == ["s2"]
    assert ids(**{"from": at(1), "to": at(1)}) == ["s2"]
    assert ids(limit=1, offset=1) == ["s2"]
    page = lens.query_sessions(limit=2)
    assert (page.total, page.has_more) == (3, True)
    assert lens.sum_session_cost("a", at(0)) == 2.0
    assert lens.sum_session_cost("a", at(1)) == 1.5
    append(lens, event("session_ended", session_id="s1", minute=3))
    append(lens, event("session_ended", {"reason": "error"}, session_id="s2", minute=3))
    assert ids(status="completed") == ["s1"]
    assert ids(status=["error", "active"]) == ["s3", "s2"]
    assert [agent.id for agent in lens.list_agents()] == ["a", "b"]


def test_a_session_without_events_for_a_while_is_idle(
    lens: EventStore, clock: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_status(*status: str) -> list[str]:
        return [each.id for each in lens.query_sessions(status=list(status)).sessions]

    append(lens, event(minute=0), event(session_id="t", minute=5))
    append(lens, event(session_id="u"), event("session_ended", session_id="u"))
    clock.put(datetime(2026, 2, 7, 10, 30, tzinfo=UTC))
    assert with_status("active") == ["t", "s"]
    clock.put(datetime(2026, 2, 7, 10, 31, tzinfo=UTC))
    session = lens.get_session("s")
    assert session is not None
    assert session.status == "idle"
    assert with_status("idle") == ["s"]
    assert with_status("active") == ["t"]
    assert with_status("idle", "completed") == ["u", "s"]
    assert with_status("idle", "active") == ["t", "s"]
    monkeypatch.setenv("AGENTLENS_SESSION_IDLE_MINUTES", "60")
    assert with_status("active") == ["t", "s"]
    monkeypatch.delenv("AGENTLENS_SESSION_IDLE_MINUTES")
    append(lens, event(minute=20))
    assert with_status("active") == ["t", "s"]
    lens.upsert_session({"id": "v", "startedAt": at(-60)})
    assert with_status("idle") == ["v"]


def test_statistics_say_how_much_there_is(lens: EventStore) -> None:
    empty = lens.get_stats()
    assert (empty.total_events, empty.oldest_event, empty.newest_event) == (0, None, None)
    append(lens, event(minute=5), event(timestamp="2026-02-07T10:00:00Z"), event(session_id="t"))
    stats = lens.get_stats()
    assert (stats.total_events, stats.total_sessions, stats.total_agents) == (3, 2, 1)
    assert (stats.oldest_event, stats.newest_event) == ("2026-02-07T10:00:00Z", at(5))
    assert stats.storage_size_bytes > 0


# --- chains as they are stored ------------------------------------------------------------------


def _links(lens: EventStore) -> list[tuple[int, int]]:
    """Return the ids and positions of the stored events, in order."""
    return sorted(lens._store.select_columns(EVENTS, ("chain_position", "id")))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("data", '{"n":9}'),
        ("agent_id", "other"),
        ("event_type", "other"),
        ("level", "error"),
        ("timestamp", "2026-02-07T11:00:00.000000+00:00"),
        ("metadata", '{"agentlens":{"metadata":{"x":1}}}'),
        ("metadata", "{"),
        ("metadata", None),
        ("data", None),
        ("event_id", "other"),
        ("hash", "0" * 64),
        ("prev_hash", None),
    ],
)
def test_an_edited_event_is_found(lens: EventStore, column: str, value: Any) -> None:
    append(lens, *(event("custom", {"n": n}, metadata={"m": n}, minute=n) for n in range(4)))
    assert lens.verify_session("s") == VALID
    ident = _links(lens)[2][1]
    lens._store.update(EVENTS, (Filter("id", "=", ident),), {column: value})
    found = lens.verify_session("s")
    assert (found.valid, found.failed_at_index) == (False, 2)


@pytest.mark.parametrize("position", [0, 1, 3])
def test_a_removed_event_is_found(lens: EventStore, position: int) -> None:
    append(lens, *(event(minute=n) for n in range(4)))
    lens._store.delete(EVENTS, (Filter("id", "=", _links(lens)[position][1]),))
    found = lens.verify_session("s")
    assert (found.valid, found.failed_at_index) == (False, position)


def test_an_event_that_was_moved_is_found(lens: EventStore) -> None:
    append(lens, *(event(minute=n) for n in range(4)))
    ids = [ident for _, ident in _links(lens)]
    for ident, position in (ids[1], 99), (ids[2], 2), (ids[1], 3):
        lens._store.update(EVENTS, (Filter("id", "=", ident),), {"chain_position": position})
    found = lens.verify_session("s")
    assert (found.valid, found.failed_at_index) == (False, 1)


# --- analytics ----------------------------------------------------------------------------------


def test_events_are_added_up_by_time(lens: EventStore) -> None:
    append(
        lens,
        event("tool_call", {"callId": "1"}, minute=0),
        event("tool_response", {"durationMs": 100}, minute=1),
        event("tool_response", {"durationMs": 25.5}, minute=59),
        event("tool_response", {"durationMs": "x"}, minute=59),
        event("tool_error", minute=60, severity="error", session_id="t"),
        event("llm_response", {"costUsd": 0.1, "callId": "c"}, minute=61),
        event("cost_tracked", {"costUsd": 0.1, "callId": "c"}, minute=130),
        event("cost_tracked", {"costUsd": 0.2}, minute=130, agent_id="b", session_id="t"),
        event("custom", minute=130, metadata={"source": "otlp_metric"}),
    )
    day = ("2026-02-07T10:00:00Z", "2026-02-07T12:10:00Z")
    result = lens.get_analytics(*day, "hour")
    assert [bucket.to_dict() for bucket in result.buckets] == [
        {
            "timestamp": "2026-02-07T10:00:00Z",
            "eventCount": 4,
            "toolCallCount": 1,
            "errorCount": 0,
            "avgLatencyMs": 62.75,
            "totalCostUsd": 0,
            "uniqueSessions": 1,
        },
        {
            "timestamp": "2026-02-07T11:00:00Z",
            "eventCount": 2,
            "toolCallCount": 0,
            "errorCount": 1,
            "avgLatencyMs": 0,
            "totalCostUsd": 0.1,
            "uniqueSessions": 2,
        },
        {
            "timestamp": "2026-02-07T12:00:00Z",
            "eventCount": 3,
            "toolCallCount": 0,
            "errorCount": 0,
            "avgLatencyMs": 0,
            "totalCostUsd": 0.2,
            "uniqueSessions": 2,
        },
    ]
    assert result.totals.to_dict() == {
        "eventCount": 9,
        "toolCallCount": 1,
        "errorCount": 1,
        "avgLatencyMs": 62.75,
        "totalCostUsd": 0.3,
        "uniqueSessions": 2,
        "uniqueAgents": 2,
    }
    sessions = [lens.get_session(name) for name in ("s", "t")]
    assert sum(each.total_cost_usd for each in sessions if each) == pytest.approx(0.3)
    asked = {"from": day[0], "to": day[1], "granularity": "hour", "excludeMetrics": True}
    assert lens.get_analytics(asked).totals.event_count == 8
    assert lens.get_analytics(*day, "day", agent_id="b").totals.unique_agents == 1
    assert lens.get_analytics(*day, "day").buckets[0].timestamp == "2026-02-07T00:00:00Z"
    assert lens.get_analytics(*day, "week").buckets[0].timestamp == "2026-02-02T00:00:00Z"
    # The response of a call counts it, also where it is outside of the window.
    late = lens.get_analytics("2026-02-07T12:00:00Z", day[1], "hour")
    assert late.totals.total_cost_usd == 0.2


def test_nothing_is_added_up_where_nothing_is(lens: EventStore) -> None:
    result = lens.get_analytics(at(0), at(5), "hour")
    assert result.buckets == []
    assert set(result.totals.to_dict().values()) == {0}
    for arguments in (at(0), at(5), "minute"), (at(0), None, "hour"), (None, at(0), "hour"):
        with pytest.raises(InvalidValueError):
            lens.get_analytics(*arguments)


# --- retention ----------------------------------------------------------------------------------


def _ages(lens: EventStore, *days: float, session: str = "s") -> list[Any]:
    """Append events that are so many days old."""
    now = datetime(2026, 2, 7, 10, tzinfo=UTC)
    times = [(now - timedelta(days=each)).isoformat() for each in days]
    return append(lens, *(event(session_id=session, timestamp=time) for time in times))


def test_the_beginning_of_a_session_is_purged_as_far_as_it_is_old(lens: EventStore) -> None:
    kept = _ages(lens, 100, 95, 10, 99, 1)[2:]
    counters = lens.get_session("s")
    assert lens.apply_retention() == RetentionResult(2, 0, 0)
    assert lens.get_session("s") == counters
    assert {each.id for each in lens.get_session_timeline("s")} == {each.id for each in kept}
    assert lens.verify_session("s") == VALID
    assert lens.apply_retention() == RetentionResult(0, 0, 0)
    append(lens, event())
    with pytest.raises(HashChainError):
        lens.insert_events([event()])
    assert lens.verify_session("s") == VALID
    assert lens.apply_retention(5) == RetentionResult(2, 0, 0)
    assert lens.verify_session("s") == VALID
    assert lens.count_events() == 2
    assert lens.get_agent("a") is not None


def test_a_session_goes_with_its_last_event(lens: EventStore) -> None:
    _ages(lens, 100, 95)
    _ages(lens, 100, session="t")
    _ages(lens, 1, session="u")
    lens.upsert_session({"id": "empty", "startedAt": "2020-01-01T00:00:00Z"})
    lens.create_alert_rule(
        {"id": "r", "name": "R", "condition": "cost_exceeds", "threshold": 1, "windowMinutes": 5}
    )
    assert lens.apply_retention(max_age_days=90) == RetentionResult(3, 2, 0)
    assert [each.id for each in lens.query_sessions().sessions] == ["u", "empty"]
    assert lens.persistence.get_agent_run("s") is None
    assert [agent.session_count for agent in lens.list_agents()] == [1]
    assert len(lens.list_alert_rules()) == 1
    assert lens.get_last_event_hash("s") is None
    append(lens, event())
    assert lens.verify_session("s") == VALID


def test_a_beginning_that_does_not_verify_is_left(lens: EventStore) -> None:
    _ages(lens, 100, 99, 98)
    _ages(lens, 100, 1, session="t")
    first = _links(lens)[0][1]
    where = (Filter("run_id", "=", "s"), Filter("chain_position", "=", 2))
    lens._store.update(EVENTS, where, {"data": '{"n":9}'})
    assert first
    assert lens.apply_retention() == RetentionResult(1, 0, 1)
    assert len(lens.get_session_timeline("s")) == 3
    assert lens.apply_retention(older_than="2026-01-01T00:00:00Z").skipped_sessions == 1


def test_a_time_is_given_instead_of_days(lens: EventStore, clock: Hands) -> None:
    first, second, third = _ages(lens, 3, 2, 1)
    assert lens.apply_retention(older_than=first.timestamp).deleted_count == 1
    assert lens.apply_retention(older_than=clock() - timedelta(days=1.5)).deleted_count == 1
    assert lens.get_session_timeline("s") == [third]
    assert second.id != third.id


def test_each_purge_is_one_line_of_the_audit_log(lens: EventStore) -> None:
    _ages(lens, 100, 1)
    _ages(lens, 100, session="t")
    lens.apply_retention()
    [line] = [each for each in lens.persistence.audit.query() if each.action == "purge"]
    assert line.get_metadata_dict()["events"] == 2
    lens.apply_retention()
    assert len([each for each in lens.persistence.audit.query() if each.action == "purge"]) == 1
    assert lens.persistence.audit.verify().ok


@pytest.mark.parametrize("days", [-1, float("nan"), "90", None, True, -0.5])
def test_an_age_that_is_none_is_refused(lens: EventStore, days: Any) -> None:
    _ages(lens, 100)
    with pytest.raises(ValueError, match="max_age_days"):
        lens.apply_retention(days)
    assert lens.apply_retention(0) == lens.apply_retention(1e9) == RetentionResult()
    assert lens.count_events() == 1


def test_heads_and_sessions_that_are_gone_leave_nothing(lens: EventStore) -> None:
    _ages(lens, 100)
    lens.apply_retention()
    for table in CHAIN_HEADS, SESSIONS, EVENTS:
        where = (Filter("kind", "=", "events"),) if table is CHAIN_HEADS else ()
        assert lens._store.count(table, where) == 0


def test_a_chain_goes_on_from_the_hash_that_was_kept(lens: EventStore) -> None:
    old, new = _ages(lens, 100, 1)
    lens.apply_retention()
    assert lens.get_last_event_hash("s") == new.hash
    lens.insert_events(chained([event(), event()], new.hash))
    assert lens.verify_session("s") == VALID
    assert lens.get_event(old.id) is None
