"""Approvals: tickets by which runs ask people, each decided once or expired."""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread, Timer
from typing import Any

import pytest

from curio_persistence import (
    AgentRun,
    Approval,
    ConflictError,
    InMemoryPersistence,
    InvalidValueError,
    NotFoundError,
    Persistence,
    PersistenceError,
    UnsupportedError,
    copy_records,
    export_records,
    import_records,
)
from tests.support.hands import Hands

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def asking(persistence: Persistence, clock: Hands) -> Persistence:
    """Two runs that can ask, at noon."""
    clock.put(NOON)
    for number in (1, 2):
        run = AgentRun("cleaner", f"r{number}", session_id="s1", user_id=f"u{number}")
        persistence.create_agent_run(run)
    return persistence


def statuses(persistence: Persistence, **filters: Any) -> list[tuple[str, str]]:
    """The tickets that pass filters, oldest first, with their statuses."""
    found = persistence.approvals.query(order="oldest", **filters)
    assert persistence.approvals.count(**filters) == len(found)
    assert list(persistence.approvals.iterate(order="oldest", **filters)) == list(found)
    return [(ticket.ticket_id, ticket.status) for ticket in found]


def test_a_ticket_round_trips(asking: Persistence, clock: Hands) -> None:
    ticket = asking.approvals.request(
        "r1", "delete", {"path": "/tmp/x"}, expires_in="2h", step_id="s-3", metadata={"why": "full"}
    )
    assert asking.approvals.get(ticket.ticket_id) == ticket
    assert asking.approvals.list("r1") == [ticket]
    assert (ticket.run_id, ticket.agent_id, ticket.tool) == ("r1", "cleaner", "delete")
    assert (ticket.status, ticket.step_id) == ("pending", "s-3")
    assert ticket.get_arguments_dict() == {"path": "/tmp/x"}
    assert ticket.get_metadata_dict() == {"why": "full"}
    assert ticket.requested_at is not None
    assert ticket.expires_at == ticket.requested_at + timedelta(hours=2)
    assert (ticket.resolved_by, ticket.resolved_at, ticket.response) == (None, None, None)
    assert Approval.from_dict(ticket.to_dict()) == ticket
    assert asking.approvals.list("r2") == []
    assert asking.approvals.get("nothing") is None


@pytest.mark.parametrize("decision", ["approved", "denied"])
def test_a_ticket_is_decided_once(asking: Persistence, decision: Any) -> None:
    ticket_id = asking.approvals.request("r1", "delete").ticket_id
    done = asking.approvals.resolve(
        ticket_id, decision, by="ada", reason="It \0 may.", response={"most": 3}
    )
    assert asking.approvals.get(ticket_id) == done
    assert (done.status, done.resolved_by, done.reason) == (decision, "ada", "It \0 may.")
    assert done.get_response_dict() == {"most": 3}
    assert done.resolved_at is not None
    for again in ("approved", "denied"):
        with pytest.raises(ConflictError, match=rf"was {decision} by ada at 20.* UTC"):
            asking.approvals.resolve(ticket_id, again)  # type: ignore[arg-type]
    with pytest.raises(ConflictError, match=f"was {decision} by ada"):
        asking.approvals.expire(ticket_id)
    assert asking.approvals.get(ticket_id) == done


def test_of_many_who_decide_one_wins(asking: Persistence) -> None:
    ticket_id = asking.approvals.request("r1", "delete").ticket_id
    outcomes: list[Any] = []
    start = Barrier(8)

    def decide(number: int) -> None:
        start.wait()
        try:
            decision: Any = ("approved", "denied")[number % 2]
            outcomes.append(asking.approvals.resolve(ticket_id, decision, by=f"p{number}"))
        except PersistenceError as error:
            outcomes.append(error)

    threads = [Thread(target=decide, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = [each for each in outcomes if isinstance(each, Approval)]
    losers = [each for each in outcomes if isinstance(each, ConflictError)]
    assert len(losers) == 7
    assert all(f"{winner.status} by {winner.resolved_by}" in str(each) for each in losers)
    assert asking.approvals.get(ticket_id) == winner
    assert asking.audit.count(resource=ticket_id) == 1


def test_a_ticket_expires_by_itself(asking: Persistence, clock: Hands) -> None:
    ticket = asking.approvals.request("r1", "delete", expires_in=timedelta(minutes=5))
    assert ticket.expires_at is not None
    clock.put(ticket.expires_at - timedelta(microseconds=1))
    assert asking.approvals.list("r1")[0].status == "pending"
    assert statuses(asking, status="pending") == [(ticket.ticket_id, "pending")]
    clock.put(ticket.expires_at)
    assert asking.approvals.list("r1")[0].status == "expired"
    late = asking.approvals.get(ticket.ticket_id)
    assert late is not None
    assert (late.status, late.resolved_at) == ("expired", None)
    assert statuses(asking, status="pending") == []
    assert statuses(asking, status="expired") == [(ticket.ticket_id, "expired")]
    with pytest.raises(ConflictError, match=r"has expired at 2026-11-20 12:05:00 UTC"):
        asking.approvals.resolve(ticket.ticket_id, "approved")
    assert asking.audit.count() == 0


def test_a_ticket_can_be_withdrawn(asking: Persistence, clock: Hands) -> None:
    ticket_id = asking.approvals.request("r1", "delete").ticket_id
    done = asking.approvals.expire(ticket_id, by="r1", reason="No longer needed.")
    assert (done.status, done.resolved_by, done.reason) == ("expired", "r1", "No longer needed.")
    with pytest.raises(ConflictError, match="has expired by r1"):
        asking.approvals.resolve(ticket_id, "approved")
    overdue = asking.approvals.request("r1", "delete", expires_in="1m").ticket_id
    clock.move(minutes=2)
    assert asking.approvals.expire(overdue).status == "expired"
    assert [entry.action for entry in asking.audit.query()] == ["expire", "expire"]


def test_tickets_are_found_by_what_they_have(asking: Persistence, clock: Hands) -> None:
    for ticket_id, run_id, tool, expires_in in (
        ("a", "r1", "delete", "1h"),
        ("b", "r1", "pay", "1h"),
        ("c", "r2", "pay", "10m"),
        ("d", "r2", "pay", "2h"),
    ):
        asking.approvals.request(
            run_id, tool, ticket_id=ticket_id, expires_in=expires_in, step_id=f"s-{ticket_id}"
        )
        clock.move(seconds=1)
    asking.approvals.resolve("b", "denied", by="ada")
    clock.move(minutes=30)
    asking.approvals.expire("d")
    for filters, found in (
        ({}, "abcd"),
        ({"status": "pending"}, "a"),
        ({"status": "expired"}, "cd"),
        ({"status": ["pending", "expired"]}, "acd"),
        ({"status": ["denied", "expired"]}, "bcd"),
        ({"status": ["denied", "pending"]}, "ab"),
        ({"status": ["denied", "approved"]}, "b"),
        ({"status": []}, ""),
        ({"run_id": "r1"}, "ab"),
        ({"tool": "pay", "status": "expired"}, "cd"),
        ({"tool": ["pay", "delete"]}, "abcd"),
        ({"agent_id": "cleaner", "step_id": "s-a"}, "a"),
        ({"resolved_by": "ada"}, "b"),
        ({"session_id": "s1", "user_id": "u2"}, "cd"),
        ({"until": NOON + timedelta(seconds=2)}, "ab"),
        ({"since": NOON + timedelta(seconds=2)}, "cd"),
    ):
        wanted: dict[str, Any] = {**filters}
        assert "".join(ticket_id for ticket_id, _ in statuses(asking, **wanted)) == found, filters
    first = asking.approvals.query(limit=1, status=["expired", "denied"])
    clock.move(hours=1)
    rest = asking.approvals.query(limit=9, status=["expired", "denied"], cursor=first.next_cursor)
    assert [ticket.ticket_id for ticket in (*first, *rest)] == ["d", "c", "b", "a"]


def test_a_decision_is_about_exactly_these_arguments(asking: Persistence) -> None:
    arguments = {"path": "/tmp/x", "force": True, "n": 1}
    ticket = asking.approvals.request("r1", "delete", arguments)
    assert (
        ticket.arguments_hash == hashlib.sha256(b'{"force":true,"n":1,"path":"/tmp/x"}').hexdigest()
    )
    check = asking.approvals.check
    assert not check(ticket.ticket_id, arguments), "it is pending"
    asking.approvals.resolve(ticket.ticket_id, "approved")
    assert check(ticket.ticket_id, arguments)
    assert check(ticket.ticket_id, dict(reversed(arguments.items())))
    assert check(ticket.ticket_id, json.dumps(arguments, indent=2))
    for other in (
        None,
        {},
        {**arguments, "path": "/"},
        {**arguments, "n": 1.0},
        {**arguments, "force": 1},
        {**arguments, "more": None},
        "delete",
    ):
        assert not check(ticket.ticket_id, other), other
    denied = asking.approvals.request("r1", "delete", arguments).ticket_id
    asking.approvals.resolve(denied, "denied")
    assert not check(denied, arguments)
    with pytest.raises(NotFoundError, match="no approval ticket 'nothing'"):
        check("nothing", arguments)


@pytest.mark.parametrize(
    "arguments", [None, "", "text", "\0\ud800", ["a", 1], {"x": "\ud800 ü \0"}, {1: (2, {3})}]
)
def test_arguments_may_be_anything(asking: Persistence, arguments: Any) -> None:
    ticket_id = asking.approvals.request("r1", "delete", arguments).ticket_id
    asking.approvals.resolve(ticket_id, "approved")
    assert asking.approvals.check(ticket_id, arguments)


def test_arguments_are_masked_and_their_hash_is_not(open_again: Any) -> None:
    persistence = open_again(redactor="emails")
    persistence.create_agent_run(AgentRun("mailer", "r1"))
    arguments = {"to": "ann@example.com"}
    ticket = persistence.approvals.request("r1", "mail", arguments)
    assert "ann@example.com" not in str(ticket.to_dict())
    assert "redacted" in str(ticket.arguments)
    persistence.approvals.resolve(ticket.ticket_id, "approved", reason="bob@example.com agrees")
    assert "bob@" not in str(persistence.approvals.get(ticket.ticket_id))
    assert persistence.approvals.check(ticket.ticket_id, arguments)
    assert not persistence.approvals.check(ticket.ticket_id, {"to": "eve@example.com"})


def test_without_content_a_decision_is_still_about_the_arguments(open_again: Any) -> None:
    persistence = open_again(capture_content="metrics-only")
    persistence.create_agent_run(AgentRun("mailer", "r1"))
    ticket = persistence.approvals.request("r1", "mail", {"to": "ann"})
    assert ticket.arguments is None
    persistence.approvals.resolve(ticket.ticket_id, "approved")
    assert persistence.approvals.check(ticket.ticket_id, {"to": "ann"})
    assert not persistence.approvals.check(ticket.ticket_id, {"to": "eve"})


def test_each_decision_has_a_line_in_the_audit_log(asking: Persistence) -> None:
    one, two = (asking.approvals.request("r1", "delete", n).ticket_id for n in (1, 2))
    asking.approvals.resolve(one, "approved", by="ada")
    with asking.audit.acting_as("bob", "person"):
        done = asking.approvals.resolve(two, "denied")
    assert done.resolved_by == "bob"
    denied, approved = asking.audit.query()
    assert (denied.action, denied.actor_id, denied.actor_type) == ("deny", "bob", "person")
    assert (approved.action, approved.actor_id, approved.resource) == ("approve", "ada", one)
    assert (approved.resource_type, approved.run_id) == ("approval", "r1")
    told = asking.approvals.get(one)
    assert told is not None
    about = {"arguments_hash": told.arguments_hash, "tool": "delete"}
    assert approved.get_metadata_dict() == about
    assert asking.audit.verify().ok


def test_a_decision_that_is_rolled_back_is_none(asking: Persistence) -> None:
    ticket_id = asking.approvals.request("r1", "delete").ticket_id
    with pytest.raises(ZeroDivisionError):  # noqa: PT012, SIM117
        with asking.transaction():
            asking.approvals.resolve(ticket_id, "approved")
            raise ZeroDivisionError
    assert asking.audit.count() == 0
    assert asking.approvals.resolve(ticket_id, "denied").status == "denied"


def test_a_wait_ends_with_the_decision(asking: Persistence) -> None:
    ticket_id = asking.approvals.request("r1", "delete").ticket_id
    timer = Timer(0.1, asking.approvals.resolve, (ticket_id, "approved"))
    timer.start()
    assert asking.approvals.wait(ticket_id, interval=0.01).status == "approved"
    timer.join()
    assert asking.approvals.wait(ticket_id).status == "approved"


def test_a_wait_ends_in_time(asking: Persistence, clock: Hands) -> None:
    ticket_id = asking.approvals.request("r1", "delete", expires_in="1h").ticket_id
    begin = time.monotonic()
    assert asking.approvals.wait(ticket_id, 0).status == "pending"
    assert asking.approvals.wait(ticket_id, 0.05, interval=60).status == "pending"
    assert time.monotonic() - begin < 20
    clock.move(hours=2)
    assert asking.approvals.wait(ticket_id).status == "expired"
    with pytest.raises(NotFoundError, match="no approval ticket"):
        asking.approvals.wait("nothing", 0)
    with pytest.raises(UnsupportedError, match=r"before wait\(\)"), asking.transaction():
        asking.approvals.wait(ticket_id)


def test_a_ticket_is_requested_once(asking: Persistence) -> None:
    first = asking.approvals.request("r1", "delete", ticket_id="t1")
    with pytest.raises(ConflictError, match="'t1'"):
        asking.approvals.request("r2", "pay", ticket_id="t1")
    assert asking.approvals.list("r1") == [first]
    assert asking.approvals.list("r2") == []


def test_an_unknown_run_or_ticket_is_told(asking: Persistence) -> None:
    with pytest.raises(NotFoundError, match="No run 'r3' exists that could ask"):
        asking.approvals.request("r3", "delete")
    with pytest.raises(NotFoundError, match="No run 'r3' exists that could ask"):
        asking.approvals.request("r3", "delete", agent_id="cleaner")
    for call in (
        lambda: asking.approvals.resolve("t", "approved"),
        lambda: asking.approvals.expire("t"),
    ):
        with pytest.raises(NotFoundError, match="has no approval ticket 't'"):
            call()
    assert asking.approvals.count() == 0


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"run_id": None}, "run_id"),
        ({"run_id": ""}, "AgentRun.run_id"),
        ({"tool": ""}, "Approval.tool"),
        ({"tool": None}, "Approval.tool"),
        ({"expires_in": "soon"}, "expires_in"),
        ({"expires_in": "0s"}, "expires_in"),
        ({"expires_in": timedelta(-1)}, "expires_in"),
        ({"expires_in": timedelta.max}, "expires_in"),
        ({"expires_in": 60}, "expires_in"),
        ({"ticket_id": "x" * 256}, "ticket_id"),
        ({"step_id": 5}, "Approval.step_id"),
    ],
)
@pytest.mark.before_io
def test_an_invalid_request_is_refused(
    asking: Persistence, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        asking.approvals.request(**{"run_id": "r1", "tool": "delete", **given})
    assert refusal.value.field == field
    assert asking.approvals.count() == 0


@pytest.mark.before_io
def test_an_invalid_decision_is_refused(asking: Persistence) -> None:
    ticket_id = asking.approvals.request("r1", "delete").ticket_id
    for decision in ("expired", "pending", "yes", None, True):
        with pytest.raises(InvalidValueError, match="decision is 'approved' or 'denied'"):
            asking.approvals.resolve(ticket_id, decision)  # type: ignore[arg-type]
    for given in ({"by": ""}, {"by": 5}, {"reason": 5}):
        wrong: dict[str, Any] = {**given}
        with pytest.raises(InvalidValueError):
            asking.approvals.resolve(ticket_id, "approved", **wrong)
    with pytest.raises(InvalidValueError, match="must be one of pending, approved"):
        asking.approvals.query(status="open")
    assert asking.approvals.list("r1")[0].status == "pending"


def test_tickets_are_deleted_with_their_run(asking: Persistence) -> None:
    asking.approvals.request("r1", "delete")
    kept = asking.approvals.request("r2", "delete")
    asking.delete_agent_run("r1")
    assert list(asking.approvals.query()) == [kept]


def test_a_copy_brings_decisions(asking: Persistence, clock: Hands) -> None:
    ticket_id = asking.approvals.request("r1", "delete", {"a": 1}).ticket_id
    with InMemoryPersistence() as copy:
        assert copy_records(asking, copy).new_approvals == 1
        clock.move(seconds=1)
        done = asking.approvals.resolve(ticket_id, "approved", by="ada")
        report = copy_records(asking, copy)
        assert (report.ok, report.new_approvals) == (True, 1)
        assert copy.approvals.get(ticket_id) == done
        assert copy.approvals.check(ticket_id, {"a": 1})
        assert copy_records(asking, copy).new_approvals == 0


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet", "arrow"])
def test_an_export_brings_tickets_and_snapshots(
    asking: Persistence, format: str, tmp_path: Path
) -> None:
    asking.approvals.request("r1", "delete", {"path": "a\r\nb"}, step_id="s", metadata="\0")
    asking.snapshots.save("r2", "one", {"text": "\ud800", "n": [1, 2.5, None]})
    path = tmp_path / f"export.{format}"
    written = export_records(asking, path)
    assert (written.approvals, written.snapshots) == (1, 1)
    with InMemoryPersistence() as copy:
        report = import_records(path, copy)
        assert (report.ok, report.approvals, report.snapshots) == (True, 1, 1)
        again = import_records(path, copy)
        assert (again.approvals, again.snapshots) == (0, 0)
        for run_id in ("r1", "r2"):
            assert copy.runs.hash(run_id) == asking.runs.hash(run_id)
