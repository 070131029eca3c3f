"""The audit log: who did what, written by the library in the transaction of the deed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AgentRun,
    AuditEntry,
    ConfigurationError,
    CorruptDatabaseError,
    InvalidValueError,
    Persistence,
    RetentionPolicy,
    export_records,
)
from curio_persistence.store.filters import Filter
from curio_persistence.tables import AUDIT_LOG
from tests.support.hands import Hands

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = "a key of the auditors"


def actions(persistence: Persistence) -> list[tuple[str, str, str]]:
    entries = persistence.audit.iterate(order="oldest")
    return [(entry.action, entry.resource_type, entry.resource) for entry in entries]


def test_a_line_round_trips(persistence: Persistence) -> None:
    entry = persistence.audit.log(
        "look",
        "report \0 7",
        resource_type="report",
        actor_id="ada",
        actor_type="person",
        agent_id="planner",
        run_id="run",
        metadata={"why": "asked"},
        timestamp=NOON,
    )
    assert list(persistence.audit.query()) == [entry]
    assert entry.get_metadata_dict() == {"why": "asked"}
    assert (entry.timestamp, entry.chain_position, entry.prev_hash) == (NOON, 1, None)
    assert AuditEntry.from_dict(entry.to_dict()) == entry


def test_lines_are_found_by_action_resource_actor_agent_run_and_time(
    persistence: Persistence, clock: Hands
) -> None:
    for number in range(3):
        persistence.audit.log(f"a{number}", f"r{number}", actor_id=f"u{number}", run_id="run")
        clock.move(hours=1)
    audit = persistence.audit
    filters: list[dict[str, Any]] = [
        {"action": "a1"},
        {"action": ["a1", "none"]},
        {"resource": "r1"},
        {"actor_id": "u1"},
        {"since": "150m", "until": "90m"},
    ]
    for each in filters:
        assert [entry.action for entry in audit.query(**each)] == ["a1"], each
        assert audit.count(**each) == 1
    assert [entry.action for entry in audit.query(run_id="run")] == ["a2", "a1", "a0"]
    assert audit.count(agent_id="other") == 0
    first = audit.query(limit=2)
    assert [e.action for e in audit.query(limit=2, cursor=first.next_cursor)] == ["a0"]


def test_events_are_dictionaries_with_their_published_names(persistence: Persistence) -> None:
    event = {
        "action": "tool_call",
        "agent_id": "planner",
        "run_id": "run",
        "actor_type": "agent",
        "actor_id": "planner-1",
        "resource": "search",
        "resource_type": "tool",
        "metadata": {"query": "kites"},
        "timestamp": "2026-11-20T12:00:00+00:00",
        "prev_hash": "ignored",
        "hash": "ignored",
    }
    persistence.log_audit_event(event)
    persistence.log_audit_event({"action": "other"})
    [stored] = persistence.get_audit_events(run_id="run")
    given = {name: value for name, value in event.items() if "hash" not in name}
    assert {name: stored[name] for name in given} == given
    assert stored.keys() == event.keys() | {"created_at"}
    assert stored["hash"] != "ignored"
    assert [e["action"] for e in persistence.get_audit_events(agent_id="planner")] == ["tool_call"]
    assert [e["action"] for e in persistence.get_audit_events(limit=1)] == ["other"]
    assert persistence.get_audit_events()[0]["prev_hash"] == stored["hash"]


@pytest.mark.before_io
@pytest.mark.parametrize(
    "event", [None, [], {}, {"action": ""}, {"action": "a", "who": 1}, {"action": "a" * 256}]
)
def test_events_without_an_action_or_with_unknown_keys_are_refused(
    persistence: Persistence, event: Any
) -> None:
    with pytest.raises(InvalidValueError):
        persistence.log_audit_event(event)
    assert persistence.audit.count() == 0


@pytest.mark.before_io
def test_a_time_that_is_none_is_refused(persistence: Persistence) -> None:
    with pytest.raises(InvalidValueError, match="timestamp is a datetime or ISO 8601 text"):
        persistence.log_audit_event({"action": "a", "timestamp": "yesterday"})


def test_the_library_tells_of_deletions_and_of_changes_of_rules(persistence: Persistence) -> None:
    for name in ("one", "two"):
        persistence.create_agent_run(AgentRun("planner", name))
    persistence.scores.set("two", "helpful", 1)
    persistence.delete_agent_run("one")
    persistence.delete_agent_run("unknown")
    persistence.scores.delete("two", "helpful")
    persistence.lifecycle.set_policy(RetentionPolicy("drafts", keep="1d"))
    persistence.lifecycle.remove_policy("drafts")
    persistence.lifecycle.hold("case", run_id="two")
    persistence.lifecycle.release("case")
    persistence.lifecycle.release("case")
    assert actions(persistence) == [
        ("delete", "run", "one"),
        ("delete", "score", "helpful"),
        ("set policy", "policy", "drafts"),
        ("remove policy", "policy", "drafts"),
        ("hold", "hold", "case"),
        ("release", "hold", "case"),
    ]
    assert [entry.run_id for entry in persistence.audit.query(run_id="one")] == ["one"]
    assert persistence.audit.verify().ok


def test_a_deed_that_is_rolled_back_leaves_no_line_and_no_gap(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("planner", "run"))
    persistence.audit.log("before")
    with pytest.raises(ZeroDivisionError):  # noqa: PT012, SIM117
        with persistence.transaction():
            persistence.delete_agent_run("run")
            raise ZeroDivisionError
    persistence.audit.log("after")
    assert [action for action, _, _ in actions(persistence)] == ["before", "after"]
    assert [e.chain_position for e in persistence.audit.iterate(order="oldest")] == [1, 2]
    assert persistence.audit.verify().ok


def test_lines_of_deeds_in_a_transaction_come_at_its_end(persistence: Persistence) -> None:
    for name in ("one", "two", "three"):
        persistence.create_agent_run(AgentRun("planner", name))
    with persistence.transaction():
        persistence.delete_agent_run("one")
        with pytest.raises(ZeroDivisionError):  # noqa: PT012, SIM117
            with persistence.transaction():
                persistence.delete_agent_run("two")
                raise ZeroDivisionError
        persistence.delete_agent_run("three")
        persistence.audit.log("own")
        assert [action for action, _, _ in actions(persistence)] == ["own"]
    told = [(entry.action, entry.resource) for entry in in_chain_order(persistence)]
    assert told == [("own", ""), ("delete", "one"), ("delete", "three")]
    assert persistence.audit.verify().ok


def in_chain_order(persistence: Persistence) -> list[AuditEntry]:
    return sorted(persistence.audit.iterate(), key=lambda entry: entry.chain_position or 0)


def test_lines_name_the_process_or_who_acts(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("planner", "run"))
    with persistence.audit.acting_as("ada", "person"):
        persistence.delete_agent_run("run")
        persistence.audit.log("look")
    persistence.audit.log("look")
    last, look, delete = persistence.audit.query()
    assert (
        (delete.actor_id, delete.actor_type)
        == (look.actor_id, look.actor_type)
        == (
            "ada",
            "person",
        )
    )
    assert "@" in last.actor_id
    assert last.actor_type == "user"


def test_a_clock_that_runs_back_does_not_change_the_order_of_the_chain(
    persistence: Persistence, clock: Hands
) -> None:
    for number in range(4):
        persistence.audit.log(f"a{number}")
        clock.move(hours=-1)
    assert [entry.action for entry in persistence.audit.query()] == ["a0", "a1", "a2", "a3"]
    by_position = {e.chain_position: e.action for e in persistence.audit.query()}
    assert by_position == {1: "a0", 2: "a1", 3: "a2", 4: "a3"}
    assert persistence.audit.verify().ok


def test_old_lines_expire_and_the_rest_verifies_on(persistence: Persistence, clock: Hands) -> None:
    for number in range(4):
        persistence.audit.log(f"a{number}")
        clock.move(days=1)
    head = persistence.audit.verify().head
    assert persistence.audit.expire("60h") == 2
    assert [action for action, _, _ in actions(persistence)] == ["a2", "a3", "expire"]
    assert persistence.audit.verify(known_head=head).ok
    assert persistence.audit.expire("60h") == 0
    clock.move(days=9)
    assert persistence.audit.expire(timedelta(days=1)) == 3
    report = persistence.audit.verify()
    assert (report.ok, report.links) == (True, 1)
    persistence.audit.log("later")
    assert persistence.audit.verify().links == 2


def test_a_broken_log_neither_expires_nor_is_signed(open_again: Any, clock: Hands) -> None:
    persistence = open_again(audit_key=KEY)
    persistence.audit.log("a")
    persistence.audit.log("b")
    persistence._store.update(AUDIT_LOG, (Filter("action", "=", "a"),), {"action": "z"})
    clock.move(days=1)
    with pytest.raises(CorruptDatabaseError, match=r"link 1 .* changed"):
        persistence.audit.expire("1h")
    with pytest.raises(CorruptDatabaseError, match=r"link 1 .* changed"):
        persistence.audit.sign()
    assert persistence.audit.count() == 2


@pytest.mark.before_io
def test_a_key_is_long_and_is_never_shown(open_again: Any) -> None:
    for key in ("", "short", 5, b"0123456789abcdef0"):
        with pytest.raises(ConfigurationError, match="at least 16 characters") as refused:
            open_again(audit_key=key)
        assert "short" not in str(refused.value)
    persistence = open_again(audit_key=KEY)
    assert KEY not in repr(persistence)
    with pytest.raises(ConfigurationError, match="CURIO_AUDIT_KEY"):
        open_again().audit.sign()


def test_an_export_has_a_line_unless_the_database_is_only_read(
    lasting: None, open_again: Any, tmp_path: Path
) -> None:
    persistence = open_again()
    persistence.create_agent_run(AgentRun("planner", "run"))
    with open_again(read_only=True) as reader:
        export_records(reader, tmp_path / "read.jsonl")
    assert persistence.audit.count() == 0
    export_records(persistence, tmp_path / "runs.csv", tables=["runs"], agent_id="planner")
    [entry] = persistence.audit.query()
    assert (entry.action, entry.resource) == ("export", str(tmp_path / "runs.csv"))
    assert entry.get_metadata_dict() == {
        "filters": {"agent_id": "planner"},
        "format": "csv",
        "tables": ["runs"],
    }
