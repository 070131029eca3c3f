"""Sessions: the runs of one conversation, counted from what is stored of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    ConflictError,
    InMemoryPersistence,
    InvalidValueError,
    NotFoundError,
    Persistence,
    Session,
    copy_records,
    export_records,
    import_records,
)
from curio_persistence.testing.rows import undone
from tests.support.hands import Hands


def session(persistence: Persistence, session_id: str = "s1") -> Session:
    found = persistence.sessions.get(session_id)
    assert found is not None
    return found


def record(persistence: Persistence, run_id: str, session_id: str | None = "s1") -> AgentRun:
    run = AgentRun("planner", run_id, "Planner", session_id=session_id, user_id="ann")
    persistence.create_agent_run(run)
    return run


def call(run_id: str, **given: Any) -> AgentLLMUsage:
    return AgentLLMUsage("planner", run_id, input_tokens=10, output_tokens=2, **given)


def test_the_first_run_of_a_session_makes_it(persistence: Persistence, clock: Hands) -> None:
    run = record(persistence, "r1")
    found = session(persistence)
    assert (found.session_id, found.agent_id, found.agent_name) == ("s1", "planner", "Planner")
    assert (found.user_id, found.status, found.ended_at) == ("ann", "active", None)
    assert found.started_at == found.last_event_at == found.created_at == run.created_at
    assert (found.updated_at, found.tags, found.metadata, found.runs) == (None, None, None, 1)
    assert isinstance(Session.from_dict(found.to_dict()), Session)
    assert Session.from_dict(found.to_dict()) == found


def test_a_run_without_a_session_makes_none(persistence: Persistence) -> None:
    record(persistence, "r1", None)
    assert persistence.sessions.count() == 0
    assert persistence.sessions.get("s1") is None


def test_later_runs_move_its_times_and_leave_the_rest(
    persistence: Persistence, clock: Hands
) -> None:
    first = record(persistence, "r1")
    clock.move(minutes=1)
    second = AgentRun("editor", "r2", session_id="s1", user_id="bob")
    persistence.create_agent_run(second)
    found = session(persistence)
    assert (found.agent_id, found.user_id, found.runs) == ("planner", "ann", 2)
    assert (found.started_at, found.last_event_at) == (first.created_at, second.created_at)
    clock.move(minutes=1)
    second.status, second.finished_at = "completed", clock()
    persistence.update_agent_run("r2", second)
    assert session(persistence).last_event_at == second.finished_at


def test_an_earlier_run_that_comes_late_moves_the_beginning(
    persistence: Persistence, clock: Hands
) -> None:
    record(persistence, "r1")
    early = clock() - timedelta(days=2)
    persistence.create_agent_run(
        AgentRun("planner", "r0", session_id="s1", started_at=early, created_at=early)
    )
    assert session(persistence).started_at == early


@pytest.mark.parametrize("way", ["create_many", "stub", "filled", "moved", "buffered", "recorded"])
def test_however_a_run_is_stored_its_session_is_made(persistence: Persistence, way: str) -> None:
    run = AgentRun("planner", "r1", session_id="s1")
    event = AgentRunEvent("planner", "r1", event_type="custom")
    match way:
        case "create_many":
            persistence.create_agent_runs([run])
        case "stub":
            event.session_id = "s1"
            persistence.log_agent_run_event(event)
        case "filled":
            persistence.log_agent_run_event(event)
            persistence.create_agent_run(run)
        case "moved":
            record(persistence, "r1", "another")
            persistence.update_agent_run("r1", run)
        case "buffered":
            with persistence.buffered() as queue:
                queue.create_agent_run(run)
                queue.flush()
                assert queue.sessions.get("s1") is not None
            return
        case "recorded":
            with persistence.record_run(agent_id="planner", session_id="s1") as outer:
                outer.log("custom")
                with persistence.record_run(agent_id="editor"):
                    pass
            assert session(persistence).runs == 2
            assert persistence.agents.count() == 2
            return
    assert session(persistence).runs == 1
    assert persistence.agents.get("planner") is not None


def test_the_first_run_of_a_batch_is_the_one_that_was_given_first(
    persistence: Persistence, clock: Hands
) -> None:
    now = clock()
    early, late = now - timedelta(days=1), now + timedelta(seconds=30)
    persistence.create_agent_runs(
        [
            AgentRun("writer", "r9", "Zoe", session_id="s1", user_id="zoe", created_at=now),
            AgentRun("planner", "r5", session_id="s1", started_at=early, created_at=now),
            AgentRun("writer", "r1", "Ann", session_id="s1", user_id="ann", created_at=late),
        ]
    )
    found = session(persistence)
    assert (found.agent_id, found.agent_name, found.user_id) == ("writer", "Zoe", "zoe")
    assert (found.started_at, found.last_event_at) == (early, late)
    agents = [(each.agent_id, each.name, each.last_seen_at) for each in persistence.agents.query()]
    assert agents == [("writer", "Zoe", late), ("planner", "", now)]


def test_a_run_and_its_session_are_stored_together_or_not_at_all(persistence: Persistence) -> None:
    with undone(persistence._store):
        record(persistence, "r1")
        assert session(persistence).runs == 1
    assert persistence.sessions.count() == persistence.agents.count() == 0
    record(persistence, "r1")
    with pytest.raises(ConflictError):
        record(persistence, "r1", "s2")
    assert [each.session_id for each in persistence.sessions.query()] == ["s1"]


def test_counters_are_those_of_what_is_stored(persistence: Persistence) -> None:
    def send() -> None:
        for run_id in ("r1", "r2"):
            if persistence.get_agent_run(run_id) is None:
                record(persistence, run_id)
        persistence.log_agent_run_events(
            [
                AgentRunEvent("planner", "r1", event_id="a", event_type="log"),
                AgentRunEvent(
                    "planner", "r1", event_id="b", event_type="tool_call", data={"tool_name": "x"}
                ),
                AgentRunEvent(
                    "planner",
                    "r2",
                    event_id="c",
                    event_type="tool_call",
                    level="error",
                    data={"tool_name": "x", "error": "no"},
                ),
                AgentRunEvent(
                    "planner",
                    "r2",
                    event_id="d",
                    event_type="tool_call",
                    data={"tool_name": "x", "error": "no"},
                ),
                AgentRunEvent("planner", "r2", event_id="e", level="critical"),
                AgentRunEvent("planner", "r2", event_id="f", level="warning", session_id="another"),
            ]
        )
        persistence.log_llm_usages(
            [
                call("r1", event_id="g", cost_usd=Decimal("0.1")),
                call("r1", event_id="h", cost_usd=Decimal("0.2")),
                call("r2", event_id="i", status="error"),
            ]
        )

    for _ in range(3):
        send()
    found = session(persistence)
    assert (found.runs, found.events, found.model_calls, found.tool_calls) == (2, 6, 3, 3)
    assert found.errors == 4  # Two failed tools, a critical event and a failed model call.
    assert (found.input_tokens, found.output_tokens) == (30, 6)
    assert (found.cost_usd, found.unpriced) == (Decimal("0.3"), 1)
    assert persistence.sessions.count() == 1


def test_an_unknown_cost_is_not_zero(persistence: Persistence) -> None:
    record(persistence, "r1")
    assert (session(persistence).cost_usd, session(persistence).unpriced) == (0, 0)
    persistence.log_llm_usage(call("r1"))
    assert (session(persistence).cost_usd, session(persistence).unpriced) == (None, 1)


def test_a_page_has_the_counters_of_each_session(persistence: Persistence, clock: Hands) -> None:
    for number in range(7):
        clock.move(seconds=1)
        for run in range(number):
            record(persistence, f"r{number}-{run}", f"s{number}")
            persistence.log_llm_usage(call(f"r{number}-{run}", cost_usd=1))
    page = persistence.sessions.query(limit=4)
    rest = persistence.sessions.query(limit=4, cursor=page.next_cursor)
    assert [each.session_id for each in (*page, *rest)] == [f"s{n}" for n in range(6, 0, -1)]
    assert [each.runs for each in (*page, *rest)] == [6, 5, 4, 3, 2, 1]
    assert [each.cost_usd for each in rest] == [2, 1]
    assert rest.next_cursor is None
    assert list(persistence.sessions.iterate()) == [*page, *rest]
    assert list(persistence.sessions.iterate(order="oldest")) == [*page, *rest][::-1]
    frame = persistence.sessions.query().to_pandas()
    assert frame["runs"].tolist() == [6, 5, 4, 3, 2, 1]
    assert persistence.sessions.iterate().to_arrow().num_rows == 6
    assert persistence.sessions.query(limit=0).to_dicts() == []


def test_a_caller_creates_a_session_before_its_runs(persistence: Persistence, clock: Hands) -> None:
    made = persistence.sessions.create(
        "s1", agent_id="planner", user_id="ann", tags=["eu", "beta"], metadata={"plan": "pro"}
    )
    assert (made.runs, made.events, made.cost_usd, made.status) == (0, 0, 0, "active")
    assert (made.tags, made.get_metadata_dict()) == (["eu", "beta"], {"plan": "pro"})
    assert made.started_at == made.created_at == made.updated_at == made.last_event_at
    clock.move(minutes=1)
    record(persistence, "r1")
    found = session(persistence)
    assert (found.runs, found.tags, found.started_at) == (1, ["eu", "beta"], made.started_at)
    with pytest.raises(ConflictError, match="s1"):
        persistence.sessions.create("s1")


def test_a_caller_describes_a_session_that_its_runs_made(
    persistence: Persistence, clock: Hands
) -> None:
    run = record(persistence, "r1")
    clock.move(minutes=1)
    found = persistence.sessions.create("s1", tags=["eu"])
    assert (found.agent_id, found.user_id, found.tags) == ("planner", "ann", ["eu"])
    assert (found.started_at, found.created_at) == (run.created_at, run.created_at)
    assert found.updated_at == clock()


def test_a_session_is_changed_ended_and_opened_again(
    persistence: Persistence, clock: Hands
) -> None:
    record(persistence, "r1")
    found = persistence.sessions.update("s1", tags=["eu"], metadata={"n": 1}, user_id="bob")
    assert (found.tags, found.user_id, found.metadata) == (["eu"], "bob", '{"n": 1}')
    clock.move(minutes=1)
    found = persistence.sessions.end("s1")
    assert (found.status, found.ended_at, found.tags) == ("completed", clock(), ["eu"])
    record(persistence, "r2")
    assert (session(persistence).status, session(persistence).runs) == ("completed", 2)
    found = persistence.sessions.end("s1", "error", ended_at=clock() - timedelta(seconds=5))
    assert (found.status, found.ended_at) == ("error", clock() - timedelta(seconds=5))
    found = persistence.sessions.update("s1", status="active")
    assert (found.status, found.ended_at) == ("active", None)


def test_an_active_session_is_idle_when_nothing_came_for_a_while(
    persistence: Persistence, clock: Hands
) -> None:
    def states() -> dict[str, set[str]]:
        wanted: tuple[Any, ...] = ("active", "idle", "completed", ["active", "completed"])
        return {
            str(status): {each.session_id for each in persistence.sessions.query(status=status)}
            for status in (*wanted, ["idle", "completed"], ["active", "idle"])
        }

    for session_id in ("silent", "event", "call", "run", "end", "ended"):
        record(persistence, f"of {session_id}", session_id)
    persistence.sessions.end("ended")
    clock.move(minutes=31)
    assert session(persistence, "silent").status == "idle"
    assert states()["idle"] == {"silent", "event", "call", "run", "end"}
    assert states()["['idle', 'completed']"] == {*states()["idle"], "ended"}
    persistence.append_event("of event", "planner", "custom")
    persistence.log_llm_usage(call("of call"))
    record(persistence, "another", "run")
    persistence.runs.patch("of end", status="completed", finished_at=clock())
    assert states() == {
        "active": {"event", "call", "run", "end"},
        "idle": {"silent"},
        "completed": {"ended"},
        "['active', 'completed']": {"event", "call", "run", "end", "ended"},
        "['idle', 'completed']": {"silent", "ended"},
        "['active', 'idle']": {"silent", "event", "call", "run", "end"},
    }
    for found in persistence.sessions.query():
        expected = {"silent": "idle", "ended": "completed"}.get(found.session_id, "active")
        assert found.status == expected
    assert session(persistence, "event").last_event_at == clock()
    assert persistence.sessions.count(status="idle", idle_after="1h") == 0
    assert persistence.sessions.count(status="idle", idle_after=timedelta(minutes=1)) == 1
    silent = persistence.sessions.get("silent", idle_after="32m")
    assert silent is not None
    assert silent.status == "active"
    page = persistence.sessions.query(status="active", limit=3)
    clock.move(seconds=1)
    assert len(persistence.sessions.query(status="active", cursor=page.next_cursor)) == 1


def test_sessions_are_found_by_every_filter(persistence: Persistence, clock: Hands) -> None:
    persistence.sessions.create("s1", agent_id="a", user_id="u", tags=["x", "y"], metadata={"n": 1})
    clock.move(hours=2)
    persistence.sessions.create("s2", agent_id="b", tags=["y"])
    record(persistence, "r3", "s3")
    for filters, expected in (
        ({}, "s1 s2 s3"),
        ({"session_id": "s1"}, "s1"),
        ({"session_id": ["s1", "s3"]}, "s1 s3"),
        ({"agent_id": "b"}, "s2"),
        ({"agent_id": ["a", "b"]}, "s1 s2"),
        ({"user_id": "ann"}, "s3"),
        ({"run_id": "r3"}, "s3"),
        ({"tags": "y"}, "s1 s2"),
        ({"tags": ["x", "y"]}, "s1"),
        ({"any_tags": ["x", "z"]}, "s1"),
        ({"metadata": {"n": 1}}, "s1"),
        ({"since": "1h"}, "s2 s3"),
        ({"until": "1h"}, "s1"),
        ({"status": "completed"}, ""),
    ):
        wanted: dict[str, Any] = {**filters}
        found = sorted(each.session_id for each in persistence.sessions.query(**wanted))
        assert found == expected.split(), filters
        assert persistence.sessions.count(**wanted) == len(found)


@pytest.mark.before_io
@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda s: s.get(None), "session_id"),
        (lambda s: s.get(""), "session_id"),
        (lambda s: s.create("s\0"), "session_id"),
        (lambda s: s.create("s", tags="eu"), "AgentSession.tags"),
        (lambda s: s.create("s", started_at="now"), "AgentSession.started_at"),
        (lambda s: s.update("s", status="idle"), "AgentSession.status"),
        (lambda s: s.end("s", "done"), "AgentSession.status"),
        (lambda s: s.end("s", "active"), "status"),
        (lambda s: s.query(status="done"), "AgentSession.status"),
        (lambda s: s.count(status=["active", 3]), "AgentSession.status"),
        (lambda s: s.get("s", idle_after="soon"), "idle_after"),
        (lambda s: s.query(idle_after=timedelta(-1)), "idle_after"),
    ],
)
def test_an_invalid_value_is_refused(persistence: Persistence, call: Any, field: str) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        call(persistence.sessions)
    assert refusal.value.field == field


def test_an_unknown_session_is_not_found(persistence: Persistence) -> None:
    assert persistence.sessions.get("s1") is None
    assert persistence.sessions.delete("s1") is False
    for change in (persistence.sessions.update, persistence.sessions.end):
        with pytest.raises(NotFoundError, match="no session 's1'"):
            change("s1")


def test_a_session_is_deleted_with_its_runs(persistence: Persistence) -> None:
    record(persistence, "r1")
    record(persistence, "r2", "s2")
    persistence.append_event("r1", "planner", "custom")
    persistence.log_llm_usage(call("r1", cost_usd=1))
    assert persistence.sessions.delete("s1") is True
    assert persistence.sessions.get("s1") is None
    assert persistence.get_agent_run("r1") is None
    assert persistence.count_events() == 0
    assert [each.run_id for each in persistence.get_llm_usage()] == [None]
    assert persistence.sessions.count() == 1
    record(persistence, "r1")
    assert (session(persistence).runs, session(persistence).model_calls) == (1, 0)


def test_a_session_outlives_a_run_that_is_deleted(persistence: Persistence) -> None:
    record(persistence, "r1")
    assert persistence.delete_agent_run("r1")
    assert session(persistence).runs == 0


def test_a_session_expires_with_its_last_run(persistence: Persistence, clock: Hands) -> None:
    persistence.sessions.create("empty")
    for run_id, session_id in (("r1", "s1"), ("r2", "s1"), ("r3", "s2")):
        run = record(persistence, run_id, session_id)
        run.status, run.finished_at = "completed", clock()
        if run_id != "r2":
            persistence.update_agent_run(run_id, run)
    clock.move(days=2)
    assert persistence.lifecycle.expire("1d", dry_run=True).sessions == 1
    report = persistence.lifecycle.expire("1d", check_clock=False)
    assert (report.runs, report.sessions) == (2, 1)
    assert {each.session_id for each in persistence.sessions.query()} == {"s1", "empty"}
    assert {each.agent_id for each in persistence.agents.query()} == {"planner"}


def test_a_copy_brings_sessions_and_what_callers_said_of_them(
    persistence: Persistence, clock: Hands
) -> None:
    record(persistence, "r1")
    with InMemoryPersistence() as copy:
        report = copy_records(persistence, copy)
        assert (report.ok, report.new_sessions, report.new_agents) == (True, 1, 1)
        clock.move(seconds=1)
        persistence.sessions.update("s1", tags=["eu"], metadata="says \0 this")
        persistence.agents.update("planner", description="Plans.")
        report = copy_records(persistence, copy)
        assert (report.new_sessions, report.new_agents) == (1, 1)
        for name in ("sessions", "agents"):
            stored = list(getattr(persistence, name).iterate())
            assert list(getattr(copy, name).iterate()) == stored
        assert copy_records(persistence, copy).new_sessions == 0


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet", "arrow"])
def test_an_export_brings_sessions(persistence: Persistence, format: str, tmp_path: Path) -> None:
    persistence.sessions.create("s1", tags=["eu", "é"], metadata={"a": "b\r\nc"})
    record(persistence, "r1")
    record(persistence, "r2", "s2")
    path = tmp_path / f"export.{format}"
    exported = export_records(persistence, path)
    assert (exported.sessions, exported.agents) == (2, 1)
    with InMemoryPersistence() as copy:
        report = import_records(path, copy)
        assert (report.ok, report.sessions, report.agents) == (True, 2, 1)
        assert import_records(path, copy).sessions == 0
        stored = [each.to_dict() | {"id": 0} for each in persistence.sessions.iterate()]
        assert [each.to_dict() | {"id": 0} for each in copy.sessions.iterate()] == stored


def test_an_export_of_some_runs_has_their_sessions_and_agents(
    persistence: Persistence, clock: Hands, tmp_path: Path
) -> None:
    record(persistence, "r1")
    clock.move(days=1)
    record(persistence, "r2")
    persistence.create_agent_run(AgentRun("editor", "r3", session_id="s2"))
    report = export_records(persistence, tmp_path / "one.jsonl", run_id="r2")
    assert (report.runs, report.sessions, report.agents) == (1, 1, 1)
    report = export_records(persistence, tmp_path / "since.jsonl", since="1h")
    assert (report.runs, report.sessions, report.agents) == (2, 2, 2)


def test_a_redactor_sees_what_callers_say() -> None:
    with InMemoryPersistence(redactor="emails") as careful:
        careful.sessions.create("s1", metadata={"who": "ann@example.com"})
        careful.sessions.update("s1", metadata={"who": "bob@example.com"})
        careful.agents.create("a", description="asks ann@example.com")
        assert "example.com" not in str([careful.sessions.query(), careful.agents.query()])
        assert "example.com" not in str([*careful.sessions.query(), *careful.agents.query()])


def test_an_agent_is_known_from_its_first_run_on(persistence: Persistence, clock: Hands) -> None:
    first = record(persistence, "r1")
    clock.move(minutes=1)
    second = record(persistence, "r2")
    [agent] = persistence.agents.query()
    assert (agent.agent_id, agent.name, agent.description) == ("planner", "Planner", None)
    assert (agent.first_seen_at, agent.last_seen_at) == (first.created_at, second.created_at)
    agent = persistence.agents.update("planner", name="The planner", description="Plans.")
    assert (agent.name, agent.description, agent.updated_at) == (
        "The planner",
        "Plans.",
        clock(),
    )
    record(persistence, "r3")
    assert persistence.agents.get("planner") == agent
    with pytest.raises(NotFoundError, match="no agent 'nobody'"):
        persistence.agents.update("nobody", name="x")


def test_the_agent_that_was_seen_last_comes_first(persistence: Persistence, clock: Hands) -> None:
    for number, agent_id in enumerate(("a", "b", "c", "a")):
        clock.move(minutes=1)
        persistence.create_agent_run(
            AgentRun(agent_id, f"r{number}", session_id=f"s{agent_id}", user_id="ann")
        )
    assert [agent.agent_id for agent in persistence.agents.query()] == ["a", "c", "b"]
    assert [agent.agent_id for agent in persistence.agents.iterate(order="oldest")] == [*"bca"]
    assert persistence.agents.count(session_id="sb") == 1
    assert persistence.agents.count(run_id=["r0", "r3"]) == 1
    assert persistence.agents.count(user_id="ann", agent_id=["b", "c"]) == 2
    assert persistence.agents.count(since="90s") == 2


def test_the_times_of_an_agent_are_written_once_in_ten_seconds(
    persistence: Persistence, clock: Hands
) -> None:
    """So that the runs of a busy agent do not change its row, each after the other."""
    clock.put(datetime.fromisoformat("2026-11-20T10:30:01+00:00"))
    record(persistence, "r1")
    clock.move(seconds=8)
    record(persistence, "r2")
    [agent] = persistence.agents.query()
    assert agent.last_seen_at == agent.first_seen_at
    clock.move(seconds=1)
    record(persistence, "r3")
    [agent] = persistence.agents.query()
    assert agent.last_seen_at == clock()


@pytest.mark.parametrize("session_id", ["it's", 'a"; DROP TABLE x', "%s", "é\n☃", "s" * 255])
def test_ids_may_have_odd_characters(persistence: Persistence, session_id: str) -> None:
    record(persistence, "r1", session_id)
    assert session(persistence, session_id).runs == 1
    assert persistence.sessions.count(session_id=[session_id, "another"]) == 1
    assert len(persistence.sessions.timeline(session_id)) == 1
    assert persistence.sessions.delete(session_id) is True


def test_threads_that_begin_runs_of_one_session_make_it_once(persistence: Persistence) -> None:
    def begin(number: int) -> None:
        with persistence.transaction():
            record(persistence, f"r{number}")
            record(persistence, f"x{number}", f"s{number % 3}")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(begin, range(24)))
    assert session(persistence).runs + session(persistence, "s0").runs == 24 + 16
    assert (persistence.sessions.count(), persistence.agents.count()) == (3, 1)
