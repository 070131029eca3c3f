"""The run log storage of Agiwo works completely, on every backend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from curio_persistence import ConflictError, InvalidValueError, Persistence
from curio_persistence.compat.agiwo import (
    AssistantStepCommitted,
    CompactionApplied,
    ContextStepsHidden,
    InMemoryRunLogStorage,
    LLMCallCompleted,
    MessageRole,
    PostgresRunLogStorage,
    RetrospectApplied,
    RunFailed,
    RunFinished,
    RunLogEntry,
    RunLogEntryKind,
    RunLogStorage,
    RunLogStorageConfig,
    RunStarted,
    RunStatus,
    SQLiteRunLogStorage,
    StepMetrics,
    TerminationDecided,
    TerminationReason,
    ToolStepCommitted,
    UserStepCommitted,
    build_runtime_decision_state_from_entries,
    build_step_views_from_entries,
    create_run_log_storage,
)
from curio_persistence.runlog.replay import replay
from tests.support import run_logs

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
Work = Callable[[RunLogStorage], Coroutine[Any, Any, None]]
IDS = ("chat", "run", "guide")


def awaiting(persistence: Persistence, work: Work) -> None:
    """Run `work` on this persistence in an event loop."""
    asyncio.run(work(RunLogStorage(lambda: persistence)))


def entry(cls: type[RunLogEntry], sequence: int, **own: Any) -> RunLogEntry:
    """Return an entry of the run `run`, made so many seconds after noon."""
    place = {"session_id": "chat", "run_id": "run", "agent_id": "guide"}
    created_at = NOON + timedelta(seconds=sequence)
    return cls(**{"sequence": sequence, "created_at": created_at, **place, **own})


def step(sequence: int, content: str | None = None, **own: Any) -> RunLogEntry:
    """Return a message of the model; its id is `step-` and its sequence."""
    return entry(
        AssistantStepCommitted,
        sequence,
        **{
            "step_id": f"step-{sequence}",
            "role": MessageRole.ASSISTANT,
            "content": content or f"content {sequence}",
            **own,
        },
    )


def test_entries_are_listed_as_they_were_appended_by_sequence(persistence: Persistence) -> None:
    entries = [
        entry(RunStarted, 1, user_input="Where?", user_id="ann"),
        entry(UserStepCommitted, 2, step_id="u", role=MessageRole.USER, user_input="Where?"),
        step(3, metrics=StepMetrics(start_at=NOON, total_tokens=3), tool_calls=[{"id": None}]),
        entry(ToolStepCommitted, 5, step_id="t", role=MessageRole.TOOL, is_error=True),
        entry(RunFinished, 8, response="France", metrics={"total_tokens": 3, "other": None}),
    ]

    async def work(storage: RunLogStorage) -> None:
        await storage.append_entries(entries[::-1])
        await storage.append_entries([])
        assert await storage.list_entries(session_id="chat") == entries
        assert await storage.list_entries(session_id="chat", order="desc") == entries[::-1]
        assert await storage.list_entries(session_id="other") == []
        assert await storage.get_max_sequence("chat") == 8
        assert await storage.get_max_sequence("other") == 0

    awaiting(persistence, work)


def test_entries_are_filtered(persistence: Persistence) -> None:
    async def work(storage: RunLogStorage) -> None:
        await storage.append_entries(
            [step(1), step(2, run_id="b"), entry(RunFailed, 3, error="no", agent_id="x"), step(4)]
        )

        async def listed(**filters: Any) -> list[int]:
            found = await storage.list_entries(session_id="chat", **filters)
            return [each.sequence for each in found]

        assert await listed(run_id="run") == [1, 3, 4]
        assert await listed(agent_id="x") == [3]
        assert await listed(after_sequence=2) == [3, 4]
        assert await listed(kinds=[RunLogEntryKind.RUN_FAILED]) == [3]
        assert await listed(kinds=["run_failed", "assistant_step_committed"]) == [1, 2, 3, 4]
        assert await listed(kinds=[]) == []
        assert await listed(limit=2, order="desc") == [4, 3]
        assert await listed(limit=0) == []
        with pytest.raises(ValueError, match='order is "asc" or "desc"'):
            await listed(order="up")

    awaiting(persistence, work)


def test_what_is_no_list_of_entries_is_refused(persistence: Persistence) -> None:
    async def work(storage: RunLogStorage) -> None:
        for wrong in (None, step(1), [step(1), {"sequence": 2}]):
            with pytest.raises(InvalidValueError) as refused:
                await storage.append_entries(wrong)  # type: ignore[arg-type]
            assert refused.value.field == "entries"
        assert await storage.list_entries(session_id="chat") == []

    awaiting(persistence, work)


def test_a_sequence_twice_is_refused_and_nothing_of_its_batch_is_stored(
    persistence: Persistence,
) -> None:
    async def work(storage: RunLogStorage) -> None:
        await storage.append_entries([step(2)])
        for wrong in ([step(1), step(2)], [step(3), step(3)]):
            with pytest.raises(ConflictError) as refused:
                await storage.append_entries([step(1, session_id="other"), *wrong])
            assert isinstance(refused.value, ValueError)
        assert [each.sequence for each in await storage.list_entries(session_id="chat")] == [2]
        assert await storage.list_entries(session_id="other") == []
        await storage.append_entries([step(2, session_id="other"), step(1)])

    awaiting(persistence, work)


def test_sequences_are_allocated_once_above_all_that_are_stored(persistence: Persistence) -> None:
    async def work(storage: RunLogStorage) -> None:
        assert await storage.allocate_sequence("chat") == 1
        await storage.append_entries([step(7)])
        taken = await asyncio.gather(*(storage.allocate_sequence("chat") for _ in range(20)))
        assert sorted(taken) == [*range(8, 28)]
        assert await storage.allocate_sequence("other") == 1

    awaiting(persistence, work)


def test_an_entry_is_an_event_and_a_run_begins_and_ends_with_its_entries(
    persistence: Persistence,
) -> None:
    metrics = StepMetrics(model_name="acme-1", input_tokens=7, token_cost=0.25)

    async def work(storage: RunLogStorage) -> None:
        await storage.append_entries(
            [
                entry(RunStarted, 1, run_id="above"),
                entry(RunStarted, 2, user_input="hi", parent_run_id="above"),
                entry(LLMCallCompleted, 3, metrics=metrics),
                entry(RunFinished, 4, response="hello"),
                entry(RunFailed, 5, run_id="above", error="no"),
            ]
        )

    awaiting(persistence, work)
    run, above = persistence.get_agent_run("run"), persistence.get_agent_run("above")
    assert run is not None
    assert above is not None
    assert (run.session_id, run.parent_run_id, run.status) == ("chat", "above", "completed")
    assert (run.started_at, run.objective) == (NOON + timedelta(seconds=2), "hi")
    assert (above.status, above.error_message) == ("error", "no")
    [event] = persistence.get_agent_run_events("run", "run_started")
    assert (event.session_id, event.get_data_dict()["user_input"]) == ("chat", "hi")
    assert persistence.get_agent_run_stats()["total_input_tokens"] == 7


def test_runs_are_viewed_and_listed_newest_first(persistence: Persistence) -> None:
    async def work(storage: RunLogStorage) -> None:
        assert await storage.get_run_view("run") is None
        await storage.append_entries(
            [
                entry(RunStarted, 1, user_input="hi", user_id="ann"),
                step(2, "hello"),
                entry(RunStarted, 3, run_id="b", user_id="bob"),
                entry(RunStarted, 1, run_id="c", session_id="other", user_id="ann"),
                step(4, "late", run_id="c", session_id="other"),
            ]
        )
        run = await storage.get_run_view("run")
        assert run is not None
        assert (run.status, run.response, run.last_user_input) == ("running", "hello", "hi")
        assert (run.created_at, run.updated_at) == (
            *(NOON + timedelta(seconds=1), NOON + timedelta(seconds=2)),
        )

        async def listed(**filters: Any) -> list[str]:
            return [view.run_id for view in await storage.list_run_views(**filters)]

        assert (await listed())[0] == "b"
        assert sorted(await listed()) == ["b", "c", "run"]
        assert await listed(session_id="chat") == ["b", "run"]
        assert await listed(session_id="chat", limit=1, offset=1) == ["run"]
        assert sorted(await listed(user_id="ann")) == ["c", "run"]
        assert await listed(user_id="nobody") == []
        await storage.append_entries([entry(RunFinished, 5, run_id="b", response="done")])
        [newest] = await storage.list_run_views(limit=1)
        assert (newest.status, newest.response) == (RunStatus.COMPLETED, "done")

    awaiting(persistence, work)


def test_steps_are_listed_as_they_count_now(persistence: Persistence) -> None:
    async def work(storage: RunLogStorage) -> None:
        await storage.append_entries(
            [step(n, run_id="b" if n == 3 else "run") for n in range(1, 7)]
        )
        await storage.append_run_rollback(
            *("chat", "b", "x"), start_sequence=2, end_sequence=2, reason="wrong"
        )
        assert await storage.append_step_condensed_content(*IDS, "step-4", "long ago")
        assert await storage.append_step_condensed_content("chat", "b", "x", "step-4", "short")
        assert not await storage.append_step_condensed_content(*IDS, "nobody", "short")
        assert not await storage.append_step_condensed_content("none", "r", "a", "step-4", "x")
        hidden = entry(ContextStepsHidden, 10, step_ids=["step-5"], reason="test", run_id="b")
        await storage.append_entries([hidden])

        async def listed(**filters: Any) -> list[int]:
            found = await storage.list_step_views(session_id="chat", **filters)
            return [view.sequence for view in found]

        assert await listed() == [1, 3, 4, 5, 6]
        assert await listed(include_rolled_back=True) == [1, 2, 3, 4, 5, 6]
        assert await listed(include_hidden_from_context=False) == [1, 3, 4, 6]
        assert await listed(run_id="run") == [1, 4, 5, 6]
        assert await listed(agent_id="x") == []
        assert await listed(start_seq=3, end_seq=5) == [3, 4, 5]
        assert await listed(order="desc", limit=2) == [6, 5]
        [condensed] = await storage.list_step_views(session_id="chat", start_seq=4, end_seq=4)
        assert (condensed.id, condensed.condensed_content) == ("step-4", "short")
        assert condensed.content == "content 4"
        assert await storage.count_step_views(session_id="chat") == 5
        hiding = {"session_id": "chat", "include_hidden_from_context": False}
        assert await storage.count_step_views(**hiding) == 4
        assert await storage.get_committed_step_count("chat") == 4
        assert await storage.get_committed_step_count("none") == 0
        with pytest.raises(ValueError, match='order is "asc" or "desc"'):
            await listed(order="up")

    awaiting(persistence, work)


def test_answers_are_those_that_are_built_from_all_entries(persistence: Persistence) -> None:
    history = run_logs.history(Random(11), 250)

    async def work(storage: RunLogStorage) -> None:
        await storage.append_entries(Random(1).sample(history, len(history)))
        assert await storage.list_entries(session_id="chat") == history
        steps = build_step_views_from_entries(history)
        assert await storage.list_step_views(session_id="chat") == steps
        assert await storage.count_step_views(session_id="chat") == len(steps)
        shown = {"include_rolled_back": True, "include_hidden_from_context": False}
        assert await storage.list_step_views(
            session_id="chat", **shown
        ) == build_step_views_from_entries(history, **shown)
        runs = replay(history).run_views()
        assert await storage.list_run_views(session_id="chat") == runs
        for run in runs:
            assert await storage.get_run_view(run.run_id) == run
        state = build_runtime_decision_state_from_entries(history)
        assert await storage.get_runtime_decision_state(session_id="chat") == state

    awaiting(persistence, work)


def test_the_last_decisions_are_returned(persistence: Persistence) -> None:
    decided = {"termination_reason": TerminationReason.TIMEOUT, "phase": "p", "source": "s"}

    async def work(storage: RunLogStorage) -> None:
        assert (await storage.get_runtime_decision_state(session_id="chat")).is_empty()
        await storage.append_entries(
            [
                entry(TerminationDecided, 1, **decided),
                entry(RetrospectApplied, 2, affected_sequences=[1], feedback="f"),
                entry(TerminationDecided, 3, **decided, run_id="b"),
                entry(
                    CompactionApplied,
                    4,
                    start_sequence=1,
                    end_sequence=3,
                    before_token_estimate=9,
                    after_token_estimate=1,
                    message_count=2,
                    transcript_path="/t",
                    summary="sum",
                ),
            ]
        )
        now = await storage.get_runtime_decision_state(session_id="chat")
        assert now.latest_termination is not None
        assert (now.latest_termination.sequence, now.latest_termination.reason) == (3, "timeout")
        assert now.latest_retrospect is not None
        assert now.latest_retrospect.affected_sequences == (1,)
        assert now.latest_compaction is not None
        assert now.latest_compaction.metadata.end_seq == 3
        one = await storage.get_runtime_decision_state(session_id="chat", run_id="run")
        assert one.latest_termination is not None
        assert one.latest_termination.sequence == 1

    awaiting(persistence, work)


def test_a_storage_is_made_for_a_configuration(tmp_path: Path) -> None:
    assert isinstance(create_run_log_storage(RunLogStorageConfig()), InMemoryRunLogStorage)
    path = str(tmp_path / "mine.db")
    made = create_run_log_storage(RunLogStorageConfig("sqlite", {"db_path": path}))
    assert isinstance(made, SQLiteRunLogStorage)
    assert (made.db_path, SQLiteRunLogStorage().db_path) == (path, "agiwo.db")
    config = {"dsn": "postgresql://h/d", "schema": "s"}
    assert isinstance(
        create_run_log_storage(RunLogStorageConfig("postgres", config)), PostgresRunLogStorage
    )
    with pytest.raises(ValueError, match="Unknown run_log_storage type: 'mongodb'"):
        create_run_log_storage(RunLogStorageConfig("mongodb"))
    with pytest.raises(InvalidValueError, match=r"The config of run_log_storage 'sqlite': .*path"):
        create_run_log_storage(RunLogStorageConfig("sqlite", {"path": path}))


def test_a_storage_is_initialized_from_its_first_call_until_it_is_closed(tmp_path: Path) -> None:
    async def work(storage: RunLogStorage) -> None:
        assert not storage.initialized
        await storage.close()
        await storage.append_entries([step(1)])
        assert storage.initialized
        await storage.close()
        await storage.close()
        assert not storage.initialized
        assert await storage.get_max_sequence("chat") == 1
        await storage.close()

    asyncio.run(work(SQLiteRunLogStorage(tmp_path / "agiwo.db")))
    asyncio.run(work(InMemoryRunLogStorage()))
