"""A replica has each row of its source once, as it is now, whatever fails on the way."""

from __future__ import annotations

from itertools import count
from typing import Any
from urllib.parse import quote

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentSpan,
    BusyError,
    ConflictError,
    InMemoryPersistence,
    NotFoundError,
    Persistence,
    RetentionPolicy,
    UnsupportedError,
    connect,
)
from curio_persistence.backends.clickhouse.client import ClickHouseClient, open_client
from curio_persistence.backends.clickhouse.registry import Lease
from curio_persistence.interop.otel.receiving import Receiver
from curio_persistence.tables import CHANGES, EVENTS, USAGE
from tests.conformance.conftest import Open
from tests.support.hands import Hands
from tests.support.one_of_each import insert_one_of_each
from tests.support.otlp_corpus import spans
from tests.support.replicas import assert_same, shared_replica_url

pytestmark = [pytest.mark.slow, pytest.mark.sources]

WORDS = 'naïve "quoted" \\ \0 \ud800 \u2028 it\'s'


@pytest.fixture
def url() -> str:
    return shared_replica_url()


@pytest.fixture
def source() -> str:
    """The name of a source that is not there yet."""
    return f"source {next(_NUMBERS)}"


_NUMBERS = count()


def record(persistence: Persistence, run_id: str, **fields: Any) -> None:
    """Store a run with two events and a model call."""
    persistence.create_agent_run(AgentRun("agent", run_id, objective=WORDS, **fields))
    for level in ("info", "error"):
        persistence.append_event(
            run_id, "agent", "tool_call", payload={"tool": "search", "q": WORDS}, level=level
        )
    persistence.log_llm_usage(
        AgentLLMUsage("agent", run_id, "openai", "gpt-4o", prompt=WORDS, input_tokens=7)
    )


def test_each_row_of_each_table_is_as_it_is_stored(
    persistence: Persistence, url: str, source: str
) -> None:
    insert_one_of_each(persistence._store)
    record(persistence, "another", session_id="session", tags=["a", "ü"], metadata={"x": WORDS})
    report = persistence.replicate(url, source=source)
    assert_same(persistence._store, url, source)
    assert report.sent[EVENTS.name] == 3
    assert report.deleted == 0
    assert persistence.replicate(url, source=source).rows == 0


def test_runs_are_selected_and_totalled_by_where_they_were_made(
    persistence: Persistence, url: str, source: str
) -> None:
    origin = {"source": "codex", "project": "/home/ada/mill", "branch": "main"}
    record(persistence, "made", metadata=origin)
    persistence.replicate(url, source=source)
    with connect(f"{url}&source={quote(source)}") as replica:
        assert [run.run_id for run in replica.query_agent_runs(project="/home/ada/mill")] == [
            "made"
        ]
        for name, value in origin.items():
            [total] = replica.usage.totals(group_by=name)
            assert getattr(total, name) == value


def test_what_is_new_and_what_has_changed_is_sent(
    persistence: Persistence, url: str, source: str
) -> None:
    record(persistence, "first", session_id="s")
    persistence.traces.save_span(AgentSpan("t", "s1", name="before"))
    persistence.scores.set("first", "good", 0.5)
    persistence.replicate(url, source=source)
    run = persistence.get_agent_run("first")
    assert run is not None
    run.status, run.finished_at = "completed", persistence.clock.now()
    persistence.update_agent_run("first", run)
    record(persistence, "second", session_id="s")
    persistence.traces.save_span(AgentSpan("t", "s1", name="after"))
    persistence.scores.set("first", "good", 0.7)
    persistence.sessions.update("s", metadata={"x": 1})
    persistence.agents.update("agent", description="searches")
    persistence.replicate(url, source=source)
    assert_same(persistence._store, url, source)


def test_deletions_follow(persistence: Persistence, url: str, source: str) -> None:
    for run_id in ("gone", "again", "kept"):
        record(persistence, run_id, session_id=run_id)
    record(persistence, "child", parent_run_id="gone")
    persistence.scores.set("kept", "good", 0.5)
    persistence.traces.save_span(AgentSpan("t", "s1"))
    persistence.replicate(url, source=source)
    persistence.delete_agent_run("gone")
    persistence.delete_agent_run("again")
    record(persistence, "again")
    persistence.scores.delete("kept", "good")
    persistence.traces.delete("t")
    persistence.sessions.delete("gone")
    report = persistence.replicate(url, source=source)
    assert report.deleted == 1
    assert_same(persistence._store, url, source)
    assert persistence.replicate(url, source=source).changed.total() == 0


@pytest.mark.thorough
def test_runs_that_expire_leave_their_totals(
    persistence: Persistence, clock: Hands, url: str, source: str
) -> None:
    for run_id in ("old", "older"):
        record(persistence, run_id, status="completed", finished_at=persistence.clock.now())
        persistence.replicate(url, source=source)
    clock.move(days=40)
    record(persistence, "new", status="completed", finished_at=persistence.clock.now())
    persistence.lifecycle.expire("30d", pace=1)
    persistence.replicate(url, source=source)
    assert_same(persistence._store, url, source)


@pytest.mark.thorough
def test_words_that_a_policy_removes_are_removed(
    persistence: Persistence, clock: Hands, url: str, source: str
) -> None:
    record(persistence, "old", status="completed", finished_at=persistence.clock.now())
    persistence.replicate(url, source=source)
    clock.move(days=40)
    of_others = {"action": "redact", "run_id": "old", "metadata": {"table": ["?"]}}
    persistence.log_audit_event(of_others)
    policy = RetentionPolicy(keep_content="30d")
    persistence.lifecycle.expire(policies=[policy], pace=1)
    persistence.replicate(url, source=source)
    assert_same(persistence._store, url, source)


@pytest.mark.thorough
def test_costs_that_are_computed_anew_are_sent(
    persistence: Persistence, url: str, source: str
) -> None:
    for model in ("gpt-4o", "unknown-model"):
        persistence.log_llm_usage(AgentLLMUsage("agent", None, "openai", model, input_tokens=9))
    store = persistence._store
    store.update(USAGE, (), {"cost_usd": None, "price_version": None})
    persistence.replicate(url, source=source)
    persistence.prices.reprice()
    persistence.replicate(url, source=source)
    assert_same(store, url, source)


@pytest.mark.thorough
def test_what_moves_with_received_spans_is_sent_again(
    persistence: Persistence, url: str, source: str
) -> None:
    """The first spans of a trace arrive last, and move calls and tools to other runs."""
    receiver = Receiver(persistence)
    arriving = spans("two-process-late-parent")
    for at in range(0, len(arriving), 3):
        receiver.spans(arriving[at : at + 3])
        persistence.replicate(url, source=source)
        assert_same(persistence._store, url, source)


@pytest.mark.thorough
def test_when_changes_were_missed_all_is_sent_again(
    persistence: Persistence, url: str, source: str
) -> None:
    store = persistence._store
    record(persistence, "run")
    persistence.replicate(url, source=source)
    run = persistence.get_agent_run("run")
    assert run is not None
    run.status = "completed"
    persistence.update_agent_run("run", run)
    store.delete(CHANGES, ())
    store.insert_many(CHANGES, [{"id": 5_000, "table_name": "agent_spans", "row_id": 1}])
    persistence.replicate(url, source=source)
    assert_same(store, url, source)
    assert persistence.replicate(url, source=source).rows == 0


@pytest.mark.thorough
def test_long_texts_that_are_stored_once_are_whole(open_again: Open, url: str, source: str) -> None:
    persistence = open_again(dedupe=True)
    record(persistence, "run")
    for _ in range(2):
        persistence.append_event("run", "agent", "log", payload={"text": f"{WORDS} long " * 500})
    persistence.replicate(url, source=source)
    assert_same(persistence._store, url, source)


@pytest.mark.thorough
def test_several_sources_share_a_replica(persistence: Persistence, url: str, source: str) -> None:
    other = InMemoryPersistence()
    for each, name in ((persistence, source), (other, f"other {source}")):
        record(each, "run")
        each.replicate(url, source=name)
    assert_same(persistence._store, url, source)
    other.delete_agent_run("run")
    other.replicate(url, source=f"other {source}")
    assert_same(persistence._store, url, source)
    assert_same(other._store, url, f"other {source}")


def test_the_name_of_another_database_is_refused(
    persistence: Persistence, url: str, source: str
) -> None:
    persistence.replicate(url, source=source)
    with pytest.raises(ConflictError, match=f"another database under the name '{source}'"):
        InMemoryPersistence().replicate(url, source=source)


def test_a_second_replicator_of_a_source_is_refused(
    persistence: Persistence, url: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    persistence.replicate(url, source=source)
    client = open_client(url)
    lease = Lease(client, source)
    monkeypatch.setattr(lease, "_holder", "elsewhere:1:f00")
    lease.take()
    with pytest.raises(BusyError, match="process 1 on elsewhere"):
        persistence.replicate(url, source=source)
    persistence.replicate(url, source=f"{source} too")
    lease.give_back()
    persistence.replicate(url, source=source)
    client.close()


def test_a_second_replicator_in_the_same_process_is_refused(
    persistence: Persistence, url: str, source: str
) -> None:
    persistence.replicate(url, source=source)
    client = open_client(url)
    lease = Lease(client, source)
    lease.take()
    with pytest.raises(BusyError, match="Another replicator writes"):
        persistence.replicate(url, source=source)
    lease.give_back()
    persistence.replicate(url, source=source)
    client.close()


def test_a_source_that_is_open_for_reading_only_is_enough(
    open_again: Open, lasting: None, url: str, source: str
) -> None:
    with open_again() as writing:
        record(writing, "run")
    reading = open_again(read_only=True)
    reading.replicate(url, source=source)
    assert_same(reading._store, url, source)


def test_a_transaction_is_refused(persistence: Persistence, url: str, source: str) -> None:
    with persistence.transaction(), pytest.raises(UnsupportedError, match="end it before"):
        persistence.replicate(url, source=source)


def test_a_check_tells_which_days_and_runs_differ(
    persistence: Persistence, url: str, source: str
) -> None:
    for run_id in ("whole", "damaged"):
        record(persistence, run_id)
    persistence.replicate(url, source=source)
    assert persistence.check_replica(url, source=source, deep=True).ok
    record(persistence, "unsent")
    found = persistence.check_replica(url, source=source)
    assert (found.ok, found.behind) == (True, 4)
    client = open_client(url)
    damage = "DELETE FROM agent_llm_usage WHERE source_name = %s AND run_id = 'damaged'"
    client.command(damage, (source,))
    client.close()
    persistence.replicate(url, source=source)
    [of_day, *runs] = persistence.check_replica(url, source=source, deep=True).differences
    assert (of_day.table, of_day.rows, of_day.replicated) == ("agent_llm_usage", 3, 2)
    assert [(run.run_id, run.rows, run.replicated) for run in runs] == [("damaged", 3, 2)]


def test_a_check_of_what_was_never_replicated_is_refused(
    persistence: Persistence, url: str, source: str
) -> None:
    persistence.replicate(url, source=source)
    with pytest.raises(NotFoundError, match="has no source 'unknown' yet"):
        persistence.check_replica(url, source="unknown")


class Killed(Exception):
    """The process was killed here."""


@pytest.mark.thorough
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_statement_it_goes_on(
    persistence: Persistence, url: str, source: str, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """Each statement that writes fails once, before or after it has an effect."""
    record(persistence, "gone", session_id="s")
    for point in count(1):
        record(persistence, f"run {point}", session_id="s")
        if point == 6:
            persistence.delete_agent_run("gone")
        with monkeypatch.context() as patch:
            fail_at(patch, point, after)
            try:
                persistence.replicate(url, source=source)
                break
            except Killed:
                pass
    assert point > 9
    assert_same(persistence._store, url, source)


def fail_at(patch: pytest.MonkeyPatch, point: int, after: bool) -> None:
    """Let the n-th statement that writes fail."""
    left = point

    def failing(call: Any) -> Any:
        def write(*args: Any, **options: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0 and not after:
                raise Killed
            call(*args, **options)
            if left == 0:
                raise Killed

        return write

    for name in ("insert", "command"):
        patch.setattr(ClickHouseClient, name, failing(getattr(ClickHouseClient, name)))
