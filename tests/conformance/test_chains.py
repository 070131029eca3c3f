"""Hash chains: what they prove of events, and what may happen to these."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    ConflictError,
    Persistence,
    RetentionPolicy,
    SQLitePersistence,
    TrailReport,
    archive_runs,
    copy_records,
    erase_runs,
    export_records,
    import_records,
    open_archive,
    restore_runs,
)
from curio_persistence.capabilities.chains import EVENT_CHAINS, Chains, given_link
from curio_persistence.store.filters import Filter
from curio_persistence.tables import CHAIN_HEADS, EVENTS
from tests.support.hands import Hands

KEY = "a key of the auditors"
Open = Callable[..., Persistence]


@pytest.fixture
def chained(open_again: Open) -> Persistence:
    return open_again(chain=True)


def log(persistence: Persistence, run_id: str = "run", numbers: Sequence[int] = range(5)) -> None:
    persistence.log_agent_run_events(
        AgentRunEvent("planner", run_id, event_type=f"e{number}", data={"n": number})
        for number in numbers
    )


def tamper(persistence: Persistence, position: int, run_id: str = "run", **changes: Any) -> None:
    """Change a link as somebody could who writes to the database."""
    where = (Filter("run_id", "=", run_id), Filter("chain_position", "=", position))
    assert persistence._store.update(EVENTS, where, changes)


def remove(persistence: Persistence, *positions: int) -> None:
    where = (Filter("run_id", "=", "run"), Filter("chain_position", "in", positions))
    persistence._store.delete(EVENTS, where)


def fault(report: TrailReport) -> tuple[str, int | None]:
    [found] = report.faults
    return found.problem, found.position


# --- appending ----------------------------------------------------------------------------------


def test_events_are_links_only_where_it_was_asked_for(
    persistence: Persistence, open_again: Open
) -> None:
    log(persistence)
    assert {event.hash for event in persistence.get_agent_run_events("run")} == {None}
    assert persistence.audit.verify().chains == 0


def test_each_way_to_append_makes_links(chained: Persistence) -> None:
    log(chained)
    event = chained.append_event("run", "planner", "one", payload='{"a": 1}')
    with chained.buffered() as buffered:
        buffered.append_event("run", "planner", "queued")
        buffered.flush()
        with buffered.transaction():
            buffered.append_event("run", "planner", "direct")
        stored = buffered.get_agent_run_events("run")
        assert [each.chain_position for each in stored] == [*range(1, 9)]
        assert stored[5] == event
        assert [each.prev_hash for each in stored[1:]] == [each.hash for each in stored[:-1]]
        assert buffered.audit.verify().links == 8


def test_an_event_that_is_sent_again_is_one_link(chained: Persistence) -> None:
    for _ in range(2):
        chained.log_agent_run_events(
            [AgentRunEvent("planner", "run", event_id=f"e{n}") for n in (1, 2)],
            on_conflict="error",
        )
        chained.log_agent_run_event(AgentRunEvent("planner", "run", event_id="e3"))
    report = chained.audit.verify("run")
    assert (report.ok, report.links) == (True, 3)


def test_a_batch_of_several_runs_extends_the_chain_of_each(chained: Persistence) -> None:
    for _ in range(2):
        chained.log_agent_run_events(AgentRunEvent("p", f"r{n % 3}") for n in range(30))
    report = chained.audit.verify()
    assert (report.ok, report.chains, report.links) == (True, 3, 60)


def test_the_order_of_a_chain_is_that_of_appending_not_of_time(
    chained: Persistence, clock: Hands
) -> None:
    for number in range(3):
        chained.append_event("run", "planner", f"e{number}")
        clock.move(hours=-1)
    events = chained.get_agent_run_events("run")
    assert {event.event_type: event.chain_position for event in events} == {
        "e0": 1,
        "e1": 2,
        "e2": 3,
    }
    assert chained.audit.verify("run").ok


def test_a_batch_that_is_refused_adds_no_link(chained: Persistence) -> None:
    log(chained)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012, SIM117
        with chained.transaction():
            log(chained)
            raise ZeroDivisionError
    log(chained)
    assert chained.audit.verify("run").links == 10


def test_threads_never_fork_a_chain(chained: Persistence) -> None:
    def append() -> None:
        for number in range(20):
            chained.append_event("run", "planner", f"e{number}")

    threads = [threading.Thread(target=append) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = chained.audit.verify()
    assert (report.ok, report.links) == (True, 80)


def test_a_hash_of_another_program_is_a_link_if_it_follows_the_chain(
    persistence: Persistence,
) -> None:
    persistence.create_agent_run(AgentRun("planner", "run"))
    chains = Chains(persistence._store, persistence.clock, EVENT_CHAINS)

    def add(hash: str, prev_hash: str | None) -> None:
        event = AgentRunEvent("planner", "run", hash=hash, prev_hash=prev_hash)
        event.timestamp = event.created_at = datetime(2026, 11, 20, tzinfo=UTC)
        chains.insert([EVENTS.encode(event)], given_link)

    add("h1", None)
    add("h2", "h1")
    for wrong in ("h1", None, "other"):
        with pytest.raises(ConflictError, match="the chain ends with 'h2'"):
            add("h3", wrong)
    report = persistence.audit.verify()
    assert (report.ok, report.links, report.foreign) == (True, 2, 2)
    remove(persistence, 1)
    assert fault(persistence.audit.verify()) == ("missing", 1)


# --- verifying ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"data": '{"n": 7}'},
        {"message": "never said"},
        {"event_type": "other"},
        {"timestamp": "2026-01-01T00:00:00.000000+00:00"},
        {"event_id": "other"},
        {"content_hash": "0" * 64},
        {"hash": "v1:" + "0" * 64},
        {"hash": None},
    ],
)
def test_a_changed_link_is_named(
    chained: Persistence, clock: Hands, changes: dict[str, Any]
) -> None:
    clock.put(datetime(2026, 1, 1, 12, tzinfo=UTC))  # A row stays in its chunk of a hypertable.
    log(chained)
    tamper(chained, 3, **changes)
    assert fault(chained.audit.verify("run")) == ("changed", 3)
    assert "run run, link 3" in str(chained.audit.verify().faults[0])


def test_a_missing_link_is_named(chained: Persistence) -> None:
    log(chained)
    remove(chained, 3)
    assert fault(chained.audit.verify("run")) == ("missing", 3)


def test_a_missing_beginning_is_named(chained: Persistence) -> None:
    log(chained)
    remove(chained, 1, 2)
    assert fault(chained.audit.verify("run")) == ("missing", 1)


def test_a_moved_link_is_named(chained: Persistence) -> None:
    log(chained)
    tamper(chained, 2, chain_position=100)
    tamper(chained, 4, chain_position=2)
    tamper(chained, 100, chain_position=4)
    assert fault(chained.audit.verify("run"))[0] == "moved"


def test_a_link_that_was_moved_to_another_run_is_named(chained: Persistence) -> None:
    log(chained)
    log(chained, "other", range(2))
    last = (Filter("chain_position", "=", 5),)
    chained._store.update(EVENTS, last, {"run_id": "other", "chain_position": 3})
    problems = {(each.name, each.problem) for each in chained.audit.verify().faults}
    assert problems == {("run", "cut"), ("other", "changed")}


def test_an_inserted_link_is_named(chained: Persistence) -> None:
    log(chained)
    for position in (5, 4, 3):
        tamper(chained, position, chain_position=position + 1)
    forged = EVENTS.encode(AgentRunEvent("planner", "run", chain_position=3, hash="v1:0"))
    forged["timestamp"] = forged["created_at"] = "2026-11-20T12:00:00.000000+00:00"
    chained._store.insert(EVENTS, forged)
    assert fault(chained.audit.verify("run")) == ("inserted", 3)


def test_an_event_beside_the_chain_is_named(chained: Persistence, open_again: Open) -> None:
    log(chained)
    event = AgentRunEvent("planner", "run", event_id="beside")
    event.timestamp = event.created_at = datetime(2026, 11, 20, tzinfo=UTC)
    chained._store.insert(EVENTS, EVENTS.encode(event))
    [found] = chained.audit.verify().faults
    assert (found.problem, found.record) == ("inserted", "beside")


def test_a_cut_tail_is_named(chained: Persistence) -> None:
    log(chained)
    remove(chained, 4, 5)
    assert fault(chained.audit.verify("run")) == ("cut", 4)


def test_a_run_that_vanished_is_named(chained: Persistence) -> None:
    log(chained)
    remove(chained, *range(1, 6))
    assert fault(chained.audit.verify()) == ("cut", 1)


def test_without_the_key_nobody_can_cut_the_tail_or_forge_the_past(open_again: Open) -> None:
    signed = open_again(chain=True, audit_key=KEY)
    log(signed)
    assert signed.audit.verify().ok
    remove(signed, 4, 5)
    last = signed.get_agent_run_events("run")[-1]
    cut = (Filter("name", "=", "run"),)
    signed._store.update(CHAIN_HEADS, cut, {"position": 3, "hash": last.hash})
    assert [each.problem for each in signed.audit.verify().faults] == ["forged"]
    # A link that an honest program adds later does not make it true.
    log(signed)
    assert [each.problem for each in signed.audit.verify().faults] == ["unsigned"]


def test_a_signature_of_another_key_counts_for_nothing(open_again: Open) -> None:
    signed = open_again(chain=True, audit_key=KEY)
    log(signed)
    signed._store.audit_key = b"another key of auditors"
    assert [each.problem for each in signed.audit.verify().faults] == ["forged"]


def test_a_database_that_gets_a_key_is_signed_once(chained: Persistence) -> None:
    log(chained)
    chained.audit.log("before")
    chained._store.audit_key = KEY.encode()
    assert {each.problem for each in chained.audit.verify().faults} == {"unsigned"}
    assert chained.audit.sign() == 2
    log(chained)
    log(chained, "new")
    report = chained.audit.verify()
    assert (report.ok, report.signed, report.links) == (True, True, 17)


def test_a_head_that_was_noted_elsewhere_must_still_be_there(chained: Persistence) -> None:
    log(chained)
    head = chained.audit.verify("run").head
    log(chained)
    assert chained.audit.verify("run", known_head=head).ok
    assert fault(chained.audit.verify("run", known_head="v1:other")) == ("cut", None)


# --- what happens to events ---------------------------------------------------------------------


def test_events_whose_words_were_removed_verify_and_are_named(
    chained: Persistence, clock: Hands
) -> None:
    chained.create_agent_run(AgentRun("planner", "run"))
    log(chained)
    run = chained.get_agent_run("run")
    assert run is not None
    run.status, run.finished_at = "completed", clock()
    chained.update_agent_run("run", run)
    clock.move(days=9)
    chained.lifecycle.expire(policies=[RetentionPolicy(keep_content="1d")], pace=1)
    assert chained.get_agent_run_events("run")[0].data is None
    report = chained.audit.verify("run")
    assert (report.ok, report.links, report.erased) == (True, 5, 5)
    assert len(report.erased_records) == 5
    assert chained.audit.count(action="redact", run_id="run") >= 1
    tamper(chained, 2, data="never said")
    assert fault(chained.audit.verify("run")) == ("changed", 2)


def test_a_deleted_run_leaves_no_chain_and_its_id_begins_anew(chained: Persistence) -> None:
    log(chained)
    chained.delete_agent_run("run")
    assert chained.audit.verify().ok
    log(chained)
    assert [e.chain_position for e in chained.get_agent_run_events("run")] == [1, 2, 3, 4, 5]
    assert chained.audit.verify("run").links == 5


def finished(persistence: Persistence, clock: Hands, run_id: str = "run") -> None:
    """A run that finished a hundred days ago."""
    end = clock() - timedelta(days=100)
    persistence.create_agent_run(
        AgentRun("planner", run_id, status="completed", finished_at=end, created_at=end)
    )
    log(persistence, run_id)


def test_the_chain_of_an_expired_run_is_anchored_and_goes_on(
    open_again: Open, clock: Hands
) -> None:
    chained = open_again(chain=True, audit_key=KEY)
    finished(chained, clock)
    log(chained, "kept")
    assert chained.lifecycle.expire("90d", pace=1).runs == 1
    assert chained.audit.verify().ok
    log(chained)
    assert [e.chain_position for e in chained.get_agent_run_events("run")] == [6, 7, 8, 9, 10]
    report = chained.audit.verify("run")
    assert (report.ok, report.links) == (True, 5)
    remove(chained, 6)
    assert fault(chained.audit.verify("run")) == ("missing", 6)


def test_a_beginning_can_be_cut_and_the_rest_verifies_on(open_again: Open) -> None:
    chained = open_again(chain=True, audit_key=KEY)
    log(chained)
    chains = Chains(chained._store, chained.clock, EVENT_CHAINS)
    assert chains.cut("run", 3) == 3
    log(chained)
    assert chained.audit.verify("run").links == 7
    assert chains.cut("run", 9) == 6
    assert chains.cut("run", 9) == 0
    assert chained.audit.verify("run").links == 1


def test_copies_have_the_links_and_heads(open_again: Open, clock: Hands, tmp_path: Path) -> None:
    chained = open_again(chain=True, audit_key=KEY)
    log(chained)
    copied = SQLitePersistence(tmp_path / "copy.db", chain=True, audit_key=KEY)
    with copied:
        assert copy_records(chained, copied).ok
        assert copied.audit.verify("run").links == 5
        log(chained)
        log(chained, "second")
        assert copy_records(chained, copied).ok
        assert copied.audit.verify().ok
        assert copied.audit.verify().links == 15
        log(copied)
        assert copied.audit.verify("run").links == 15


def test_a_copy_into_a_database_with_chains_adds_no_links(
    persistence: Persistence, tmp_path: Path
) -> None:
    log(persistence)
    with SQLitePersistence(tmp_path / "copy.db", chain=True) as copied:
        assert copy_records(persistence, copied).ok
        assert copied.audit.verify().links == 0


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_exports_have_the_links(chained: Persistence, tmp_path: Path, format: str) -> None:
    log(chained)
    exported = tmp_path / ("all.jsonl" if format == "jsonl" else "all")
    export_records(chained, exported, format=format)
    with SQLitePersistence(tmp_path / "again.db", chain=True) as again:
        import_records(exported, again)
        assert again.audit.verify().links == 6, "one is the line of the import"
        log(again)
        assert again.audit.verify("run").links == 10


def test_an_archived_run_comes_back_with_its_chain(
    open_again: Open, clock: Hands, place: Path
) -> None:
    chained = open_again(chain=True, audit_key=KEY)
    finished(chained, clock)
    log(chained, "kept")
    assert archive_runs(chained, place, older_than="90d", pace=1).runs == 1
    assert chained.audit.verify().ok
    assert restore_runs(chained, place, ["run"]).runs == 1
    report = chained.audit.verify("run")
    assert (report.ok, report.links) == (True, 5)
    log(chained)
    assert chained.audit.verify("run").links == 10
    actions = [entry.action for entry in chained.audit.iterate(order="oldest")]
    assert actions == ["begin expiry", "archive", "end expiry", "restore"]
    chained.delete_agent_run("run")
    assert erase_runs(chained, place, ["run"]) == 1
    [erased] = chained.audit.query(action="erase")
    assert erased.get_metadata_dict()["run_ids"] == ["run"]
    assert chained.audit.verify().ok


def test_a_copy_has_a_line_where_the_records_were(persistence: Persistence, tmp_path: Path) -> None:
    log(persistence)
    with SQLitePersistence(tmp_path / "copy.db") as copied:
        copy_records(persistence, copied)
        [line] = persistence.audit.query()
        assert (line.action, line.resource) == ("copy", copied.location)
        assert copied.audit.count() == 0


def test_a_transaction_appends_to_several_chains(chained: Persistence) -> None:
    with chained.transaction():
        for run_id in ("b", "a", "b"):
            chained.append_event(run_id, "planner", "step")
    assert chained.audit.verify("b").links == 2
    assert chained.audit.verify().ok


def test_the_chain_of_an_archived_run_is_verified_in_the_archive(
    lasting: None, open_again: Open, clock: Hands, place: Path
) -> None:
    chained = open_again(chain=True)
    finished(chained, clock)
    log(chained, "kept", range(3))
    archive_runs(chained, place, older_than="90d", pace=1)
    with open_archive(open_again(), place) as both:
        report = both.audit.verify("run")
        assert (report.ok, report.links) == (True, 5)
        assert both.audit.verify().ok
        assert both.audit.verify().links == 5 + 3 + 3
