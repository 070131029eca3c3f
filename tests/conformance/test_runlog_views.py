"""What follows from a run log: each answer of the database is that of a replay."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from curio_persistence import AgentRun, InvalidValueError, NotFoundError, Persistence
from curio_persistence.capabilities.runlog import RunLog
from curio_persistence.runlog.entries import (
    AssistantStepCommitted,
    CompactionApplied,
    ContextAssembled,
    ContextStepsHidden,
    GoalMilestonesUpdated,
    RunFinished,
    RunLogEntry,
    RunRolledBack,
    RunStarted,
    StepCondensedContentUpdated,
    TerminationDecided,
    UnknownEntry,
    register,
)
from curio_persistence.runlog.replay import Replay, replay
from curio_persistence.runlog.values import Milestone, RunStatus, TerminationReason
from tests.support import run_logs
from tests.support.entries import assistant, made, tool, user

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@register("whispered_step_of_a_test")
@dataclass(frozen=True, kw_only=True, slots=True)
class WhisperedStepCommitted(AssistantStepCommitted):
    """An application's own kind of step."""


@pytest.fixture
def told(persistence: Persistence) -> RunLog:
    """A session of one agent: a question, a tool, a wrong turn, and the answer."""
    log = persistence.runlog
    log.append(
        "chat",
        [
            made(RunStarted, user_input="Where is Lyon?", user_id="ann", created_at=NOON),
            made(ContextAssembled, messages=[{"role": "system", "content": "Be brief."}]),
            user("u1", "Where is Lyon?"),
            assistant("a1", None, tool_calls=[{"id": "call"}]),
            tool("t1", "a long page", tool_call_id="call"),
            assistant("a2", "On the moon."),
            made(GoalMilestonesUpdated, milestones=[Milestone("m1", "Find it")]),
        ],
    )
    return log


def sequences(log: RunLog, **asked: Any) -> list[int]:
    return [view.sequence for view in log.step_views("chat", **asked)]


# --- what a session is for ---------------------------------------------------------------------


def test_the_next_messages_are_those_of_the_steps(told: RunLog) -> None:
    assert told.append_rollback("chat", 6, 6, "wrong") == 8
    assert told.condense_step("chat", "t1", "a page")
    assert told.context("chat") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Where is Lyon?"},
        {"role": "assistant", "tool_calls": [{"id": "call"}]},
        {"role": "tool", "content": "a page", "tool_call_id": "call", "name": "search"},
    ]
    assert told.context("chat", until_seq=7)[3:] == [
        {"role": "tool", "content": "a long page", "tool_call_id": "call", "name": "search"},
        {"role": "assistant", "content": "On the moon."},
    ]
    assert told.context("chat", agent_id="nobody") == told.context("none") == []


def test_a_run_is_as_its_log_says(told: RunLog) -> None:
    view = told.run_view("run")
    assert view is not None
    assert (view.status, view.response, view.user_id) == (RunStatus.RUNNING, "On the moon.", "ann")
    assert (view.last_user_input, view.created_at) == ("Where is Lyon?", NOON)
    told.append_rollback("chat", 6, 6)
    told.append("chat", [made(RunFinished, response="In France.")])
    view = told.run_view("run")
    assert view is not None
    assert (view.status, view.response) == (RunStatus.COMPLETED, "In France.")
    before = told.run_view("run", until_seq=8)
    assert before is not None
    assert (before.status, before.response) == (RunStatus.RUNNING, None)
    assert told.run_views("chat") == [view]
    assert told.run_view("unknown") is None


def test_a_run_without_a_log_has_no_view(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("planner", "recorded", session_id="chat"))
    persistence.create_agent_run(AgentRun("planner", "alone"))
    assert persistence.runlog.run_view("recorded") is persistence.runlog.run_view("alone") is None
    assert persistence.runlog.run_views("chat") == []


def test_a_run_that_was_created_before_is_found_in_its_log(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("guide", "alone"))
    persistence.create_agent_run(AgentRun("guide", "elsewhere", session_id="other"))
    for run_id in ("alone", "elsewhere"):
        persistence.runlog.append("chat", [made(RunStarted, run_id)])
        view = persistence.runlog.run_view(run_id)
        assert view is not None
        assert (view.run_id, view.session_id) == (run_id, "chat")


def test_steps_that_are_rolled_back_do_not_count(told: RunLog) -> None:
    told.append("chat", [made(ContextStepsHidden, step_ids=["u1", "no step"], reason="old")])
    told.append_rollback("chat", 5, 6)
    assert sequences(told) == [3, 4]
    assert sequences(told, include_rolled_back=True) == [3, 4, 5, 6]
    assert sequences(told, include_hidden_from_context=False) == [4]
    assert sequences(told, include_rolled_back=True, start=4, end=5) == [4, 5]
    assert sequences(told, include_rolled_back=True, order="newest", limit=2) == [6, 5]
    assert sequences(told, until_seq=8) == [3, 4, 5, 6]
    assert sequences(told, run_id="other") == sequences(told, agent_id="other") == []
    assert told.count_steps("chat") == 2
    assert told.count_steps("chat", include_hidden_from_context=False) == 1
    assert told.count_steps("chat", until_seq=5) == 3


def test_a_session_without_entries_has_nothing_to_tell(persistence: Persistence) -> None:
    log = persistence.runlog
    assert log.step_views("none") == log.run_views("none") == log.context("none") == []
    assert (log.count_steps("none"), log.milestones("none")) == (0, [])
    assert log.decision_state("none").is_empty()
    assert log.introspect_state("none") == log.replay("none").introspect_state()


def test_marks_tell_what_became_of_steps(told: RunLog) -> None:
    told.append_rollback("chat", 6, 6, "wrong")
    told.condense_step("chat", "t1", "a page")
    told.append("chat", [made(ContextStepsHidden, step_ids=["a1"], reason="old")])
    marks = told.marks("chat")
    assert [*marks.rolled_back] == [(6, 6)]
    assert (marks.hidden, marks.condensed) == ({"a1"}, {"t1": "a page"})
    assert [*told.marks("chat", until_seq=7).rolled_back] == []


def test_decisions_and_milestones_are_the_last_ones(told: RunLog) -> None:
    reason = TerminationReason.TIMEOUT
    told.append(
        "chat",
        [
            made(TerminationDecided, termination_reason=reason, phase="tools", source="clock"),
            made(GoalMilestonesUpdated, milestones=[Milestone("m1", "Find it", "completed")]),
        ],
    )
    latest = told.decision_state("chat").latest_termination
    assert latest is not None
    assert (latest.reason, latest.phase, latest.sequence) == (reason, "tools", 8)
    assert told.decision_state("chat", run_id="other").is_empty()
    assert told.decision_state("chat", until_seq=7).is_empty()
    assert [each.status for each in told.milestones("chat")] == ["completed"]
    assert [each.status for each in told.milestones("chat", until_seq=8)] == ["pending"]
    assert told.introspect_state("chat").introspection.pending_milestone_switch


def test_a_replay_goes_on_with_new_entries(told: RunLog) -> None:
    state = told.replay("chat", until_seq=5)
    assert (state.sequence, state.count_steps()) == (5, 3)
    state.take(*told.iterate("chat", after=5))
    assert state.context() == told.context("chat")


def test_steps_of_an_applications_own_kind_are_steps(told: RunLog) -> None:
    whispered = made(WhisperedStepCommitted, step_id="w1", role="assistant", content="psst")
    [at] = told.append("chat", [whispered])
    assert sequences(told)[-1] == at
    assert told.context("chat")[-1] == {"role": "assistant", "content": "psst"}


# --- what is not there ------------------------------------------------------------------------


def test_a_range_without_entries_is_not_rolled_back(told: RunLog) -> None:
    with pytest.raises(NotFoundError, match="no entry from 90 to 95"):
        told.append_rollback("chat", 90, 95)
    with pytest.raises(NotFoundError):
        told.append_rollback("none", 1, 1)
    assert told.max_sequence("chat") == 7
    assert told.append_rollback("chat", 7, 10**15) == 8  # A part of it is there.


def test_a_step_that_is_not_there_is_not_condensed(told: RunLog) -> None:
    assert not told.condense_step("chat", "a9", "short")
    assert not told.condense_step("none", "a1", "short")
    assert told.max_sequence("chat") == 7


def test_a_rollback_belongs_to_the_run_that_it_is_about(told: RunLog) -> None:
    told.append_rollback("chat", 5, 6)
    told.append_rollback("chat", 5, 6, run_id="other", agent_id="writer")
    told.condense_step("chat", "t1", "x")
    told.condense_step("chat", "t1", "x", run_id="other")
    owners = [(e.run_id, e.agent_id) for e in told.entries("chat", after=7)]
    mine, other = ("run", "planner"), ("other", "writer")
    assert owners == [mine, other, mine, ("other", "planner")]


def test_entries_that_name_nothing_change_nothing(told: RunLog) -> None:
    before = sequences(told), told.context("chat")
    told.append(
        "chat",
        [
            made(RunRolledBack, start_sequence=-(10**30), end_sequence=-1, reason=""),
            made(RunRolledBack, start_sequence=10**30, end_sequence=10**31, reason=""),
            made(RunRolledBack, start_sequence=6, end_sequence=2, reason=""),
            made(StepCondensedContentUpdated, step_id="a9", condensed_content="x"),
        ],
    )
    assert (sequences(told), told.context("chat")) == before
    assert sequences(told, order="newest") == before[0][::-1]
    assert told.count_steps("chat") == 4


@pytest.mark.before_io
@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("context_assembled", {"messages": ["hello"]}),
        ("context_assembled", {"messages": None}),
        ("messages_rebuilt", {"reason": "x", "messages": {"role": "user"}}),
        ("run_rolled_back", {"start_sequence": "1", "end_sequence": 4, "reason": ""}),
        ("run_rolled_back", {"start_sequence": 1, "end_sequence": None, "reason": ""}),
        ("context_steps_hidden", {"step_ids": [["u1"]], "reason": ""}),
        ("step_condensed_content_updated", {"step_id": {"u": 1}, "condensed_content": "x"}),
        ("compaction_applied", {"start_sequence": 1, "end_sequence": 4, "analysis": "none"}),
        ("goal_milestones_updated", {"milestones": [{"id": [1], "description": ""}]}),
        ("run_finished", {"response": None, "metrics": "none"}),
        ("run_started", {"user_input": 7}),
    ],
)
def test_an_entry_with_fields_of_other_types_changes_nothing(
    told: RunLog, kind: str, data: Any
) -> None:
    before, [last] = answers(told, None), told.entries("chat", order="newest", limit=1)
    told.append("chat", [made(UnknownEntry, kind=kind, data=data, created_at=last.created_at)])
    assert isinstance(told.entries("chat")[-1], UnknownEntry)
    assert answers(told, None) == answers(told.replay("chat"), None) == before


@pytest.mark.parametrize("named", ["3", [3], 3.5, True, -3, 10**30, None])
def test_messages_may_name_what_is_no_step(told: RunLog, named: Any) -> None:
    message = {"role": "user", "content": "Hello", "_sequence": named}
    told.append("chat", [made(ContextAssembled, messages=[message])])
    rolled_back = made(RunRolledBack, start_sequence=-5, end_sequence=1, reason="")
    covering = made(
        CompactionApplied,
        start_sequence=1,
        end_sequence=2,
        before_token_estimate=9,
        after_token_estimate=1,
        message_count=1,
        transcript_path="",
    )
    told.append("chat", [rolled_back, covering])
    for each in (told.context("chat"), told.replay("chat").context()):
        assert each == [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda log: log.append_rollback("chat", 0, 4), "end"),
        (lambda log: log.append_rollback("chat", 4, 3), "end"),
        (lambda log: log.append_rollback("chat", "a", 3), "start"),
        (lambda log: log.append_rollback("", 1, 3), "session_id"),
        (lambda log: log.condense_step("chat", "", "x"), "step_id"),
        (lambda log: log.step_views("chat", order="asc"), "order"),
        (lambda log: log.step_views("chat", limit=-1), "limit"),
        (lambda log: log.step_views("chat", start="x"), "start"),
        (lambda log: log.step_views("chat", run_id=""), "AgentRunEvent.run_id"),
        (lambda log: log.context(""), "session_id"),
        (lambda log: log.context("chat", until_seq="x"), "until_seq"),
        (lambda log: log.run_view(None), "run_id"),
        (lambda log: log.run_views("chat", limit="x"), "limit"),
        (lambda log: log.replay(None), "session_id"),
        (lambda log: log.replay("chat", "x"), "until"),
    ],
)
def test_wrong_questions_are_refused(persistence: Persistence, ask: Any, field: str) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        ask(persistence.runlog)
    assert refusal.value.field == field


# --- any history ------------------------------------------------------------------------------


def answers(log: RunLog | Replay, until: int | None) -> dict[str, Any]:
    """Return everything that can be asked, of a database or of a replay."""
    newest: Any = "desc"
    asked: dict[str, Any] = {}
    args: tuple[Any, ...] = ()
    if isinstance(log, RunLog):
        asked, args, newest = {"until_seq": until}, ("chat",), "newest"
    hidden = {"include_hidden_from_context": False}
    runs = {run: log.run_view(run, **asked) for run in (*run_logs.RUNS, "none")}
    return {
        "runs": runs,
        "run views": log.run_views(*args, **asked),
        "steps": log.step_views(*args, **asked),
        "page": log.step_views(*args, start=300, limit=100, **asked),
        "last page": log.step_views(
            *args, end=1_500, include_rolled_back=True, order=newest, limit=70, **asked
        ),
        "shown": log.step_views(*args, **hidden, run_id="run-2", **asked),
        "shown to an agent": log.step_views(
            *args, **hidden, agent_id="guide", order=newest, limit=50, **asked
        ),
        "counts": [log.count_steps(*args, **asked), log.count_steps(*args, **hidden, **asked)],
        "context": log.context(*args, **asked),
        "context of an agent": log.context(*args, agent_id="helper", **asked),
        "whole context": log.context(*args, after_compaction=False, **asked),
        "decisions": log.decision_state(*args, **asked),
        "decisions of a run": log.decision_state(*args, run_id="run-1", **asked),
        "decisions of an agent": log.decision_state(*args, agent_id="helper", **asked),
        "reviews": log.introspect_state(*args, **asked),
        "milestones": log.milestones(*args, **asked),
    }


def fewer_marks(random: Random, entries: list[RunLogEntry]) -> list[RunLogEntry]:
    """Return a history in which most steps count, and some ranges are long."""

    def shorter(entry: RunLogEntry) -> RunLogEntry:
        if not isinstance(entry, RunRolledBack):
            return entry
        start = random.randrange(3_000)
        length = random.choice([0, 1, 5, 300])
        return replace(entry, start_sequence=start, end_sequence=start + length)

    return [
        shorter(entry)
        for entry in entries
        if not isinstance(entry, RunRolledBack) or random.random() < 0.3
    ]


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(n, marks=pytest.mark.thorough) for n in (2, 3, 4))]
)
@pytest.mark.slow
def test_the_database_answers_as_a_replay_does(persistence: Persistence, seed: int) -> None:
    random = Random(seed)
    history = fewer_marks(random, run_logs.history(random, 2_000))
    persistence.runlog.append("chat", history)
    middle = random.randrange(500, 3_000)
    for until in (None, middle):
        wanted = answers(replay(history, until), until)
        got = answers(persistence.runlog, until)
        for name, answer in wanted.items():
            assert got[name] == answer, (name, until)


def test_small_histories_are_answered_as_by_a_replay(
    persistence: Persistence,
) -> None:
    for seed in range(6):
        history = run_logs.history(Random(seed), 25)
        session = f"session {seed}"
        log = persistence.runlog
        log.append(session, [replace(entry, session_id=session) for entry in history])
        state = replay(history)
        assert log.context(session) == state.context()
        assert log.introspect_state(session) == state.introspect_state()
        assert log.count_steps(session) == state.count_steps()
