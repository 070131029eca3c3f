"""AgentLens' event store: events are appended to chains, and counted in sessions and agents."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from curio_persistence import (
    ConflictError,
    InMemoryPersistence,
    InvalidValueError,
    Persistence,
    UnsupportedError,
    copy_records,
    export_records,
    import_records,
)
from curio_persistence.compat.agentlens import (
    AgentLensEvent,
    ChainVerificationResult,
    EventStore,
    HashChainError,
    compute_event_hash,
    verify_chain,
)
from tests.conformance.conftest import Open
from tests.support.hands import Hands
from tests.support.lens import append, at, chained, event, random_value

VALID = ChainVerificationResult(valid=True)


@pytest.fixture
def lens(persistence: Persistence, clock: Hands) -> EventStore:
    clock.put(datetime(2026, 2, 7, 10, 0, tzinfo=UTC))
    return EventStore(persistence)


# --- inserting ----------------------------------------------------------------------------------


def test_events_come_back_exactly_as_they_were_given(lens: EventStore) -> None:
    odd = {
        "snake_case": {"camelCase": 1},
        "numbers": [1.0, -0.0, 1e21, 2**53 + 1, 0.1],
        "text": "é 😀 \u2028 \0 \ud800",
        "10": "b",
        "2": "a",
        "none": None,
    }
    given = chained(
        [
            event("custom", odd, timestamp="2026-02-07T10:00:00Z", metadata={"Key_a": 1.0}),
            event("custom", [1, {}], timestamp="2026-02-07T12:00:00.5+02:00", severity="warn"),
            event("", "text", timestamp="2026-02-07T10:00:01.123456Z", severity="Notice"),
            event("custom", None, timestamp="2026-02-07", severity="fatal", metadata=None),
        ]
    )
    lens.insert_events(given)
    assert [lens.get_event(each.id) for each in given] == given
    stored = lens.get_event(given[0].id)
    assert stored is not None
    assert json.dumps(stored.payload) == json.dumps(odd)
    assert lens.verify_session("s") == VALID


def test_events_may_be_given_as_mappings(lens: EventStore) -> None:
    first = event()
    lens.insert_events([{**first.to_dict(), "tenantId": "ignored"}])
    second = event(prev=first.hash)
    lens.insert_events([vars(second)])
    assert lens.get_session_timeline("s") == [first, second]


def test_no_events_are_fine(lens: EventStore) -> None:
    lens.insert_events([])
    assert lens.ingest_events([]) == []
    assert lens.get_stats().total_events == 0


def test_an_event_whose_hash_is_not_its_own_is_refused(lens: EventStore) -> None:
    good = event()
    with pytest.raises(HashChainError, match=good.id):
        lens.insert_events([replace(good, agent_id="other")])
    assert lens.get_stats().total_events == lens.get_stats().total_sessions == 0


def test_any_json_comes_back_and_verifies(lens: EventStore) -> None:
    seed = Random().randrange(2**32)
    dice = Random(seed)
    given = chained(
        event("custom", random_value(dice), metadata=random_value(dice)) for _ in range(100)
    )
    lens.insert_events(given)
    assert lens.get_session_timeline("s") == given, f"seed {seed}"
    assert lens.verify_session("s") == VALID, f"seed {seed}"


@pytest.mark.parametrize("prev", ["0" * 64, "", None])
def test_an_event_follows_the_one_that_was_appended_before_it(
    lens: EventStore, prev: str | None
) -> None:
    if prev is None:
        append(lens, event())
    with pytest.raises(HashChainError, match="last event"):
        lens.insert_events([event(prev=prev)])
    assert lens.count_events() == (prev is None)


def test_the_tail_is_the_event_appended_last_whatever_its_time(lens: EventStore) -> None:
    late, early = append(lens, event(minute=5), event(minute=1))
    assert lens.get_last_event_hash("s") == early.hash
    append(lens, event(minute=3))
    assert lens.verify_session("s") == VALID
    assert [each.timestamp for each in lens.get_session_timeline("s")] == [at(1), at(3), at(5)]
    assert late.prev_hash is None


def test_sessions_may_be_mixed_in_one_call(lens: EventStore) -> None:
    one = chained([event(session_id="one"), event(session_id="one")])
    two = chained([event(session_id="two"), event(session_id="two")])
    lens.insert_events([one[0], two[0], two[1], one[1]])
    assert lens.get_last_event_hash("one") == one[1].hash
    assert lens.verify_session("one") == lens.verify_session("two") == VALID


def test_all_events_of_a_call_are_stored_or_none(lens: EventStore) -> None:
    chain = chained([event(session_id="one"), event(session_id="one")])
    with pytest.raises(HashChainError):
        lens.insert_events([*chain, event(session_id="two", prev=chain[0].hash)])
    with pytest.raises(InvalidValueError, match="timestamp"):
        lens.insert_events([*chain, event(session_id="two", timestamp="yesterday")])
    assert lens.query_events().total == lens.query_sessions().total == 0
    assert lens.list_agents() == []
    assert lens.persistence.get_agent_runs() == []


def test_what_is_stored_already_is_skipped_and_changes_nothing(lens: EventStore) -> None:
    chain = append(lens, event("session_started"), event("tool_call", severity="error", minute=2))
    session, agent = lens.get_session("s"), lens.get_agent("a")
    lens.insert_events(chain)
    lens.insert_events([chain[1], chain[0], chain[0]])
    assert (lens.get_session("s"), lens.get_agent("a")) == (session, agent)
    new = chained([event(), event()], chain[-1].hash)
    lens.insert_events([*chain, *new, *new])
    assert lens.count_events() == 4
    assert lens.verify_session("s") == VALID


def test_another_event_with_a_stored_id_is_a_conflict(lens: EventStore) -> None:
    [first] = append(lens, event(id="taken"))
    other = event(id="taken", prev=first.hash)
    with pytest.raises(ConflictError, match="taken"):
        lens.insert_events([other])
    one = event(id="new", session_id="t")
    two = event(id="new", session_id="u")
    with pytest.raises(ConflictError, match="new"):
        lens.insert_events([one, two])
    assert lens.count_events() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""),
        ("id", 5),
        ("session_id", "a\0b"),
        ("agent_id", "x" * 256),
        ("event_type", None),
        ("severity", 1),
        ("timestamp", "soon"),
        ("timestamp", None),
        ("session_id", "\ud800"),
    ],
)
@pytest.mark.before_io
def test_a_value_that_cannot_be_stored_is_refused(lens: EventStore, field: str, value: Any) -> None:
    with pytest.raises(InvalidValueError, match=field if field != "session_id" else "_id"):
        lens.insert_events([event(**{field: value})])


@pytest.mark.before_io
def test_payloads_that_json_lacks_are_stored_as_they_are_hashed(lens: EventStore) -> None:
    [given] = append(
        lens, event("custom", {"n": float("nan"), 1: (1, 2), "d": datetime(2026, 1, 1)})
    )
    stored = lens.get_event(given.id)
    assert stored is not None
    assert stored.payload == {"1": [1, 2], "n": None, "d": "2026-01-01T00:00:00"}
    assert lens.verify_session("s") == VALID


# --- ingesting ----------------------------------------------------------------------------------


def test_ingested_events_are_filled_in_and_chained_by_time(lens: EventStore, clock: Hands) -> None:
    clock.put(datetime(2026, 2, 7, 10, 3, tzinfo=UTC))
    given: list[dict[str, Any]] = [
        {"sessionId": "s", "agentId": "a", "eventType": "custom", "payload": {"n": 3}},
        {"session_id": "s", "agent_id": "a", "event_type": "custom", "timestamp": at(1), "id": "x"},
        {"sessionId": "t", "agentId": "a", "eventType": "custom", "severity": "warn"},
        {"sessionId": "s", "agentId": "a", "eventType": "custom", "timestamp": at(2), "id": None},
    ]
    stored = lens.ingest_events(given)
    assert [each.timestamp for each in stored] == [at(3), at(1), at(3), at(2)]
    assert [each.severity for each in stored] == ["info", "info", "warn", "info"]
    assert stored[1].id == "x"
    assert len({each.id for each in stored}) == 4
    assert stored[1].prev_hash is None
    assert stored[3].prev_hash == stored[1].hash
    assert stored[0].prev_hash == stored[3].hash
    assert verify_chain([stored[1], stored[3], stored[0]]) == VALID
    assert lens.get_event(stored[0].id) == stored[0]
    [more] = lens.ingest_events([{**given[0], "timestamp": at(-5)}])
    assert more.prev_hash == stored[0].hash


def test_ingested_payloads_are_truncated(lens: EventStore) -> None:
    large = {"sessionId": "s", "agentId": "a", "eventType": "e", "payload": {"t": "x" * 20_000}}
    [stored] = lens.ingest_events([large])
    assert stored.payload["data"]["originalSize"] == 20_008
    assert lens.verify_session("s") == VALID


def test_an_ingested_event_that_is_sent_again_is_stored_once(lens: EventStore) -> None:
    given = {"id": "x", "sessionId": "s", "agentId": "a", "eventType": "e", "payload": {"n": 1}}
    [first] = lens.ingest_events([given])
    [again] = lens.ingest_events([given])
    assert again == first
    assert lens.ingest_events([given, given]) == [first, first]
    with pytest.raises(ConflictError, match="x"):
        lens.ingest_events([{**given, "payload": {"n": 2}}])
    assert lens.count_events() == 1


@pytest.mark.before_io
def test_more_than_a_thousand_events_are_not_ingested_at_once(lens: EventStore) -> None:
    given = {"sessionId": "s", "agentId": "a", "eventType": "e"}
    with pytest.raises(ValueError, match=r"1,000 .* not 1,001"):
        lens.ingest_events([given] * 1_001)
    with pytest.raises(InvalidValueError, match="agentId"):
        lens.ingest_events([{"sessionId": "s", "eventType": "e"}])
    with pytest.raises(InvalidValueError, match="id"):
        lens.ingest_events([{**given, "id": ["x"]}])


# --- redaction ----------------------------------------------------------------------------------


def test_words_are_redacted_before_they_are_hashed(open_again: Open) -> None:
    lens = EventStore(open_again(redactor="emails"))
    given = {"sessionId": "s", "agentId": "a", "eventType": "e"}
    [stored] = lens.ingest_events([{**given, "payload": {"to": "ada@example.com", "n": 1.5}}])
    assert stored.payload == {"to": "[redacted:email]", "n": 1.5}
    assert lens.verify_session("s") == VALID
    with pytest.raises(InvalidValueError, match="ingest_events"):
        append(lens, event("e", {"to": "bob@example.com"}))
    append(lens, event("e", {"to": "nobody"}))
    assert lens.verify_session("s") == VALID


def test_words_that_are_hashed_have_to_be_kept(open_again: Open) -> None:
    with pytest.raises(UnsupportedError, match="capture_content"):
        EventStore(open_again(capture_content="metrics-only"))
    with pytest.raises(UnsupportedError, match="Persistence"):
        EventStore("lens.db")  # type: ignore[arg-type]


# --- what is counted ----------------------------------------------------------------------------


def test_events_are_counted_in_their_session(lens: EventStore) -> None:
    append(
        lens,
        event("session_started", {"agentName": "Ada", "tags": ["b", "a"]}, minute=0),
        event("tool_call", {"callId": "1"}, minute=1),
        event("tool_error", {"callId": "1"}, minute=2, severity="error"),
        event("custom", minute=3, severity="critical"),
        event("tool_error", minute=4),
        event("llm_response", {"usage": {"inputTokens": 10, "outputTokens": 5}, "costUsd": 0.1}),
        event("llm_response", {"usage": {"inputTokens": "x"}, "costUsd": None}),
        event("cost_tracked", {"costUsd": 0.2}),
    )
    session = lens.get_session("s")
    assert session is not None
    assert session.to_dict() == {
        "id": "s",
        "agentId": "a",
        "agentName": "Ada",
        "startedAt": at(0),
        "status": "active",
        "eventCount": 8,
        "toolCallCount": 1,
        "errorCount": 3,
        "totalCostUsd": 0.3,
        "llmCallCount": 2,
        "totalInputTokens": 10,
        "totalOutputTokens": 5,
        "tags": ["b", "a"],
    }


@pytest.mark.parametrize(
    ("reason", "status"), [("error", "error"), ("completed", "completed"), (None, "completed")]
)
def test_a_session_ends(lens: EventStore, reason: str | None, status: str) -> None:
    ended = "2026-02-07T10:05:00Z"
    append(lens, event("session_started", minute=1))
    append(lens, event("session_ended", {"reason": reason}, timestamp=ended, severity="error"))
    append(lens, event("custom", minute=6))
    session = lens.get_session("s")
    assert session is not None
    assert (session.status, session.ended_at, session.event_count) == (status, ended, 3)
    assert session.error_count == 1
    append(lens, event("session_started", {"tags": []}, minute=7))
    again = lens.get_session("s")
    assert again is not None
    assert (again.status, again.event_count) == ("active", 4)


def test_the_first_event_makes_the_session_and_its_agent(lens: EventStore) -> None:
    first = "2026-02-07T12:00:00+02:00"
    append(lens, event("custom", {"agentName": "Ada"}, timestamp=first))
    append(lens, event("custom", {"agentName": "Bob"}, minute=-30))
    append(lens, event("custom", minute=5))
    session, agent = lens.get_session("s"), lens.get_agent("a")
    assert session is not None
    assert agent is not None
    assert (session.started_at, session.status, session.agent_name) == (first, "active", None)
    assert agent.to_dict() == {
        "id": "a",
        "name": "Ada",
        "firstSeenAt": at(-30),
        "lastSeenAt": at(5),
        "sessionCount": 1,
    }
    append(lens, event("session_started", {"agentName": "Eve"}, session_id="t", minute=6))
    named = lens.get_agent("a")
    assert named is not None
    assert (named.name, named.session_count) == ("Ada", 2)
    append(lens, event(session_id="u", agent_id="b"))
    other = lens.get_agent("b")
    assert other is not None
    assert other.name == "b"


def test_one_cost_is_counted_for_each_call(lens: EventStore) -> None:
    def cost(session: str = "s") -> float:
        found = lens.get_session(session)
        assert found is not None
        return found.total_cost_usd

    append(lens, event("cost_tracked", {"costUsd": 1, "callId": "1"}))
    append(lens, event("cost_tracked", {"costUsd": 2, "callId": "2"}))
    assert cost() == 3
    append(lens, event("llm_response", {"costUsd": 1.5, "callId": "1"}))
    assert cost() == 3.5
    append(
        lens,
        event("cost_tracked", {"costUsd": 1, "callId": "1"}),
        event("cost_tracked", {"costUsd": 4}),
    )
    assert cost() == 7.5
    append(
        lens,
        event("llm_response", {"costUsd": 8, "callId": "x" * 300}),
        event("cost_tracked", {"costUsd": 8, "callId": "x" * 300}),
        event("cost_tracked", {"costUsd": "bad", "callId": 5}),
    )
    assert cost() == 15.5
    append(lens, event("cost_tracked", {"costUsd": 1, "callId": "1"}, session_id="t"))
    assert cost("t") == 1


# --- sessions and agents as they are described --------------------------------------------------


def test_a_session_can_be_described(lens: EventStore, clock: Hands) -> None:
    lens.upsert_session({"id": "s"})
    new = lens.get_session("s")
    assert new is not None
    assert new.to_dict() == {
        "id": "s",
        "agentId": "",
        "startedAt": at(0),
        "status": "active",
        **dict.fromkeys(("eventCount", "toolCallCount", "errorCount", "totalCostUsd"), 0),
        **dict.fromkeys(("llmCallCount", "totalInputTokens", "totalOutputTokens"), 0),
        "tags": [],
    }
    lens.upsert_session({"id": "s", "agentId": "a", "eventCount": 5, "total_cost_usd": 0.25})
    lens.upsert_session({"id": "s", "status": "completed", "endedAt": "2026-02-07T11:00:00Z"})
    lens.upsert_session({"id": "s", "tags": ["x"], "startedAt": "2026-02-07T09:00:00Z"})
    changed = lens.get_session("s")
    assert changed is not None
    assert changed.to_dict() == {
        **new.to_dict(),
        "agentId": "a",
        "eventCount": 5,
        "totalCostUsd": 0.25,
        "status": "completed",
        "endedAt": "2026-02-07T11:00:00Z",
        "tags": ["x"],
        "startedAt": "2026-02-07T09:00:00Z",
    }
    append(lens, event("tool_call"))
    counted = lens.get_session("s")
    assert counted is not None
    assert (counted.event_count, counted.tool_call_count, counted.agent_id) == (6, 1, "a")
    lens.upsert_session(changed)
    assert lens.get_session("s") == changed


def test_an_agent_can_be_described(lens: EventStore) -> None:
    lens.upsert_agent({"id": "a"})
    new = lens.get_agent("a")
    assert new is not None
    expected = {
        "id": "a",
        "name": "a",
        "firstSeenAt": at(0),
        "lastSeenAt": at(0),
        "sessionCount": 0,
    }
    assert new.to_dict() == expected
    lens.upsert_agent({"id": "a", "name": "Ada", "description": "counts"})
    lens.upsert_agent({"id": "a", "lastSeenAt": "2026-02-08T00:00:00Z"})
    append(lens, event("custom", {"agentName": "Bob"}))
    changed = lens.get_agent("a")
    assert changed is not None
    assert changed.to_dict() == {
        **expected,
        "name": "Ada",
        "description": "counts",
        "lastSeenAt": "2026-02-08T00:00:00Z",
        "sessionCount": 1,
    }


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "Session.id"),
        ({"id": ""}, "Session.id"),
        ({"id": "s", "status": "paused"}, "Session.status"),
        ({"id": "s", "eventCount": -1}, "Session.event_count"),
        ({"id": "s", "eventCount": 1.5}, "Session.event_count"),
        ({"id": "s", "totalCostUsd": "much"}, "Session.total_cost_usd"),
        ({"id": "s", "startedAt": "soon"}, "Session.started_at"),
        ({"id": "s", "tags": "one"}, "Session.tags"),
    ],
)
@pytest.mark.before_io
def test_a_session_is_not_described_by_what_it_cannot_have(
    lens: EventStore, fields: dict[str, Any], name: str
) -> None:
    with pytest.raises(InvalidValueError, match=name):
        lens.upsert_session(fields)
    assert lens.query_sessions().total == 0


# --- in our tables ------------------------------------------------------------------------------


def test_a_session_is_a_run_and_a_session_of_ours(lens: EventStore) -> None:
    persistence = lens.persistence
    append(lens, event("session_started", {"agentName": "Ada"}), event("tool_call", {"q": "moon"}))
    run = persistence.get_agent_run("s")
    assert run is not None
    assert (run.agent_id, run.session_id, run.status, run.agent_name) == (
        "a",
        "s",
        "running",
        "Ada",
    )
    append(lens, event("session_ended", {"reason": "error"}, minute=5, severity="error"))
    run = persistence.get_agent_run("s")
    assert run is not None
    assert (run.status, run.finished_at) == ("error", datetime(2026, 2, 7, 10, 5, tzinfo=UTC))
    events = persistence.get_agent_run_events("s")
    assert [each.event_type for each in events] == ["session_started", "tool_call", "session_ended"]
    assert [each.level for each in events] == ["info", "info", "error"]
    assert events[1].data == '{"q":"moon"}'
    session = persistence.sessions.get("s")
    assert session is not None
    assert (session.status, session.events, session.agent_name) == ("error", 3, "Ada")
    if persistence.search.enabled:
        assert [hit.record.run_id for hit in persistence.search_text("moon")] == ["s"]


def test_the_rows_of_others_are_not_theirs(lens: EventStore) -> None:
    with lens.persistence.record_run(agent_id="ours", run_id="r", session_id="z") as run:
        run.log("tool_call", {"tool_name": "t"})
    assert lens.query_events().total == 0
    assert lens.query_sessions().total == 0
    assert lens.list_agents() == []
    append(lens, event(agent_id="ours"))
    assert [agent.id for agent in lens.list_agents()] == ["ours"]


def test_a_copy_verifies_and_is_appended_to(lens: EventStore) -> None:
    append(lens, event("session_started", {"tags": ["t"]}), event("tool_call", minute=1))
    with InMemoryPersistence(clock=lens.persistence.clock) as there:
        copy_records(lens.persistence, there)
        copy = EventStore(there)
        assert copy.get_session("s") == lens.get_session("s")
        assert copy.get_session_timeline("s") == lens.get_session_timeline("s")
        assert copy.verify_session("s") == VALID
        append(copy, event("tool_call", minute=2))
        assert copy.verify_session("s") == VALID


def test_an_export_keeps_chains_sessions_and_agents(lens: EventStore, tmp_path: Path) -> None:
    append(lens, event("session_started", {"agentName": "Ada"}), event("tool_call", minute=1))
    export_records(lens.persistence, tmp_path / "lens.jsonl")
    with InMemoryPersistence(clock=lens.persistence.clock) as there:
        import_records(tmp_path / "lens.jsonl", there)
        copy = EventStore(there)
        assert (copy.get_session("s"), copy.get_agent("a")) == (
            lens.get_session("s"),
            lens.get_agent("a"),
        )
        assert copy.verify_session("s") == VALID
        append(copy, event("tool_call", minute=2))
        assert copy.verify_session("s") == VALID


def test_an_event_is_a_value() -> None:
    first = event()
    assert AgentLensEvent.from_dict(first.to_dict()) == first
    assert compute_event_hash(first) == first.hash
