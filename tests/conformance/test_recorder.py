"""The recorder stores an agent's actions, and never gets in its way."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import threading
from collections.abc import Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    ClosedError,
    ConfigurationError,
    ConflictError,
    InvalidValueError,
    Parent,
    Persistence,
    RunRecorder,
)
from curio_persistence.recording.recorder import record_run
from tests.support.hands import Hands
from tests.support.outage import Outage

LOGGER = "curio_persistence.recording.run"


def stored(persistence: Persistence, run: RunRecorder | str) -> AgentRun:
    found = persistence.get_agent_run(run if isinstance(run, str) else run.run_id)
    assert found is not None
    return found


def events(persistence: Persistence, run: RunRecorder) -> list[AgentRunEvent]:
    return persistence.get_agent_run_events(run.run_id)


def types(persistence: Persistence, run: RunRecorder) -> list[str]:
    return [event.event_type for event in events(persistence, run)]


class Own(Enum):
    THOUGHT = "thought"
    GAVE_UP = "gave up"


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("says nothing")


# --- begin and end ----------------------------------------------------------------------------


def test_a_run_is_running_inside_its_block_and_completed_after_it(persistence: Persistence) -> None:
    with persistence.record_run(
        agent_id="agent",
        objective="find out",
        agent_name="Agent",
        session_id="session",
        additional_context={"a": 1},
        metadata={"b": 2},
    ) as run:
        during = stored(persistence, run)
    after = stored(persistence, run)
    assert (during.status, during.finished_at) == ("running", None)
    assert (after.status, after.error_message) == ("completed", None)
    assert (after.agent_id, after.agent_name, after.objective) == ("agent", "Agent", "find out")
    assert (after.session_id, after.parent_run_id) == ("session", None)
    assert (after.additional_context, after.metadata) == ('{"a": 1}', '{"b": 2}')
    assert after.started_at is not None
    assert after.finished_at is not None
    assert after.started_at < after.finished_at
    assert run.agent_run.id == after.id
    assert run.dropped == 0


def test_begin_and_end_are_events(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent", objective="find out") as run:
        pass
    started, completed = events(persistence, run)
    assert (started.event_type, started.get_data_dict()) == (
        "run_started",
        {"objective": "find out"},
    )
    assert (completed.event_type, completed.get_data_dict()) == (
        "run_completed",
        {"status": "completed", "error": None},
    )


def test_runs_get_new_ids_unless_one_is_given(persistence: Persistence) -> None:
    first, second = (persistence.record_run(agent_id="agent") for _ in range(2))
    assert first.run_id != second.run_id
    with persistence.record_run(agent_id="agent", run_id="mine") as run:
        assert run.run_id == "mine"
    assert stored(persistence, "mine").status == "completed"


@pytest.mark.parametrize(
    ("output", "text"),
    [("found", "found"), ({"a": [1]}, '{"a": [1]}'), (0, "0"), ("", ""), (None, None)],
)
def test_finishing_stores_the_output(persistence: Persistence, output: Any, text: str) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.finish(output)
        assert stored(persistence, run).status == "completed"
    assert stored(persistence, run).final_synthesis_output == text
    assert types(persistence, run) == ["run_started", "run_completed"]


@pytest.mark.parametrize("status", ["gave up", Own.GAVE_UP])
def test_a_run_can_finish_with_a_status_of_its_own(persistence: Persistence, status: Any) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.finish(status=status)
    assert stored(persistence, run).status == "gave up"


# --- exceptions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "status", "message"),
    [
        (ValueError("no"), "error", "ValueError: no"),
        (ValueError(), "error", "ValueError"),
        (Mute(), "error", "Mute: (it has no text)"),
        (ValueError("a\0\ud800"), "error", "ValueError: a\0\ud800"),
        (BaseException("odd"), "error", "BaseException: odd"),
        (KeyboardInterrupt(), "cancelled", "KeyboardInterrupt"),
        (SystemExit(1), "cancelled", "SystemExit: 1"),
        (asyncio.CancelledError(), "cancelled", "CancelledError"),
        (TimeoutError("slow"), "timeout", "TimeoutError: slow"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_exception_ends_the_run_and_propagates(
    persistence: Persistence, raised: BaseException, status: str, message: str
) -> None:
    with (
        pytest.raises(type(raised)) as caught,
        persistence.record_run(agent_id="agent", run_id="run") as run,
    ):
        raise raised
    assert caught.value is raised
    run_after = stored(persistence, run)
    assert (run_after.status, run_after.error_message) == (status, message)
    assert run_after.finished_at is not None
    last = events(persistence, run)[-1]
    data = last.get_data_dict()
    assert type(raised).__name__ in data.pop("traceback")
    assert (last.event_type, data) == ("run_error", {"status": status, "error": message})


def test_an_exception_after_the_end_takes_precedence(persistence: Persistence) -> None:
    def agent() -> None:
        with persistence.record_run(agent_id="agent", run_id="run") as run:
            run.finish("done")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        agent()
    after = stored(persistence, "run")
    assert (after.status, after.final_synthesis_output) == ("error", "done")


def test_an_abandoned_generator_is_cancelled(persistence: Persistence) -> None:
    def agent() -> Iterator[int]:
        with persistence.record_run(agent_id="agent", run_id="run"):
            yield 1

    steps = agent()
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert stored(persistence, "run").status == "cancelled"


# --- nesting ----------------------------------------------------------------------------------


def parents(persistence: Persistence) -> dict[str, str | None]:
    return {run.run_id: run.parent_run_id for run in persistence.get_agent_runs(limit=None)}


def test_a_run_inside_another_is_its_child(persistence: Persistence) -> None:
    def record(name: str) -> RunRecorder:
        return persistence.record_run(agent_id="agent", run_id=name)

    with record("top"):
        with record("first"), record("below"):
            pass
        with pytest.raises(ValueError, match="no"), record("broken"):
            raise ValueError("no")
        with record("last"):
            pass
    with record("afterwards"):
        pass
    assert parents(persistence) == {
        "top": None,
        "first": "top",
        "below": "first",
        "broken": "top",
        "last": "top",
        "afterwards": None,
    }


def test_a_parent_can_be_named_by_recorder_or_by_id(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent", run_id="top") as top:
        with persistence.record_run(agent_id="agent", run_id="a", parent=top):
            pass
        with persistence.record_run(agent_id="agent", run_id="b", parent="elsewhere"):
            pass
    assert parents(persistence) == {"top": None, "a": "top", "b": "elsewhere"}


def test_a_plain_thread_has_no_parent_but_the_one_it_is_given(persistence: Persistence) -> None:
    def work(name: str, parent: RunRecorder | Parent) -> None:
        with persistence.record_run(agent_id="agent", run_id=name, parent=parent):
            pass

    with persistence.record_run(agent_id="agent", run_id="top") as top:
        for name, parent in ("alone", Parent.ENCLOSING), ("given", top):
            thread = threading.Thread(target=work, args=(name, parent))
            thread.start()
            thread.join()
        context = contextvars.copy_context()
        arguments = (work, "in its context", Parent.ENCLOSING)
        thread = threading.Thread(target=context.run, args=arguments)
        thread.start()
        thread.join()
    assert parents(persistence) == {
        "top": None,
        "alone": None,
        "given": "top",
        "in its context": "top",
    }


def test_threads_may_share_a_recorder(persistence: Persistence) -> None:
    with (
        persistence.record_run(agent_id="agent") as run,
        ThreadPoolExecutor(4) as threads,
    ):
        list(threads.map(lambda number: run.log("step", {"number": number}), range(20)))
    steps = persistence.get_agent_run_events(run.run_id, "step")
    assert sorted(step.get_data_dict()["number"] for step in steps) == list(range(20))
    assert run.dropped == 0


# --- asyncio ----------------------------------------------------------------------------------


def test_a_coroutine_records_as_a_function_does(persistence: Persistence) -> None:
    async def agent() -> None:
        with persistence.record_run(agent_id="agent", run_id="run") as run:
            await asyncio.sleep(0)
            run.finish("done")

    asyncio.run(agent())
    assert stored(persistence, "run").final_synthesis_output == "done"


def test_tasks_have_parents_of_their_own(persistence: Persistence) -> None:
    async def agent(name: str, meet: asyncio.Barrier) -> None:
        with persistence.record_run(agent_id="agent", run_id=name):
            await meet.wait()
            with persistence.record_run(agent_id="agent", run_id=f"below {name}"):
                await meet.wait()

    async def main() -> None:
        meet = asyncio.Barrier(2)
        with persistence.record_run(agent_id="agent", run_id="top"):
            await asyncio.gather(agent("a", meet), agent("b", meet))

    asyncio.run(main())
    assert parents(persistence) == {
        "top": None,
        "a": "top",
        "b": "top",
        "below a": "a",
        "below b": "b",
    }


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_cancelled_task_is_a_cancelled_run(persistence: Persistence, how: str) -> None:
    async def agent() -> None:
        with persistence.record_run(agent_id="agent", run_id="run"):
            await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(agent())
        await asyncio.sleep(0)
        waiting: Awaitable[None] = task if how == "cancel" else asyncio.wait_for(task, 0.001)
        if how == "cancel":
            task.cancel()
        await waiting

    with pytest.raises((asyncio.CancelledError, TimeoutError)):
        asyncio.run(main())
    assert stored(persistence, "run").status == "cancelled"


# --- what happens in a run --------------------------------------------------------------------


def test_events_come_in_the_order_they_were_logged(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent", agent_name="Agent") as run:
        for number in range(50):
            run.log(f"step {number}", {"number": number})
    logged = events(persistence, run)[1:-1]
    assert [event.event_type for event in logged] == [f"step {number}" for number in range(50)]
    assert [event.get_data_dict()["number"] for event in logged] == list(range(50))
    assert {event.agent_name for event in logged} == {"Agent"}


def test_an_event_type_may_be_a_member_or_text_and_data_is_optional(
    persistence: Persistence,
) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.log(Own.THOUGHT)  # type: ignore[arg-type]
        run.log("said", "plain text")
    [thought, said] = events(persistence, run)[1:-1]
    assert (thought.event_type, thought.data) == ("thought", None)
    assert said.data == "plain text"


def test_iterations_are_numbered_and_counted(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent") as run:
        assert [run.iteration() for _ in range(3)] == [1, 2, 3]
    assert stored(persistence, run).total_iterations == 3
    started = persistence.get_agent_run_events(run.run_id, "iteration_started")
    assert [event.get_data_dict() for event in started] == [{"iteration": n} for n in (1, 2, 3)]


def test_a_tool_call_is_stored_before_and_after(persistence: Persistence) -> None:
    with (
        persistence.record_run(agent_id="agent") as run,
        run.tool("search", {"q": "it"}) as call,
    ):
        assert types(persistence, run) == ["run_started", "tool_call_started"]
        call.result = ["found"]
    begin, end = events(persistence, run)[1:3]
    assert begin.get_data_dict() == {"tool_name": "search", "args": {"q": "it"}}
    data = end.get_data_dict()
    latency = data.pop("latency_ms")
    assert end.event_type == "tool_call"
    assert data == {"tool_name": "search", "args": {"q": "it"}, "result": ["found"], "error": None}
    assert latency >= 0


def test_a_failed_tool_call_stores_its_error_which_propagates(
    persistence: Persistence,
) -> None:
    with persistence.record_run(agent_id="agent") as run:
        with pytest.raises(KeyError) as caught, run.tool("search"):
            raise KeyError("nothing there")
        assert caught.value.args == ("nothing there",)
    [call] = persistence.get_agent_run_events(run.run_id, "tool_call")
    assert call.get_data_dict()["error"] == "KeyError: 'nothing there'"
    assert stored(persistence, run).status == "completed"
    [metrics] = persistence.get_agent_run_stats()["tool_metrics"].values()
    assert (metrics["call_count"], metrics["error_count"]) == (1, 1)


def test_a_model_call_is_stored_completely(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.llm_call(
            provider="provider",
            model="model",
            prompt="why?",
            response="because",
            input_tokens=1,
            output_tokens=2,
            latency_ms=2.6,
            cost_usd=0.1,
            cache_read_tokens=3,
            cache_write_tokens=4,
            reasoning_tokens=5,
            input_params={"top_p": 1},
            usage_metrics={"cached": True},
        )
    [usage] = persistence.get_llm_usage(run_id=run.run_id)
    assert (usage.agent_id, usage.provider, usage.model) == ("agent", "provider", "model")
    assert (usage.prompt, usage.prompt_length) == ("why?", 4)
    assert (usage.response_content, usage.response_length) == ("because", 7)
    assert (usage.input_tokens, usage.output_tokens, usage.latency_ms) == (1, 2, 3)
    assert (usage.cache_read_tokens, usage.cache_write_tokens, usage.reasoning_tokens) == (3, 4, 5)
    assert usage.get_input_params_dict() == {"top_p": 1}
    assert usage.get_usage_metrics_dict() == {"cached": True}
    assert (usage.cost_usd, usage.status, usage.error_message) == (Decimal("0.1"), "success", None)


def test_a_prompt_that_is_not_text_is_stored_as_json(persistence: Persistence) -> None:
    messages = [{"role": "user", "content": "why?"}]
    with persistence.record_run(agent_id="agent") as run:
        run.llm_call(prompt=messages, response={"content": "because"})
        run.llm_call(prompt=None)
    nothing, usage = persistence.get_llm_usage(run_id=run.run_id)
    assert json.loads(usage.prompt) == messages
    assert usage.prompt_length == len(usage.prompt)
    assert usage.response_content == '{"content": "because"}'
    assert (nothing.prompt, nothing.response_content, nothing.response_length) == ("", None, None)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"error": TimeoutError("slow")}, ("error", "TimeoutError: slow")),
        ({"error": "slow"}, ("error", "slow")),
        ({"error": "slow", "status": "timeout"}, ("timeout", "slow")),
        ({"status": "timeout"}, ("timeout", None)),
    ],
)
def test_a_failed_model_call_stores_its_error(
    persistence: Persistence, given: dict[str, Any], kept: tuple[str, str | None]
) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.llm_call(**given)
    [usage] = persistence.get_llm_usage(run_id=run.run_id)
    assert (usage.status, usage.error_message) == kept


# --- when it cannot be recorded ---------------------------------------------------------------


def test_an_agent_continues_when_its_persistence_fails(
    persistence: Persistence, caplog: pytest.LogCaptureFixture
) -> None:
    steps = []
    with persistence.record_run(agent_id="agent", run_id="run") as run:
        steps.append("before")
        persistence.close()
        run.log("thought")
        with run.tool("search") as call:
            steps.append("during")
            call.result = "found"
        run.llm_call(prompt="why?")
        steps.append("after")
    assert steps == ["before", "during", "after"]
    # The thought, two tool events, the model call; then the end, as an event and in the run.
    assert run.dropped == 6
    records = [record for record in caplog.records if record.name == LOGGER]
    [record] = [record for record in records if record.levelno == logging.ERROR]
    assert "Run run is only partly recorded: ClosedError" in record.getMessage()
    assert record.exc_info is None


def test_every_run_logs_once_that_it_is_not_recorded(
    persistence: Persistence, caplog: pytest.LogCaptureFixture
) -> None:
    persistence.close()
    for _ in range(2):
        with persistence.record_run(agent_id="agent") as run:
            run.log("thought")
        assert run.dropped == 5
    assert [record.name for record in caplog.records].count(LOGGER) == 2


def test_the_agents_own_exception_is_never_masked(persistence: Persistence) -> None:
    persistence.close()
    raised = ValueError("no")
    with (
        pytest.raises(ValueError, match="no") as caught,
        persistence.record_run(agent_id="agent") as run,
        run.tool("search"),
    ):
        raise raised
    assert caught.value is raised
    assert run.dropped == 6


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_run_whose_begin_failed_is_stored_at_its_end(persistence: Persistence, lost: int) -> None:
    """Its first event, its last event and its end are the calls that may still succeed."""
    unreachable: Any = Outage(persistence, calls=lost)
    with record_run(unreachable, agent_id="agent", objective="find out", run_id="run") as run:
        pass
    assert run.dropped == lost
    assert types(persistence, run) == ["run_started", "run_completed"][lost - 1 :]
    after = stored(persistence, run)
    assert (after.status, after.objective) == ("completed", "find out")
    assert after == run.agent_run


def test_with_on_error_raise_a_failure_is_raised(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent", on_error="raise") as run:
        with pytest.raises(InvalidValueError, match="event_type"):
            run.log("x" * 256)
        with pytest.raises(InvalidValueError, match="latency_ms"):
            run.llm_call(latency_ms=float("nan"))
    assert run.dropped == 0


def test_with_on_error_raise_a_failure_at_the_end_is_raised(persistence: Persistence) -> None:
    with pytest.raises(ClosedError), persistence.record_run(agent_id="agent", on_error="raise"):
        persistence.close()


def test_with_on_error_raise_a_failed_tool_call_record_is_raised(
    persistence: Persistence,
) -> None:
    with (
        pytest.raises(ClosedError),
        persistence.record_run(agent_id="agent", on_error="raise") as run,
        run.tool("search"),
    ):
        persistence.close()


def test_with_on_error_raise_a_run_that_cannot_be_stored_does_not_begin(
    persistence: Persistence,
) -> None:
    began = []
    persistence.close()
    with pytest.raises(ClosedError), persistence.record_run(agent_id="agent", on_error="raise"):
        began.append("the agent")
    assert began == []


def test_with_on_error_raise_the_agents_own_exception_propagates_with_a_note(
    persistence: Persistence,
) -> None:
    def agent() -> None:
        with (
            persistence.record_run(agent_id="agent", on_error="raise") as run,
            run.tool("search"),
        ):
            persistence.close()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        agent()
    assert str(caught.value) == "no"
    about_tool, about_run = caught.value.__notes__
    assert "<ToolCall 'search' in run" in about_tool
    assert "could not be recorded" in about_tool
    assert "end of run" in about_run


def test_a_run_that_cannot_begin_leaves_no_parent_behind(persistence: Persistence) -> None:
    with pytest.raises(InvalidValueError), persistence.record_run(agent_id="", on_error="raise"):
        pass
    with persistence.record_run(agent_id="agent") as run:
        pass
    assert stored(persistence, run).parent_run_id is None


def test_on_error_is_log_or_raise(persistence: Persistence) -> None:
    with pytest.raises(ConfigurationError, match="on_error"):
        persistence.record_run(agent_id="agent", on_error="ignore")  # type: ignore[arg-type]


def test_a_duplicate_run_id_overwrites_nothing(
    persistence: Persistence, caplog: pytest.LogCaptureFixture
) -> None:
    with persistence.record_run(agent_id="agent", run_id="same") as first:
        first.finish("first")
    with persistence.record_run(agent_id="agent", run_id="same") as second:
        second.finish("second")
    assert stored(persistence, "same").final_synthesis_output == "first"
    assert stored(persistence, second).final_synthesis_output == "second"
    assert (second.run_id != "same", second.dropped) == (True, 0)
    assert second.run_id in caplog.text
    with (
        pytest.raises(ConflictError),
        persistence.record_run(agent_id="agent", run_id="same", on_error="raise"),
    ):
        raise AssertionError("the block was entered")


def test_the_recorder_and_the_persistence_use_one_clock(
    persistence: Persistence, clock: Hands
) -> None:
    with persistence.record_run(agent_id="agent") as run:
        clock.move(hours=-1)
    after = stored(persistence, run)
    assert after.created_at is not None
    assert after.started_at is not None
    assert after.finished_at is not None
    last = events(persistence, run)[-1].timestamp
    assert last is not None
    assert after.started_at < after.created_at < last < after.finished_at


def test_a_suspended_generator_becomes_no_parent_after_its_end(persistence: Persistence) -> None:
    def stream() -> Iterator[None]:
        with persistence.record_run(agent_id="stream"):
            yield

    generator = stream()
    next(generator)
    with persistence.record_run(agent_id="inner"):
        generator.close()
    with persistence.record_run(agent_id="later") as later:
        pass
    assert stored(persistence, later).parent_run_id is None


def test_a_run_finished_as_failed_ends_with_an_error_event(
    persistence: Persistence,
) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.finish(status="error")
    assert types(persistence, run)[-1] == "run_error"


def test_a_blocking_recorder_refuses_async_with(persistence: Persistence) -> None:
    run = persistence.record_run(agent_id="agent")
    for block in (run, run.tool("search"), run.llm(model="m"), run.span("part")):
        assert not hasattr(block, "__aenter__")


# --- levels and metrics ---------------------------------------------------------------------------


def test_errors_are_found_by_their_level(persistence: Persistence) -> None:
    failed = persistence.record_run(agent_id="agent")
    with suppress(ValueError), failed:
        failed.log("custom", level="debug", message="About to try.")
        with failed.tool("search"):
            raise ValueError("No answer.")
    with persistence.record_run(agent_id="agent") as left:
        left.finish(status="cancelled")
    events = persistence.query_events(min_level="warning", order="oldest")
    assert [(e.run_id, e.event_type, e.level) for e in events] == [
        (failed.run_id, "tool_call", "warning"),
        (failed.run_id, "run_error", "error"),
        (left.run_id, "run_error", "warning"),
    ]
    [tried] = persistence.query_events(level="debug")
    assert tried.message == "About to try."


def test_events_of_a_run_belong_to_its_session(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent", session_id="talk", tags=["nightly"]) as run:
        run.log("custom")
    assert persistence.count_events(session_id="talk") == 3
    [found] = persistence.query_agent_runs(session_id="talk", tags="nightly")
    assert found.run_id == run.run_id


def test_a_metric_is_an_event(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.metric("accuracy", 0.93, unit="ratio", tags={"split": "test"})
    [event] = persistence.get_agent_run_events(run.run_id, "metric")
    assert event.get_data_dict() == {
        "name": "accuracy",
        "value": 0.93,
        "unit": "ratio",
        "tags": {"split": "test"},
    }
