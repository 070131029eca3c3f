"""What follows from the entries of a run log: runs, steps, messages, decisions, milestones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from curio_persistence.errors import InvalidValueError
from curio_persistence.runlog.entries import (
    AssistantStepCommitted,
    CompactionApplied,
    ContextAssembled,
    ContextRepairApplied,
    ContextStepsHidden,
    GoalMilestonesUpdated,
    IntrospectionCheckpointRecorded,
    IntrospectionOutcomeRecorded,
    IntrospectionTriggered,
    MessagesRebuilt,
    RetrospectApplied,
    RunFailed,
    RunFinished,
    RunLogEntry,
    RunRolledBack,
    RunStarted,
    StepBackApplied,
    StepCondensedContentUpdated,
    TerminationDecided,
    ToolStepCommitted,
    UnknownEntry,
    UserStepCommitted,
)
from curio_persistence.runlog.replay import Replay, replay
from curio_persistence.runlog.runs import RunView
from curio_persistence.runlog.steps import StepView
from curio_persistence.runlog.values import (
    ContentPart,
    ContentType,
    MessageRole,
    Milestone,
    RunMetrics,
    RunStatus,
    TerminationReason,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
Told = tuple[type[RunLogEntry], dict[str, Any]]
"""The class of an entry, and its own fields."""
ROLES: dict[type[RunLogEntry], MessageRole] = {
    UserStepCommitted: MessageRole.USER,
    AssistantStepCommitted: MessageRole.ASSISTANT,
    ToolStepCommitted: MessageRole.TOOL,
}


def log(*told: Told) -> list[RunLogEntry]:
    """Return entries with the sequences 1, 2, …; a step's id is `step-` and its sequence."""
    entries = []
    for sequence, (cls, own) in zip(count(1), told, strict=False):
        step = {"role": ROLES[cls], "step_id": f"step-{sequence}"} if cls in ROLES else {}
        place = {
            "sequence": sequence,
            "session_id": "chat",
            "run_id": "run",
            "agent_id": "guide",
            "created_at": NOON + timedelta(seconds=sequence),
        }
        entries.append(cls(**{**place, **step, **own}))
    return entries


def user(text: str, **more: Any) -> Told:
    return UserStepCommitted, {"user_input": text, **more}


def assistant(text: str | None, **more: Any) -> Told:
    return AssistantStepCommitted, {"content": text, **more}


def tool(text: str, **more: Any) -> Told:
    return ToolStepCommitted, {"content": text, "tool_call_id": "c", "name": "look", **more}


def compaction(start: int, end: int, **more: Any) -> Told:
    return CompactionApplied, {
        "start_sequence": start,
        "end_sequence": end,
        "before_token_estimate": 100,
        "after_token_estimate": 10,
        "message_count": 3,
        "transcript_path": "/tmp/t",
        **more,
    }


def rollback(start: int, end: int) -> Told:
    return RunRolledBack, {"start_sequence": start, "end_sequence": end, "reason": "no"}


def condense(step: str, text: str) -> Told:
    own = {"step_id": step, "condensed_content": text, "run_id": "other"}
    return StepCondensedContentUpdated, own


def said(messages: list[dict[str, Any]]) -> list[str]:
    """Return messages as `role: content`."""
    return [f"{each['role']}: {each.get('content')}" for each in messages]


def only_run(*told: Told) -> RunView:
    view = replay(log(*told)).run_view("run")
    assert view is not None
    return view


def test_a_run_is_running_until_it_finishes_or_fails() -> None:
    started = (RunStarted, {"user_input": "hi", "user_id": "ann", "parent_run_id": "above"})
    running = only_run(started, assistant("thinking"))
    assert running == RunView(
        session_id="chat",
        run_id="run",
        agent_id="guide",
        user_id="ann",
        response="thinking",
        last_user_input="hi",
        created_at=NOON + timedelta(seconds=1),
        updated_at=NOON + timedelta(seconds=2),
        parent_run_id="above",
    )
    failed = only_run(started, (RunFailed, {"error": "no"}))
    assert (failed.status, failed.response) == (RunStatus.FAILED, None)
    told = {
        "response": "done",
        "termination_reason": TerminationReason.COMPLETED,
        "metrics": {"total_tokens": 7, "colour": "red"},
    }
    finished = only_run(started, (RunFinished, told), (RunFailed, {"error": "late"}))
    assert (finished.status, finished.response) == (RunStatus.COMPLETED, "done")
    assert finished.termination_reason is TerminationReason.COMPLETED
    assert finished.metrics == RunMetrics(total_tokens=7)
    assert finished.updated_at == NOON + timedelta(seconds=2)


def test_a_run_without_response_answers_with_its_last_text_that_is_not_rolled_back() -> None:
    finished = (RunFinished, {"metrics": {}})
    told = [(RunStarted, {}), assistant("one"), assistant("two"), finished]
    assert only_run(*told).response == "two"
    assert only_run(*told, rollback(3, 3)).response == "one"
    assert only_run(*told[:2], assistant(None), finished).response is None
    assert only_run(*told).metrics is None


def test_a_run_that_has_not_begun_is_none() -> None:
    assert replay(log(assistant("one"), (RunFinished, {}))).run_view("run") is None
    assert replay([]).run_views() == []


def test_runs_are_listed_newest_first() -> None:
    runs = [(RunStarted, {"run_id": run, "created_at": NOON}) for run in ("a", "b", "c")]
    assert [view.run_id for view in replay(log(*runs)).run_views()] == ["c", "b", "a"]


def test_ten_thousand_runs_below_each_other_and_runs_that_are_their_own_parents() -> None:
    deep = [
        (RunStarted, {"run_id": f"r{n}", "parent_run_id": f"r{n - 1}" if n else None, "depth": n})
        for n in range(10_000)
    ]
    assert len(replay(log(*deep)).run_views()) == 10_000
    circle = [(RunStarted, {"run_id": "a", "parent_run_id": "b"})]
    circle += [(RunStarted, {"run_id": "b", "parent_run_id": "a"}), user("hi", run_id="b")]
    assert said(replay(log(*circle)).context()) == ["user: hi"]


def test_steps_are_shown_by_sequence_and_filtered() -> None:
    state = replay(log(user("1"), assistant("2", run_id="other"), tool("3"), user("4")))

    def sequences(**asked: Any) -> list[int]:
        return [view.sequence for view in state.step_views(**asked)]

    assert sequences() == [1, 2, 3, 4]
    assert sequences(start=2, end=3) == [2, 3]
    assert sequences(run_id="run", limit=2, order="desc") == [4, 3]
    assert sequences(agent_id="nobody") == []
    with pytest.raises(InvalidValueError, match='order is "asc" or "desc"'):
        sequences(order="down")


def test_a_rolled_back_range_may_be_larger_than_the_log_or_hold_no_step() -> None:
    told = [user("1"), assistant("2"), user("3")]

    def left(*marks: Told) -> int:
        return replay(log(*told, *marks)).count_steps()

    assert left(rollback(2, 10**15)) == 1
    assert left(rollback(7, 9)) == left(rollback(3, 1)) == left(rollback(-5, 0)) == 3
    assert left(rollback(1, 1), rollback(3, 3)) == 1
    assert len(replay(log(*told, rollback(1, 3))).step_views(include_rolled_back=True)) == 3


def test_the_last_condensed_content_is_shown_and_ids_that_no_step_has_change_nothing() -> None:
    told = [tool("long"), condense("step-1", "shorter"), condense("step-1", "short")]
    state = replay(log(*told, condense("nobody", "x")))
    [view] = state.step_views()
    assert (view.content, view.condensed_content) == ("long", "short")
    assert view.to_message()["content"] == "short"
    hidden = (ContextStepsHidden, {"step_ids": ["step-1", "nobody"], "reason": "test"})
    state = replay(log(*told, hidden))
    assert state.step_views(include_hidden_from_context=False) == []
    assert (state.count_steps(), len(state.step_views())) == (1, 1)


def test_a_step_is_a_message_of_what_is_set() -> None:
    [view] = replay(log(user("hi"))).step_views()
    assert view.to_message() == {"role": "user", "_sequence": 1, "content": "hi"}
    view.condensed_content = "h"
    assert view.to_message()["content"] == "h"
    calls = [{"id": "c", "function": {"name": "look", "arguments": "{}"}}]
    told = assistant(None, tool_calls=calls, reasoning_content="hm", name="guide")
    [view] = replay(log(told)).step_views()
    assert view.to_message() == {
        "role": "assistant",
        "_sequence": 1,
        "reasoning_content": "hm",
        "tool_calls": calls,
        "name": "guide",
    }


@dataclass
class Context:
    session_id: str = "chat"
    run_id: str = "run"
    agent_id: str = "guide"
    parent_run_id: str | None = "above"
    depth: int = 1


def test_a_users_step_takes_its_ids_from_the_run() -> None:
    part = ContentPart(ContentType.FILE, url="https://x/y.pdf", mime_type="application/pdf")
    step = StepView.user(Context(), sequence=4, user_input=[part], name="ann")
    assert (step.session_id, step.run_id, step.agent_id) == ("chat", "run", "guide")
    assert (step.parent_run_id, step.depth, step.role) == ("above", 1, MessageRole.USER)
    assert step.content == [
        {"type": "file", "file": {"url": "https://x/y.pdf", "mime_type": "application/pdf"}}
    ]
    assert StepView.user(Context(), sequence=4, content="hi").content == "hi"
    assert step.id != StepView.user(Context(), sequence=4, content="hi").id
    with pytest.raises(InvalidValueError, match="user_input= or content="):
        StepView.user(Context(), sequence=4)


SYSTEM = {"role": "system", "content": "Be kind."}


def test_the_context_is_what_was_assembled_and_the_steps_since() -> None:
    assembled = (ContextAssembled, {"messages": [SYSTEM, {"role": "user", "content": "hi"}]})
    told = [user("hi"), assembled, assistant("hello"), user("and?")]
    assert said(replay(log(*told)).context()) == [
        "system: Be kind.",
        "user: hi",
        "assistant: hello",
        "user: and?",
    ]
    assert said(replay(log(*told[:1], *told[2:])).context()) == [
        "user: hi",
        "assistant: hello",
        "user: and?",
    ]


def test_messages_that_name_their_steps_are_not_repeated() -> None:
    message = {"role": "user", "content": "hi", "_sequence": 2}
    told = [(ContextAssembled, {"messages": [SYSTEM, message]}), user("hi"), assistant("hello")]
    context = replay(log(*told)).context()
    assert said(context) == ["system: Be kind.", "user: hi", "assistant: hello"]
    assert not any("_sequence" in message for message in context)
    hidden = (ContextStepsHidden, {"step_ids": ["step-2"], "reason": "test"})
    assert said(replay(log(*told, hidden)).context()) == ["system: Be kind.", "assistant: hello"]
    assert said(replay(log(*told, rollback(2, 3))).context()) == ["system: Be kind."]


def test_a_rollback_brings_back_the_messages_of_before() -> None:
    rebuilt = (MessagesRebuilt, {"reason": "test", "messages": [SYSTEM]})
    told = [user("hi"), assistant("hello"), rebuilt, user("wrong")]
    assert said(replay(log(*told)).context()) == ["system: Be kind.", "user: wrong"]
    assert said(replay(log(*told, rollback(3, 4))).context()) == ["user: hi", "assistant: hello"]


def test_a_compaction_puts_a_summary_in_the_place_of_what_it_covers() -> None:
    assembled = (ContextAssembled, {"messages": [SYSTEM]})
    told = [assembled, user("1"), assistant("2"), tool("3"), compaction(2, 3, summary="sum")]
    assert said(replay(log(*told, user("4"))).context()) == [
        "system: Be kind.",
        "user: sum",
        "tool: 3",
        "user: 4",
    ]
    whole = replay(log(*told, user("4"), compaction(1, 6, analysis={"summary": "all"})))
    assert said(whole.context()) == ["system: Be kind.", "user: all"]
    assert said(whole.context(after_compaction=False)) == [
        "system: Be kind.",
        "user: 1",
        "assistant: 2",
        "tool: 3",
        "user: 4",
    ]
    beyond = replay(log(*told[:4], compaction(70, 90, summary="sum")))
    assert len(beyond.context()) == 4
    assert said(replay(log(user("1"), compaction(1, 1))).context()) == []


def test_messages_that_were_rebuilt_by_a_compaction_have_its_summary_already() -> None:
    rebuilt = [SYSTEM, {"role": "user", "content": "compressed"}]
    told = [user("1"), (MessagesRebuilt, {"reason": "compaction", "messages": rebuilt})]
    state = replay(log(*told, compaction(0, 2, summary="sum")))
    assert said(state.context()) == ["system: Be kind.", "user: compressed"]
    state.take(*log(*[user("")] * 3, user("4"))[3:])
    assert said(state.context())[2:] == ["user: 4"]


def test_condensed_content_is_used_in_messages() -> None:
    told = [tool("long"), condense("step-1", "short")]
    assert said(replay(log(*told)).context()) == ["tool: short"]
    named = {"role": "tool", "content": "long", "_sequence": 1}
    told.append((MessagesRebuilt, {"reason": "test", "messages": [named]}))
    assert said(replay(log(*told)).context()) == ["tool: short"]


def test_each_agent_has_its_own_messages() -> None:
    child = {"run_id": "child", "agent_id": "helper"}
    told = [
        (RunStarted, {}),
        user("hi"),
        (RunStarted, {**child, "parent_run_id": "run"}),
        user("help", **child),
        tool("helped"),
    ]
    state = replay(log(*told))
    assert said(state.context()) == ["user: hi", "tool: helped"]
    assert said(state.context(agent_id="helper")) == ["user: help"]


def test_the_last_decisions_are_told() -> None:
    assert replay([]).decision_state().is_empty()
    decided = {"termination_reason": TerminationReason.TIMEOUT, "phase": "p", "source": "s"}
    told = [
        (TerminationDecided, decided),
        compaction(1, 2, summary="sum"),
        (StepBackApplied, {"affected_count": 2, "checkpoint_seq": 1, "experience": "old"}),
        (RetrospectApplied, {"affected_sequences": [1], "affected_step_ids": ["s"]}),
        rollback(3, 4),
        rollback(8, 9),
        (TerminationDecided, {**decided, "run_id": "other", "phase": "q"}),
    ]
    state = replay(log(*told))
    now = state.decision_state()
    assert not now.is_empty()
    assert now.latest_termination is not None
    assert (now.latest_termination.reason, now.latest_termination.phase) == ("timeout", "q")
    assert now.latest_compaction is not None
    assert now.latest_compaction.summary == "sum"
    assert now.latest_compaction.metadata.start_seq == 1
    assert now.latest_compaction_failure is None
    assert now.latest_step_back is not None
    assert now.latest_step_back.experience == "old"
    assert now.latest_retrospect is not None
    assert now.latest_retrospect.affected_step_ids == ("s",)
    assert now.latest_rollback is not None
    assert (now.latest_rollback.start_sequence, now.latest_rollback.sequence) == (8, 6)
    of_run = state.decision_state(run_id="run").latest_termination
    assert of_run is not None
    assert of_run.phase == "p"
    assert state.decision_state(agent_id="nobody").is_empty()


def test_a_repair_of_the_context_is_a_step_back() -> None:
    repair = {"mode": "step_back", "affected_count": 2, "experience": "x", "end_seq": 9}
    for start, checkpoint in ((5, 4), (0, 0)):
        state = replay(log((ContextRepairApplied, {**repair, "start_seq": start})))
        back = state.decision_state().latest_step_back
        assert back is not None
        assert (back.checkpoint_seq, back.experience) == (checkpoint, "x")


def goal(*statuses: str, **more: Any) -> Told:
    milestones = [Milestone(f"m{n}", "", status) for n, status in enumerate(statuses)]
    return GoalMilestonesUpdated, {"milestones": milestones, **more}


def test_milestones_are_those_that_were_told_last() -> None:
    state = replay(log(goal("active", "pending"), goal("active", "pending", "pending")))
    assert [each.id for each in state.milestones()] == ["m0", "m1", "m2"]
    assert state.introspect_state().goal.active_milestone_id == "m0"
    named = replay(log(goal("pending", active_milestone_id="m7")))
    assert named.introspect_state().goal.active_milestone_id == "m7"


def test_another_active_milestone_or_a_completed_one_asks_for_a_review() -> None:

    def pending(*told: Told) -> bool:
        return replay(log(*told)).introspect_state().introspection.pending_milestone_switch

    first = goal("active", "pending")
    assert not pending(first)
    assert not pending(first, goal("active", "pending", "pending"))
    assert pending(first, goal("pending", "active"))
    assert pending(first, goal("active", "completed"))
    assert not pending(goal("completed"), *[(IntrospectionTriggered, {"trigger_reason": "x"})])
    outcome = (IntrospectionOutcomeRecorded, {"mode": "metadata_only", "boundary_seq": 2})
    assert not pending(first, goal("pending", "active"), outcome)


def test_tool_steps_since_the_last_boundary_are_counted() -> None:
    triggered = (IntrospectionTriggered, {"trigger_reason": "step_interval", "notice_step_id": "n"})
    told = [tool("1"), tool("2"), tool("3", name="review_trajectory"), triggered]
    now = replay(log(*told)).introspect_state().introspection
    assert (now.review_count_since_boundary, now.notice_requested) == (2, True)
    assert now.pending_trigger is not None
    assert now.pending_trigger.notice_step_id == "n"
    outcome = (IntrospectionOutcomeRecorded, {"mode": "step_back", "boundary_seq": 4})
    checkpoint = (IntrospectionCheckpointRecorded, {"checkpoint_seq": 7, "milestone_id": "m"})
    now = replay(log(*told, outcome, tool("6"))).introspect_state().introspection
    assert (now.review_count_since_boundary, now.last_boundary_seq) == (1, 4)
    assert (now.pending_trigger, now.notice_requested) == (None, False)
    now = replay(log(*told, outcome, tool("6"), checkpoint)).introspect_state().introspection
    assert (now.review_count_since_boundary, now.last_boundary_seq) == (0, 7)
    assert now.latest_aligned_checkpoint is not None
    assert (now.latest_aligned_checkpoint.seq, now.latest_aligned_checkpoint.milestone_id) == (
        7,
        "m",
    )
    assert now.consecutive_errors == 0


def test_a_replay_goes_on_and_answers_for_its_own_session_in_order() -> None:
    entries = log(user("1"), assistant("2"), user("3"))
    state = Replay(entries[:1])
    state.introspect_state().goal.milestones.append(Milestone("x", ""))
    assert state.milestones() == []
    state.take(*entries[1:])
    assert (state.session_id, state.sequence, state.count_steps()) == ("chat", 3, 3)
    assert replay(reversed(entries), until_seq=2).count_steps() == 2
    with pytest.raises(InvalidValueError, match="by sequence: 1 comes before 3"):
        state.take(entries[0])
    other = UnknownEntry(sequence=9, session_id="x", run_id="r", agent_id="a", kind="rain")
    with pytest.raises(InvalidValueError, match="of one session: 'chat', not 'x'"):
        state.take(other)
