"""Retention deletes whole trees of finished runs that no policy and no hold keeps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    AgentSpan,
    BusyError,
    InMemoryPersistence,
    InvalidValueError,
    Persistence,
    RetentionPolicy,
    UnsupportedError,
    copy_records,
    export_records,
    import_records,
)
from curio_persistence.capabilities.lifecycle import expiring
from curio_persistence.capabilities.lifecycle.settings import Settings
from curio_persistence.capabilities.lifecycle.stripping import Stripping
from curio_persistence.clock import Clock
from curio_persistence.tables import ALL_TABLES, TOMBSTONES
from tests.support.hands import Hands

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def stopped(clock: Hands) -> None:
    clock.put(NOON)


def record(
    persistence: Persistence, name: str, *, days: float, events: int = 2, **values: Any
) -> None:
    """Store a run that finished so many days ago, with events and a model call."""
    end = NOON - DAY * days
    run = AgentRun(
        values.pop("agent_id", "agent"),
        name,
        status=values.pop("status", "completed"),
        started_at=end - timedelta(minutes=1),
        finished_at=values.pop("finished_at", end),
        created_at=end - timedelta(minutes=1),
        **values,
    )
    persistence.create_agent_run(run)
    persistence.log_agent_run_events(
        AgentRunEvent(
            run.agent_id,
            name,
            event_type="tool_call",
            timestamp=end,
            created_at=end,
            data={"tool": "search", "latency_ms": 5, "text": f"words of {name}"},
        )
        for _ in range(events)
    )
    persistence.log_llm_usage(
        AgentLLMUsage(
            run.agent_id,
            name,
            model="m",
            provider="p",
            input_tokens=10,
            output_tokens=5,
            cost_usd=0.25,
            latency_ms=20,
            created_at=end,
        )
    )


def names(persistence: Persistence) -> list[str]:
    return sorted(run.run_id for run in persistence.iter_agent_runs())


def test_a_dry_run_says_what_expires_and_changes_nothing(persistence: Persistence) -> None:
    record(persistence, "old", days=100, session_id="s1")
    record(persistence, "new", days=1, session_id="s2")
    persistence.scores.set("old", "helpful", 1)
    for run_id in ("old", "new"):
        persistence.approvals.request(run_id, "delete")
        persistence.snapshots.save(run_id, "one", 1)
    persistence.traces.save_span(AgentSpan("trace", "span", run_id="old"))
    planned = persistence.lifecycle.expire("90d", dry_run=True)
    assert names(persistence) == ["new", "old"]
    assert planned.to_dict() == {
        "dry_run": True,
        "cutoff": "2026-08-22T12:00:00+00:00",
        "runs_to_delete": 1,
        "events_to_delete": 2,
        "usage_to_delete": 1,
        "scores_to_delete": 1,
        "approvals_to_delete": 1,
        "snapshots_to_delete": 1,
        "spans_to_delete": 1,
        "sessions_to_delete": 1,
        "trees": 1,
        "held": 0,
        "unfinished": 0,
        "runs_to_strip": 0,
        "archived": 0,
        "bytes_freed": 0,
        "advice": "",
    }
    done = persistence.lifecycle.expire("90d", pace=1)
    counts = ("runs", "events", "usage", "scores", "approvals", "snapshots", "spans", "sessions")
    for name in (*counts, "trees", "held", "unfinished"):
        assert getattr(done, name) == getattr(planned, name), name
    assert names(persistence) == ["new"]
    left = {table.name: persistence._store.count(table) for table in ALL_TABLES}
    assert (left["agent_run_events"], left["agent_llm_usage"], left["agent_scores"]) == (2, 1, 0)
    assert (left["agent_approvals"], left["agent_snapshots"]) == (1, 1)
    assert persistence.lifecycle.expire("90d", pace=1).runs == 0


@pytest.mark.slow
def test_statistics_and_totals_outlive_the_rows(persistence: Persistence) -> None:
    for number in range(12):
        days = 90.2 + number / 3
        record(
            persistence,
            f"old-{number}",
            days=days,
            agent_id=f"agent-{number % 2}",
            status="error" if number % 3 == 0 else "completed",
            total_iterations=number,
            events=number % 4,
        )
    record(persistence, "large", days=91, events=900)
    record(persistence, "new", days=1)

    def told() -> list[Any]:
        return [
            persistence.get_agent_run_stats() | {"latency_percentiles": None},
            persistence.get_agent_run_stats("agent-1") | {"latency_percentiles": None},
            *(
                [*map(repr, totals(group_by=group_by))]
                for totals in (persistence.usage.totals, persistence.runs.totals)
                for group_by in ((), "agent", "status", "day", ("agent", "month"))
            ),
            [*map(repr, persistence.usage.totals(group_by=("model", "provider", "week")))],
            [*map(repr, persistence.usage.totals(since="60d"))],
            [*map(repr, persistence.usage.totals(until="60d", agent_id="agent-0"))],
            *(
                [
                    replace(row, sessions=0, agents=0, users=0)
                    for row in persistence.analytics(bucket=bucket, timezone="UTC", **how)
                ]
                for bucket in (None, "day", "week", "month")
                for how in (
                    {},
                    {"group_by": "agent"},
                    {"agent_id": "agent-1"},
                    {"since": (NOON - 91 * DAY).replace(hour=0)},
                )
            ),
        ]

    before = told()
    for name in ("90d", "1s"):
        assert persistence.lifecycle.expire(name, pace=1).runs in (13, 1)
        assert told() == before
    assert names(persistence) == []
    assert [total.calls for total in persistence.usage.totals(group_by="session")] == [14]
    assert [total.calls for total in persistence.usage.totals(session_id="s")] == [0]
    assert persistence.runs.totals(run_id="new")[0].runs == 0


def test_a_tree_goes_whole_when_its_last_run_is_old(persistence: Persistence, clock: Hands) -> None:
    record(persistence, "root", days=100)
    record(persistence, "child", days=95, parent_run_id="root")
    record(persistence, "grandchild", days=80, parent_run_id="child")
    record(persistence, "orphan", days=100, parent_run_id="never stored")
    assert persistence.lifecycle.expire("90d", pace=1).runs == 1
    assert names(persistence) == ["child", "grandchild", "root"]
    clock.move(days=11)
    done = persistence.lifecycle.expire("90d", pace=1)
    assert (done.runs, done.trees) == (3, 1)
    assert names(persistence) == []


@pytest.mark.parametrize("state", ["running", "pending"])
def test_a_run_that_is_not_finished_keeps_its_tree(persistence: Persistence, state: str) -> None:
    record(persistence, "root", days=100)
    record(persistence, "child", days=100, parent_run_id="root", status=state, finished_at=None)
    record(persistence, "alone", days=100, status=state)
    done = persistence.lifecycle.expire("0s", pace=1)
    assert (done.runs, done.unfinished) == (0, 2)
    assert names(persistence) == ["alone", "child", "root"]


def test_the_policy_with_most_conditions_decides(persistence: Persistence) -> None:
    for name, values in {
        "plain": {},
        "failed": {"status": "error"},
        "precious": {"agent_id": "auditor"},
        "tagged": {"agent_id": "auditor", "tags": ["scratch"]},
    }.items():
        record(persistence, name, days=100, **values)
    lifecycle = persistence.lifecycle
    lifecycle.set_policy(RetentionPolicy(keep="90d"))
    lifecycle.set_policy(RetentionPolicy("failures", keep="52w", status=("error", "timeout")))
    lifecycle.set_policy(RetentionPolicy("audit", agent_id="auditor"))
    lifecycle.set_policy(
        RetentionPolicy("scratch", keep="1d", agent_id="auditor", tags={"scratch", "tmp"})
    )
    assert lifecycle.expire(pace=1).runs == 2
    assert names(persistence) == ["failed", "precious"]
    assert lifecycle.remove_policy("audit")
    assert not lifecycle.remove_policy("audit")
    lifecycle.expire(pace=1)
    assert names(persistence) == ["failed"]


def test_policies_are_stored(persistence: Persistence) -> None:
    policies = [
        RetentionPolicy(keep=DAY * 90),
        RetentionPolicy("few", max_runs=7, agent_id=["b", "a", "b"], tags="x"),
    ]
    for policy in policies:
        persistence.lifecycle.set_policy(policy)
    assert persistence.lifecycle.policies() == policies
    persistence.lifecycle.set_policy(RetentionPolicy("few", max_runs=8))
    assert persistence.lifecycle.policies()[1].max_runs == 8
    assert [policy.from_dict(policy.to_dict()) for policy in policies] == policies


@pytest.mark.parametrize("kept", [0, 1, 2, 5, 9])
def test_the_newest_runs_are_kept_by_number(persistence: Persistence, kept: int) -> None:
    for age in range(5):
        record(persistence, f"run-{age}", days=age + 1)
        record(persistence, f"child-{age}", days=age + 1, parent_run_id=f"run-{age}")
    record(persistence, "other", days=1, agent_id="other")
    policy = RetentionPolicy(max_runs=kept, agent_id="agent")
    planned = persistence.lifecycle.expire(policies=[policy], dry_run=True)
    assert planned.runs == persistence.lifecycle.expire(policies=[policy], pace=1).runs
    assert names(persistence) == sorted(
        ["other", *(f"{what}-{age}" for age in range(min(kept, 5)) for what in ("run", "child"))]
    )


def test_a_hold_keeps_a_tree_until_it_is_released(persistence: Persistence) -> None:
    record(persistence, "root", days=100)
    record(persistence, "child", days=100, parent_run_id="root")
    record(persistence, "tagged", days=100, tags=["case-7"])
    record(persistence, "free", days=100)
    lifecycle = persistence.lifecycle
    lifecycle.hold("one", run_id="child", reason="see the lawyers")
    lifecycle.hold("other", tag="case-7")
    assert lifecycle.holds() == {
        "one": {"run_ids": ["child"], "tags": [], "reason": "see the lawyers"},
        "other": {"run_ids": [], "tags": ["case-7"], "reason": ""},
    }
    done = lifecycle.expire("90d", pace=1)
    assert (done.runs, done.held) == (1, 2)
    assert names(persistence) == ["child", "root", "tagged"]
    assert lifecycle.release("one")
    assert not lifecycle.release("one")
    lifecycle.expire("90d", pace=1)
    assert names(persistence) == ["tagged"]


@pytest.mark.slow
def test_large_trees_and_many_small_ones_leave_nothing(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiring, "_LARGE_BATCH", expiring.BATCH)
    record(persistence, "large", days=100, events=1_501)
    for number in range(450):
        run = f"child-{number}"
        record(persistence, run, days=100, events=1, parent_run_id="large")
    record(persistence, "kept", days=1)
    done = persistence.lifecycle.expire("90d", pace=1)
    assert (done.trees, done.runs, done.events, done.usage) == (1, 451, 1_951, 451)
    assert names(persistence) == ["kept"]
    assert (persistence.count_events(), persistence.count_llm_usage()) == (2, 1)
    assert persistence._store.count(TOMBSTONES) == 451


def test_what_is_gone_is_not_found_and_what_is_left_is(persistence: Persistence) -> None:
    record(persistence, "old", days=100)
    record(persistence, "new", days=1)
    assert len(persistence.search_text("words")) == 4
    persistence.lifecycle.expire("90d", pace=1)
    found = persistence.search_text("words")
    assert {hit.record.run_id for hit in found} == {"new"}
    assert found.pending == 0
    record(persistence, "newer", days=0.5)
    assert len(persistence.search_text("words")) == 4
    persistence.compact()
    assert len(persistence.search_text("words")) == 4
    assert [check.level for check in persistence.search.check(deep=True)] == ["ok"]


def test_copies_find_tombstones_and_the_audit_log_tells_of_deletions(
    persistence: Persistence,
) -> None:
    record(persistence, "expired", days=100)
    record(persistence, "erased", days=1)
    persistence.lifecycle.expire("90d", pace=1)
    persistence.delete_agent_run("erased")
    stones = TOMBSTONES.decode(persistence._store.select(TOMBSTONES))
    assert [(stone.run_id, stone.reason) for stone in stones] == [
        ("expired", "expired"),
        ("erased", "erased"),
    ]
    entries = list(persistence.audit.iterate(order="oldest"))
    assert [(entry.action, entry.resource) for entry in entries] == [
        ("begin expiry", ""),
        ("expire", ""),
        ("end expiry", ""),
        ("delete", "erased"),
    ]
    details = [entry.get_metadata_dict() for entry in entries]
    assert details[0]["policies"][0]["keep_seconds"] == 7776000
    assert details[1]["run_ids"] == ["expired"]
    assert details[2]["runs_deleted"] == 1
    assert all("@" in entry.actor_id for entry in entries)


def test_two_at_once_do_not_work_side_by_side(persistence: Persistence, clock: Hands) -> None:
    record(persistence, "old", days=100)
    with Settings(persistence._store, Clock(clock)).lease("expire"):
        with pytest.raises(BusyError, match="expire is at work in another program"):
            persistence.lifecycle.expire("90d", pace=1)
        assert persistence.lifecycle.expire("90d", dry_run=True).runs == 1
        clock.move(seconds=31)  # The other one was killed.
        assert persistence.lifecycle.expire("90d", pace=1).runs == 1


def test_a_clock_far_ahead_deletes_nothing(persistence: Persistence, clock: Hands) -> None:
    record(persistence, "run", days=1)
    clock.move(days=4_000)
    for dry_run in (True, False):
        with pytest.raises(UnsupportedError, match="the clock says 2037-11-02, but the newest"):
            persistence.lifecycle.expire("90d", pace=1, dry_run=dry_run)
    assert names(persistence) == ["run"]
    assert persistence.lifecycle.expire("90d", pace=1, check_clock=False).runs == 1


def test_a_run_that_begins_again_meanwhile_is_kept(persistence: Persistence) -> None:
    record(persistence, "first", days=101)
    record(persistence, "again", days=100)

    def resume(done: int, total: int | None) -> None:
        with persistence.record_run(agent_id="agent", run_id="again", resume=True):
            pass
        record(persistence, "late", days=0, parent_run_id="first")

    done = persistence.lifecycle.expire("90d", pace=1, progress=_once(resume))
    assert done.runs == 0
    assert names(persistence) == ["again", "first", "late"]


def _once(call: Any) -> Any:
    calls = [call]

    def progress(done: int, total: int | None) -> None:
        if calls:
            calls.pop()(done, total)

    return progress


@pytest.mark.slow
def test_words_go_before_numbers(persistence: Persistence) -> None:
    record(persistence, "old", days=100, objective="find words", metadata={"note": "words"})
    record(persistence, "middle", days=20, objective="find words", metrics={"words": 3})
    record(persistence, "child", days=20, parent_run_id="middle", events=900)
    record(persistence, "new", days=1)
    persistence.append_event("middle", "agent", "metric", payload={"name": "hits", "value": 7})
    assert len(persistence.search_text("words", limit=None)) > 900
    before = persistence.get_agent_run_stats()
    policy = RetentionPolicy(keep="90d", keep_content="14d")
    assert RetentionPolicy.from_dict(policy.to_dict()) == policy
    persistence.lifecycle.set_policy(policy)
    planned = persistence.lifecycle.expire(dry_run=True)
    done = persistence.lifecycle.expire(pace=1)
    assert (planned.runs, planned.stripped) == (done.runs, done.stripped) == (1, 2)
    assert {hit.record.run_id for hit in persistence.search_text("words", limit=None)} == {"new"}
    run = persistence.get_agent_run("middle")
    assert run is not None
    assert (run.objective, run.status, run.metrics) == ("", "completed", '{"words": 3}')
    payloads = [event.data for event in persistence.get_agent_run_events("middle")]
    assert payloads == [None, None, None]
    assert [point.value for point in persistence.query_metrics("hits")] == [7]
    assert persistence.get_agent_run_stats() | {"latency_percentiles": None} == before | {
        "latency_percentiles": None
    }
    assert [check.level for check in persistence.search.check(deep=True)] == ["ok"]
    assert persistence.lifecycle.expire(pace=1).stripped == 0
    run.objective = "words again"
    persistence.update_agent_run("middle", run)
    assert persistence.lifecycle.expire(pace=1).stripped == 2


def test_expired_runs_are_not_brought_back_by_copies_and_imports(
    persistence: Persistence, tmp_path: Path
) -> None:
    with InMemoryPersistence(clock=persistence.clock) as source:
        record(source, "old", days=100)
        record(source, "new", days=1)
        export_records(source, tmp_path / "all.jsonl")
        for _ in range(3):
            copy_records(source, persistence)
            persistence.lifecycle.expire("90d", pace=1)
            import_records(tmp_path / "all.jsonl", persistence)
            assert names(persistence) == ["new"]
            assert persistence.get_agent_run_stats()["total_runs"] == 2
            assert persistence.get_agent_run_stats()["total_llm_calls"] == 2
        record(persistence, "old", days=100)  # The agent itself stores it again.
        copy_records(source, persistence)
        assert names(persistence) == ["new", "old"]


def test_policies_of_one_name_count_apart(persistence: Persistence) -> None:
    for age in range(1, 5):
        record(persistence, f"x{age}", days=age, agent_id="x")
        record(persistence, f"y{age}", days=age, agent_id="y")
    policies = [
        RetentionPolicy(max_runs=3, agent_id="x"),
        RetentionPolicy(max_runs=1, agent_id="y"),
    ]
    persistence.lifecycle.expire(policies=policies, pace=1)
    assert names(persistence) == ["x1", "x2", "x3", "y1"]


def test_of_equal_policies_each_keeps_its_runs(persistence: Persistence) -> None:
    for days in (1, 20, 400):
        record(persistence, f"{days}", days=days)
    policies = [RetentionPolicy("age", keep="52w"), RetentionPolicy("few", max_runs=1)]
    persistence.lifecycle.expire(policies=policies, pace=1)
    assert names(persistence) == ["1", "20"]


def test_only_finished_runs_that_a_policy_decides_about_are_counted(
    persistence: Persistence,
) -> None:
    for age in range(1, 4):
        record(persistence, f"audit-{age}", days=age, agent_id="audit")
        record(persistence, f"running-{age}", days=age, status="running", finished_at=None)
        record(persistence, f"plain-{age}", days=10 + age)
    record(persistence, "orphan", days=20, parent_run_id="never stored")
    policies = [RetentionPolicy(max_runs=2), RetentionPolicy("audit", agent_id="audit")]
    persistence.lifecycle.expire(policies=policies, pace=1)
    assert [name for name in names(persistence) if name[:2] in ("pl", "or")] == [
        "plain-1",
        "plain-2",
    ]


def test_a_hold_made_meanwhile_is_heeded(persistence: Persistence) -> None:
    record(persistence, "first", days=101)
    record(persistence, "second", days=100, tags=["case"])

    def hold(done: int, total: int | None) -> None:
        persistence.lifecycle.hold("case", run_id="first")
        persistence.lifecycle.hold("case", tag="case", reason="counsel")

    assert persistence.lifecycle.expire("90d", pace=1, progress=_once(hold)).runs == 0
    assert names(persistence) == ["first", "second"]
    assert persistence.lifecycle.holds() == {
        "case": {"run_ids": ["first"], "tags": ["case"], "reason": "counsel"}
    }


def test_one_record_after_a_jump_of_the_clock_does_not_hide_it(
    persistence: Persistence, clock: Hands
) -> None:
    record(persistence, "run", days=1)
    persistence.append_event("run", "agent", "log", timestamp=datetime(2099, 1, 1, tzinfo=UTC))
    clock.move(days=4_000)
    persistence.create_agent_run(AgentRun("agent", "after the jump"))
    with pytest.raises(UnsupportedError, match="the clock says 2037"):
        persistence.lifecycle.expire("90d", pace=1)
    assert "run" in names(persistence)


def test_numbers_beyond_64_bits_do_not_stop_an_expiry(persistence: Persistence) -> None:
    record(persistence, "old", days=100)
    for _ in range(2):
        persistence.log_llm_usage(
            AgentLLMUsage("agent", "old", input_tokens=2**62, latency_ms=1_700_000_000_000_000_000)
        )
    assert persistence.lifecycle.expire("90d", pace=1).runs == 1
    assert persistence.get_agent_run_stats()["total_llm_calls"] == 3


def test_model_calls_without_a_run_go_by_their_age(persistence: Persistence) -> None:
    for name, days in (("a", 100), ("b", 100), ("a", 1)):
        persistence.log_llm_usage(
            AgentLLMUsage(name, None, model="m", cost_usd=1, created_at=NOON - DAY * days)
        )
    persistence.log_llm_usage(
        AgentLLMUsage(None, None, model="m", cost_usd=1, created_at=NOON - DAY * 100)
    )
    before = [*map(repr, persistence.usage.totals(group_by=("agent", "day")))]
    policies = [RetentionPolicy(keep="90d"), RetentionPolicy("b", agent_id="b")]
    assert persistence.lifecycle.expire(policies=policies, dry_run=True).usage == 2
    assert persistence.lifecycle.expire(policies=policies, pace=1).usage == 2
    assert persistence.count_llm_usage() == 2
    assert [*map(repr, persistence.usage.totals(group_by=("agent", "day")))] == before


def test_an_interrupted_removal_of_content_is_completed(persistence: Persistence) -> None:
    record(persistence, "root", days=20, objective="words")
    for number in range(5):
        record(persistence, f"child-{number}", days=20, parent_run_id="root", objective="words")
    policies = [RetentionPolicy(keep_content="14d")]
    left = iter(range(9))
    strip = Stripping._strip_rows

    def stop(self: Any, *arguments: Any) -> Any:
        if next(left, None) is None:
            raise ZeroDivisionError
        return strip(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stripping, "_strip_rows", stop)
        with pytest.raises(ZeroDivisionError):
            persistence.lifecycle.expire(policies=policies, pace=1)
    assert persistence.lifecycle.expire(policies=policies, pace=1).stripped == 6
    assert {run.objective for run in persistence.iter_agent_runs()} == {""}
    record(persistence, "late", days=20, parent_run_id="root", objective="words")
    assert persistence.lifecycle.expire(policies=policies, pace=1).stripped == 7
    assert {run.objective for run in persistence.iter_agent_runs()} == {""}


def test_a_newer_value_is_not_replaced_by_a_stripped_one(persistence: Persistence) -> None:
    record(persistence, "run", days=20, objective="words", metrics={"n": 1})
    with pytest.MonkeyPatch.context() as patch:
        as_read = Stripping._as_read

        def patch_first(self: Any, table: Any, rows: Any) -> Any:
            if table.name == "agent_runs":
                persistence.runs.patch("run", metrics={"n": 2})
            return as_read(self, table, rows)

        patch.setattr(Stripping, "_as_read", patch_first)
        persistence.lifecycle.expire(policies=[RetentionPolicy(keep_content="14d")], pace=1)
    run = persistence.get_agent_run("run")
    assert run is not None
    assert run.metrics == '{"n": 2}'
    assert run.objective == "words"
    persistence.lifecycle.expire(policies=[RetentionPolicy(keep_content="14d")], pace=1)
    run = persistence.get_agent_run("run")
    assert run is not None
    assert (run.objective, run.metrics) == ("", '{"n": 2}')


def test_comments_arguments_and_states_are_content(persistence: Persistence) -> None:
    record(persistence, "run", days=20)
    persistence.scores.set("run", "helpful", 0.5, comment="words")
    asked = persistence.approvals.request("run", "delete", "words", metadata="words")
    persistence.snapshots.save("run", "one", "words")
    persistence.lifecycle.expire(policies=[RetentionPolicy(keep_content="14d")], pace=1)
    [score] = persistence.scores.list("run")
    assert (score.value, score.comment) == (0.5, None)
    [ticket] = persistence.approvals.list("run")
    assert (ticket.arguments, ticket.metadata) == (None, None)
    assert ticket.arguments_hash == asked.arguments_hash
    latest = persistence.snapshots.latest("run")
    assert latest is not None
    assert (latest.step_id, latest.state) == ("one", None)


def test_an_interrupted_expiry_is_in_the_audit_log(persistence: Persistence) -> None:
    record(persistence, "old", days=100)

    def stop(done: int, total: int | None) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        persistence.lifecycle.expire("90d", pace=1, progress=stop)
    [entry] = persistence.audit.query()
    assert entry.action == "begin expiry"
    assert "keep_seconds" in str(entry.metadata)


def test_rounds_follow_each_other_until_they_are_stopped(
    persistence: Persistence, clock: Hands
) -> None:
    record(persistence, "old", days=100)
    record(persistence, "new", days=1)
    outcomes: list[Any] = []
    stop = Event()

    def on_round(outcome: Any) -> None:
        outcomes.append(outcome)
        if len(outcomes) == 1:
            clock.move(days=4_000)  # The next round refuses this clock.
        if len(outcomes) == 2:
            clock.put(NOON)
        if len(outcomes) == 3:
            stop.set()

    persistence.lifecycle.run_forever(
        timedelta(milliseconds=1),
        default=RetentionPolicy(keep="90d"),
        pace=1,
        stop=stop,
        on_round=on_round,
    )
    assert [getattr(outcome, "runs", None) for outcome in outcomes] == [1, None, 0]
    assert isinstance(outcomes[1], UnsupportedError)
    with pytest.raises(InvalidValueError, match="every"):
        persistence.lifecycle.run_forever("0s")


def test_the_check_tells_when_runs_last_expired(persistence: Persistence, clock: Hands) -> None:
    def told() -> tuple[str, str]:
        check = persistence.diagnose()[-1]
        assert check.name == "retention"
        return check.level, check.message

    assert told() == ("ok", "no policy is stored: runs are kept for ever")
    record(persistence, "old", days=100)
    persistence.lifecycle.set_policy(RetentionPolicy(keep="90d"))
    assert told() == ("warning", "1 policies, but none was used")
    persistence.lifecycle.expire(pace=1)
    expected = "1 policies; 1 runs expired on 2026-11-20 12:00 UTC"
    assert told() == ("ok", expected)
    clock.move(days=8)
    assert told() == ("warning", expected)


def test_without_a_policy_nothing_expires(persistence: Persistence) -> None:
    record(persistence, "old", days=4_000)
    done = persistence.lifecycle.expire(pace=1)
    assert (done.runs, done.cutoff) == (0, None)
    persistence.lifecycle.set_policy(RetentionPolicy())
    assert persistence.lifecycle.expire(pace=1).runs == 0


@pytest.mark.before_io
@pytest.mark.parametrize(
    "arguments",
    [
        {"older_than": "soon"},
        {"older_than": -DAY},
        {"older_than": 90},
        {"older_than": "1d", "policies": []},
        {"policies": [{"keep": "1d"}]},
        {"policies": RetentionPolicy(max_runs=0).to_dict()},
        {"older_than": "1d", "pace": 0},
        {"older_than": "1d", "pace": 1.5},
        {"older_than": "1d", "pace": True},
        {"older_than": "1d", "progress": 1},
    ],
    ids=str,
)
def test_odd_arguments_are_refused(persistence: Persistence, arguments: dict[str, Any]) -> None:
    record(persistence, "old", days=4_000)
    with pytest.raises(InvalidValueError):
        persistence.lifecycle.expire(**arguments)
    assert names(persistence) == ["old"]


@pytest.mark.before_io
@pytest.mark.parametrize(
    "policy",
    [
        {"name": ""},
        {"keep": "for ever"},
        {"keep": -1},
        {"max_runs": -1},
        {"max_runs": "many"},
        {"keep_content": "soon"},
        {"status": "running"},
        {"agent_id": 7},
        {"tags": [""]},
    ],
    ids=str,
)
def test_odd_policies_are_refused(persistence: Persistence, policy: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError):
        RetentionPolicy(**policy)


@pytest.mark.before_io
def test_a_hold_is_of_a_run_or_a_tag(persistence: Persistence) -> None:
    odd: tuple[dict[str, Any], ...] = (
        {},
        {"run_id": "a", "tag": "b"},
        {"tag": ""},
        {"run_id": ""},
        {"run_id": "a", "reason": None},
        {"run_id": "a", "reason": NOON},
    )
    for what in odd:
        with pytest.raises(InvalidValueError):
            persistence.lifecycle.hold("odd", **what)
    with pytest.raises(InvalidValueError, match="A policy is a RetentionPolicy"):
        persistence.lifecycle.set_policy({"keep": "90d"})  # type: ignore[arg-type]
