"""Run logs: the numbered entries of sessions, and what is stored with them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AccessDeniedError,
    AgentRun,
    AgentRunEvent,
    ConflictError,
    InMemoryPersistence,
    InvalidValueError,
    Persistence,
    copy_records,
    export_records,
    import_records,
)
from curio_persistence.runlog.entries import (
    ContextAssembled,
    ContextStepsHidden,
    GoalMilestonesUpdated,
    LLMCallCompleted,
    RunFailed,
    RunFinished,
    RunLogEntry,
    RunRolledBack,
    RunStarted,
    UnknownEntry,
    register,
)
from curio_persistence.runlog.values import ContentPart, ContentType, Milestone, StepMetrics
from tests.support.entries import assistant, made, tool, user
from tests.support.threads import all_at_once

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
Open = Callable[..., Persistence]


def seqs(persistence: Persistence, session_id: str = "chat", **filters: Any) -> list[int]:
    return [entry.sequence for entry in persistence.runlog.entries(session_id, **filters)]


@pytest.fixture
def told(persistence: Persistence) -> Persistence:
    """A session of two runs, of two agents."""
    persistence.runlog.append(
        "chat",
        [
            made(RunStarted, user_input="Where is Lyon?"),
            user("u1", "Where is Lyon?"),
            tool("t1"),
            assistant("a1", "In France."),
            made(RunStarted, "second", "writer", user_input="Really?"),
            user("u2", "Really?", run_id="second", agent_id="writer"),
            made(RunFinished, response="In France."),
        ],
    )
    return persistence


# --- sequences --------------------------------------------------------------------------------


def test_entries_are_numbered_from_one_in_each_session(persistence: Persistence) -> None:
    log = persistence.runlog
    assert log.append("chat", [user("u1"), assistant("a1")]) == [1, 2]
    assert log.append("other", [user("u1")]) == [1]
    assert log.append("chat", (user(name) for name in "xyz")) == [3, 4, 5]
    assert log.append("chat", []) == []
    assert (log.max_sequence("chat"), log.max_sequence("none")) == (5, 0)
    assert seqs(persistence) == [1, 2, 3, 4, 5]


def test_what_is_appended_is_read_back(persistence: Persistence) -> None:
    entry = tool("t1", [{"type": "text", "text": "\0\ud800"}], created_at=NOON, is_error=True)
    persistence.runlog.append("chat", [entry])
    [read] = persistence.runlog.entries("chat")
    assert read == tool(
        "t1", entry.content, created_at=NOON, is_error=True, sequence=1, session_id="chat"
    )


def test_sequences_can_be_allocated_before(persistence: Persistence) -> None:
    log = persistence.runlog
    assert log.allocate("chat") == range(1, 2)
    assert [*log.allocate("chat", 3)] == [2, 3, 4]
    assert [*log.allocate("chat", 0)] == []
    assert log.append("chat", [user("u5")]) == [5]
    assert log.append("chat", [user("u3", sequence=3), user("u2", sequence=2)]) == [3, 2]
    assert seqs(persistence) == [2, 3, 5]


def test_entries_are_numbered_above_those_that_had_numbers(persistence: Persistence) -> None:
    log = persistence.runlog
    assert log.append("chat", [user("a"), user("b", sequence=70), user("c")]) == [71, 70, 72]
    assert log.append("chat", [user("d", sequence=40)]) == [40]
    assert log.append("chat", [user("e")]) == [73]
    assert seqs(persistence) == [40, 70, 71, 72, 73]


def test_a_sequence_is_taken_once(told: Persistence) -> None:
    for entries in (
        [user("x"), user("y", sequence=3)],
        [user("y", sequence=30), user("z", sequence=30)],
    ):
        with pytest.raises(ConflictError, match=r"the sequence (3|30) already"):
            told.runlog.append("chat", entries)
    assert seqs(told) == [*range(1, 8)]
    assert told.runlog.append("other", [user("y", sequence=3)]) == [3]


def test_a_number_is_not_given_out_again_when_its_entry_is_deleted(told: Persistence) -> None:
    told.runlog.append("chat", [user("u3", run_id="third")])
    assert told.delete_agent_run("third")
    assert told.runlog.max_sequence("chat") == 7
    assert told.runlog.append("chat", [user("u4")]) == [9]


def test_a_log_whose_sequences_are_used_up_takes_no_more(persistence: Persistence) -> None:
    persistence.runlog.append("chat", [user("last", sequence=2**53 - 1)])
    for call in (
        lambda log: log.append("chat", [user("u")]),
        lambda log: log.allocate("chat"),
        lambda log: log.allocate("fresh", 2**53 - 1) and log.allocate("fresh"),
    ):
        with pytest.raises(ConflictError, match="no room for 1 more"):
            call(persistence.runlog)
    assert seqs(persistence) == [2**53 - 1]
    assert persistence.runlog.append("another", [user("u")]) == [1]
    event = AgentRunEvent("planner", "run", session_id="chat", seq=2**53)
    with pytest.raises(InvalidValueError, match="is at most"):
        persistence.log_agent_run_event(event)


def test_what_is_rolled_back_is_not_in_the_log(persistence: Persistence) -> None:
    with suppress(ZeroDivisionError), persistence.transaction():
        assert persistence.runlog.append("chat", [made(RunStarted), user("u1")]) == [1, 2]
        assert seqs(persistence) == [1, 2]
        raise ZeroDivisionError
    assert seqs(persistence) == persistence.get_agent_runs() == []
    assert persistence.runlog.append("chat", [user("u1")]) == [1]


def test_threads_never_get_the_same_number(persistence: Persistence) -> None:
    taken: list[list[int]] = [[] for _ in range(4)]

    def append(mine: list[int]) -> None:
        for _ in range(8):
            mine += persistence.runlog.append("chat", [user("u"), user("v")])
            mine += persistence.runlog.allocate("chat", 2)

    all_at_once(*[lambda mine=mine: append(mine) for mine in taken])  # type: ignore[misc]
    assert all(mine == sorted(mine) for mine in taken)
    assert sorted(chain.from_iterable(taken)) == [*range(1, 129)]
    assert len(seqs(persistence)) == 64


def test_a_log_that_was_copied_goes_on(told: Persistence, tmp_path: Path) -> None:
    export_records(told, tmp_path / "log.jsonl")
    with InMemoryPersistence() as copy, InMemoryPersistence() as imported:
        copy_records(told, copy)
        import_records(tmp_path / "log.jsonl", imported)
        for other in (copy, imported):
            assert other.runlog.entries("chat") == told.runlog.entries("chat")
            assert other.runlog.append("chat", [user("u8")]) == [8]


def test_entries_that_came_with_a_copy_are_not_numbered_again(
    told: Persistence, open_again: Open
) -> None:
    with InMemoryPersistence() as other:
        other.runlog.append("chat", [user("first", run_id="here")])
        told.runlog.allocate("chat", 2)
        other.runlog.append("chat", [user(str(n), sequence=n, run_id="there") for n in (10, 11)])
        other.delete_agent_run("here")
        copy_records(other, told)
        assert [*told.runlog.allocate("chat")] == [12]
        assert told.runlog.append("chat", [user(str(n)) for n in range(3)]) == [13, 14, 15]


# --- reading ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7]),
        ({"run_id": "second"}, [5, 6]),
        ({"agent_id": "writer"}, [5, 6]),
        ({"kinds": "run_started"}, [1, 5]),
        ({"kinds": ["user_step_committed", "run_started"]}, [1, 2, 5, 6]),
        ({"kinds": []}, []),
        ({"kinds": "never_happened"}, []),
        ({"after": 2, "until": 4}, [3, 4]),
        ({"after": 2, "until": 6, "kinds": ["user_step_committed", "run_started"]}, [5, 6]),
        ({"after": 7}, []),
        ({"until": 0}, []),
        ({"run_id": "second", "kinds": "run_started"}, [5]),
    ],
)
def test_entries_are_read_in_order(
    told: Persistence, filters: dict[str, Any], expected: list[int]
) -> None:
    log = told.runlog
    assert seqs(told, **filters) == expected
    assert seqs(told, order="newest", **filters) == expected[::-1]
    assert seqs(told, limit=2, **filters) == expected[:2]
    assert seqs(told, limit=1, order="newest", **filters) == expected[::-1][:1]
    assert [e.sequence for e in log.iterate("chat", **filters)] == expected
    assert [e.sequence for e in log.iterate("chat", order="newest", **filters)] == expected[::-1]


def test_a_long_log_is_iterated_in_order(persistence: Persistence) -> None:
    steps = [tool(str(n)) if n % 3 else user(str(n)) for n in range(1_001)]
    persistence.runlog.append("chat", steps)
    read = [e.step_id for e in persistence.runlog.iterate("chat")]
    assert read == [step.step_id for step in steps]
    kinds = ("tool_step_committed", "user_step_committed", "run_started")
    again = persistence.runlog.iterate("chat", kinds=kinds, order="newest")
    assert [e.step_id for e in again] == read[::-1]


def test_a_kind_that_is_not_registered_is_read_as_it_is_stored(persistence: Persistence) -> None:
    payload = {"colour": "red", "at": [1, None]}
    unknown = made(UnknownEntry, kind="painted", version=3, data=payload)
    persistence.runlog.append("chat", [unknown])
    [read] = persistence.runlog.entries("chat")
    assert isinstance(read, UnknownEntry)
    assert (read.kind, read.version, read.data) == ("painted", 3, payload)
    assert persistence.runlog.append("other", [made(UnknownEntry, kind="painted")]) == [1]


def test_an_application_has_kinds_of_its_own(persistence: Persistence) -> None:
    @register("order_of_a_test")
    @dataclass(frozen=True, kw_only=True)
    class OrderPlaced(RunLogEntry):
        order_id: str

    persistence.runlog.append("chat", [made(OrderPlaced, order_id="7")])
    [read] = persistence.runlog.entries("chat", kinds="order_of_a_test")
    assert isinstance(read, OrderPlaced)
    assert read.order_id == "7"


def test_entries_are_events(told: Persistence) -> None:
    events = told.query_events(session_id="chat", order="oldest")
    assert sorted(event.seq or 0 for event in events) == [*range(1, 8)]
    [found] = told.query_events(seq=3)
    assert (found.event_type, found.session_id) == ("tool_step_committed", "chat")
    assert told.count_events(seq=9) == 0
    assert "a1" in {e.payload.get("step_id") for e in told.get_agent_run_events("run")}
    assert "event" in {hit.kind for hit in told.search_text("france")}


def test_words_are_redacted_in_entries(open_again: Open) -> None:
    persistence = open_again(redactor=lambda field, text: text.replace("Lyon", "[city]"))
    persistence.runlog.append("chat", [made(RunStarted, user_input="Where is Lyon?"), user("u")])
    [started] = persistence.runlog.entries("chat", kinds="run_started")
    [run] = persistence.get_agent_runs()
    assert started.user_input == run.objective == "Where is [city]?"  # type: ignore[attr-defined]


def test_an_entry_without_words_is_unknown(open_again: Open) -> None:
    persistence = open_again(capture_content="metrics-only")
    persistence.runlog.append("chat", [user("u1")])
    [read] = persistence.runlog.entries("chat")
    assert isinstance(read, UnknownEntry)
    assert (read.kind, read.sequence) == ("user_step_committed", 1)


# --- runs and model calls ---------------------------------------------------------------------


def test_a_run_begins_and_ends_by_its_entries(persistence: Persistence) -> None:
    log = persistence.runlog
    parts = [ContentPart(ContentType.TEXT, "Look:"), ContentPart(ContentType.IMAGE, url="x.png")]
    begun = made(
        RunStarted, user_input=parts, user_id="ann", parent_run_id="above", created_at=NOON
    )
    log.append("chat", [begun])
    [run] = persistence.get_agent_runs()
    assert (run.run_id, run.agent_id, run.session_id) == ("run", "planner", "chat")
    assert (run.user_id, run.parent_run_id, run.objective) == ("ann", "above", "Look:")
    assert (run.status, run.started_at, run.created_at) == ("running", NOON, NOON)
    later = NOON + timedelta(minutes=1)
    log.append(
        "chat", [made(RunFinished, response="A cat.", metrics={"steps": 3}, created_at=later)]
    )
    [run] = persistence.get_agent_runs()
    assert (run.status, run.finished_at) == ("completed", later)
    assert (run.final_output, run.get_metrics_dict()) == ("A cat.", {"steps": 3})
    assert persistence.sessions.get("chat").runs == 1  # type: ignore[union-attr]


def test_a_run_that_fails_has_its_error(persistence: Persistence) -> None:
    persistence.runlog.append("chat", [made(RunStarted), made(RunFailed, error="No network.")])
    [run] = persistence.get_agent_runs()
    assert (run.status, run.error_message) == ("error", "No network.")
    [event] = persistence.query_events(min_level="error")
    assert event.event_type == "run_failed"


def test_a_completed_run_does_not_fail_any_more(persistence: Persistence) -> None:
    log = persistence.runlog
    log.append("chat", [made(RunStarted), made(RunFailed, error="No network.")])
    log.append("chat", [made(RunFinished, response="After all.")])
    log.append("chat", [made(RunFailed, error="Too late.")])
    [run] = persistence.get_agent_runs()
    assert (run.status, run.final_output) == ("completed", "After all.")


def test_a_run_that_was_recorded_is_not_begun_again(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("planner", "run", objective="recorded"))
    persistence.runlog.append("chat", [made(RunStarted, user_input="logged")])
    assert [run.objective for run in persistence.get_agent_runs()] == ["recorded"]


def test_a_run_may_begin_after_its_first_entries(persistence: Persistence) -> None:
    persistence.runlog.append("chat", [user("u1")])
    persistence.runlog.append("chat", [made(RunStarted, user_input="Go.")])
    [run] = persistence.get_agent_runs()
    assert (run.objective, run.status) == ("Go.", "running")


def test_a_model_call_is_counted_without_its_words(persistence: Persistence) -> None:
    metrics = StepMetrics(
        model_name="acme-1",
        provider="acme",
        input_tokens=100,
        output_tokens=20,
        cache_read_tokens=80,
        cache_creation_tokens=5,
        token_cost=0.0125,
        duration_ms=41.6,
    )
    calls = [
        made(LLMCallCompleted, content="Hello.", metrics=metrics, created_at=NOON),
        made(LLMCallCompleted, content="Bare."),
        made(LLMCallCompleted, metrics={"input_tokens": -1, "token_cost": "free"}),
    ]
    persistence.runlog.append("chat", [made(RunStarted), *calls])
    [call] = persistence.get_llm_usage(run_id="run")[-1:]
    assert (call.model, call.provider, call.created_at) == ("acme-1", "acme", NOON)
    assert (call.input_tokens, call.output_tokens, call.latency_ms) == (100, 20, 42)
    assert (call.cache_read_tokens, call.cache_write_tokens) == (80, 5)
    assert (call.cost_usd, call.status) == (Decimal("0.0125"), "success")
    assert (call.prompt, call.response_content) == ("", None)
    assert persistence.get_agent_run_stats()["total_llm_calls"] == 3
    told = [event.span_id for event in persistence.query_events(event_type="llm_call_completed")]
    assert sorted(told) == sorted(each.span_id for each in persistence.get_llm_usage())
    assert len({*told}) == 3


def test_steps_of_tools_are_counted_as_their_calls(persistence: Persistence) -> None:
    persistence.runlog.append(
        "chat",
        [
            made(RunStarted),
            tool("t1", "a page", metrics=StepMetrics(duration_ms=12.5)),
            tool("t2", "no such page, " * 200, is_error=True),
            tool("t3", name=None),
        ],
    )
    counted = persistence.get_agent_run_stats()["tool_metrics"]["search"]
    assert (counted["call_count"], counted["error_count"]) == (2, 1)
    assert counted["total_latency_ms"] == 12.5
    trace = persistence.traces.get("run")
    assert trace is not None
    spans = [span for span in trace.spans if span.kind == "tool"]
    assert [(span.name, span.status) for span in spans] == [("search", "ok"), ("search", "error")]
    assert (spans[0].output, spans[0].duration_ms) == ("a page", 12.5)


def test_nothing_is_left_of_entries_that_are_refused(told: Persistence) -> None:
    def everything() -> list[Any]:
        return [told.get_agent_runs(), told.get_llm_usage(), seqs(told)]

    before = everything()
    refused = [
        made(RunStarted, "third"),
        made(RunFailed, "second", error="x"),
        made(LLMCallCompleted, metrics=StepMetrics(input_tokens=1)),
        user("u", sequence=2),
    ]
    with pytest.raises(ConflictError):
        told.runlog.append("chat", refused)
    assert everything() == before
    assert told.runlog.append("chat", [user("u")]) == [8]


def test_a_buffered_log_is_stored_at_once(persistence: Persistence) -> None:
    with persistence.buffered() as buffered:
        buffered.append_event("run", "planner", "custom")
        assert buffered.runlog.append("chat", [made(RunStarted, "other"), user("u1")]) == [1, 2]
        assert seqs(persistence) == [1, 2]


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.before_io
@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"kind": "user"}, "entries"),
        (None, "entries"),
        (user("u", session_id="another"), "session_id"),
        (user("u", sequence=-1), "sequence"),
        (user("u", sequence=2**53), "sequence"),
        (user("u", sequence=True), "sequence"),
        (user("u", sequence=None), "sequence"),
        (user("u", run_id=""), "AgentRunEvent.run_id"),
        (made(RunStarted, 7), "AgentRunEvent.run_id"),  # type: ignore[arg-type]
        (user("u", run_id=None), "AgentRunEvent.run_id"),
        (user("u", agent_id="x" * 256), "AgentRunEvent.agent_id"),
        (user("u", created_at="today"), "AgentRunEvent.timestamp"),
        (made(RunStarted, user_id="\0"), "AgentRun.user_id"),
        (made(LLMCallCompleted, metrics={"model_name": "x" * 256}), "AgentLLMUsage.model"),
        (made(LLMCallCompleted, metrics="none"), "LLMCallCompleted.metrics"),
        (made(RunFinished, metrics=["none"]), "RunFinished.metrics"),
        (made(RunStarted, user_input=7), "RunStarted.user_input"),
        (made(RunStarted, user_input=[{"type": "text"}]), "RunStarted.user_input"),
        (made(ContextAssembled, messages=["hello"]), "ContextAssembled.messages"),
        (made(ContextAssembled, messages=None), "ContextAssembled.messages"),
        (made(ContextStepsHidden, step_ids=[["u"]], reason=""), "ContextStepsHidden.step_ids"),
        (made(GoalMilestonesUpdated, milestones=[7]), "GoalMilestonesUpdated.milestones"),
        (made(GoalMilestonesUpdated, milestones=[Milestone(["m"], "")]), "Milestone.id"),
        (
            made(RunRolledBack, start_sequence="1", end_sequence=2, reason=""),
            "RunRolledBack.start_sequence",
        ),
        (user(["u"]), "UserStepCommitted.step_id"),
    ],
)
def test_what_is_no_entry_is_refused(persistence: Persistence, entry: Any, field: str) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        persistence.runlog.append("chat", [user("before"), entry])
    assert refusal.value.field == field
    assert seqs(persistence) == []


@pytest.mark.before_io
@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda log: log.append("", []), "session_id"),
        (lambda log: log.append(None, []), "session_id"),
        (lambda log: log.append("chat", user("u")), None),
        (lambda log: log.append("chat", 7), None),
        (lambda log: log.allocate("chat", -1), "n"),
        (lambda log: log.allocate("chat", 2**53), "n"),
        (lambda log: log.allocate("chat", 1.5), "n"),
        (lambda log: log.entries("chat", order="asc"), "order"),
        (lambda log: log.entries("chat", limit=-1), "limit"),
        (lambda log: log.entries("chat", after="x"), "after"),
        (lambda log: log.iterate("chat", until=1.5), "until"),
        (lambda log: log.iterate("chat", kinds=7), "kinds"),
        (lambda log: log.entries("chat", kinds=[7]), "AgentRunEvent.event_type"),
        (lambda log: log.max_sequence(7), "session_id"),
    ],
)
def test_wrong_arguments_are_refused(
    persistence: Persistence, call: Callable[[Any], Any], field: str | None
) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        call(persistence.runlog)
    assert refusal.value.field == field


@pytest.mark.before_io
def test_an_unknown_filter_is_refused(persistence: Persistence) -> None:
    with pytest.raises(TypeError, match="colour"):
        persistence.runlog.entries("chat", colour="red")  # type: ignore[call-arg]


def test_a_database_that_is_only_read_is_not_written_to(
    open_again: Open, told: Persistence, lasting: None
) -> None:
    reading = open_again(read_only=True)
    assert seqs(reading) == [*range(1, 8)]
    with pytest.raises(AccessDeniedError):
        reading.runlog.append("chat", [user("u")])
    with pytest.raises(AccessDeniedError):
        reading.runlog.allocate("chat")
