"""What a framework reports by two calls, a begin and an end, is recorded like a block."""

from __future__ import annotations

import asyncio
import threading

import pytest

from curio_persistence import Persistence, UnsupportedError, current_run
from curio_persistence.aio import AsyncPersistence
from curio_persistence.recording.recorder import NoRun
from tests.support.recorded import events, parents, stored, types


def test_a_run_that_was_begun_is_the_current_one_until_it_ends(persistence: Persistence) -> None:
    run = persistence.record_run(agent_id="agent", run_id="run").begin()
    assert current_run() is run
    with persistence.record_run(agent_id="agent", run_id="child"):
        pass
    run.end()
    assert current_run() is None
    assert parents(persistence) == {"run": None, "child": "run"}
    assert types(persistence, "run") == ["run_started", "run_completed"]


def test_a_block_that_is_not_current_gets_no_children(persistence: Persistence) -> None:
    run = persistence.record_run(agent_id="agent", run_id="run").begin(current=False)
    with persistence.record_run(agent_id="agent", run_id="other"):
        pass
    run.end()
    assert parents(persistence) == {"run": None, "other": None}


def test_blocks_that_overlap_belong_where_they_were_said_to(persistence: Persistence) -> None:
    run = persistence.record_run(agent_id="agent", run_id="run").begin(current=False)
    first = run.span("first").begin(inside=run, current=False)
    second = run.span("second").begin(inside=run, current=False)
    in_first = run.tool("look_up", {"q": 1}).begin(inside=first, current=False)
    call = run.llm(model="acme-1").begin(inside=second, current=False)
    first.end()
    call.response = "an answer"
    call.end()
    in_first.result = 7
    in_first.end()
    second.end()
    run.finish("done")
    run.end()
    assert in_first.parent_span_id == first.span_id
    assert first.parent_span_id == second.parent_span_id == run.span_id
    [usage] = persistence.get_llm_usage()
    assert (usage.parent_span_id, usage.response_content) == (second.span_id, "an answer")
    [tool] = events(persistence, "run", "tool_call")
    assert tool.get_data_dict()["result"] == 7
    assert stored(persistence, "run").final_synthesis_output == "done"
    assert types(persistence, "run").count("run_completed") == 1


def test_another_thread_may_end_a_block(persistence: Persistence) -> None:
    run = persistence.record_run(agent_id="agent", run_id="run").begin()
    tool = run.tool("look_up").begin()

    def end() -> None:
        tool.end(ValueError("no such word"))
        run.end()

    thread = threading.Thread(target=end)
    thread.start()
    thread.join()
    assert current_run() is None, "what has ended is not current"
    [told] = events(persistence, "run", "tool_call")
    assert told.get_data_dict()["error"] == "ValueError: no such word"
    assert stored(persistence, "run").status == "completed"


def test_a_failure_of_which_only_the_text_is_known(persistence: Persistence) -> None:
    run = persistence.record_run(agent_id="agent", run_id="run").begin()
    tool = run.tool("look_up").begin()
    tool.end("timed out")
    run.end("the tool failed")
    found = stored(persistence, "run")
    assert (found.status, found.error_message) == ("error", "the tool failed")
    assert events(persistence, "run", "tool_call")[0].get_data_dict()["error"] == "timed out"
    assert "traceback" not in events(persistence, "run", "run_error")[0].get_data_dict()


def test_a_second_end_is_ignored(persistence: Persistence) -> None:
    run = persistence.record_run(agent_id="agent", run_id="run").begin()
    call = run.llm(model="acme-1").begin()
    for _ in range(2):
        call.end()
    run.end()
    run.end("too late")
    assert len(persistence.get_llm_usage()) == 1
    assert stored(persistence, "run").status == "completed"


def test_a_block_that_was_begun_cannot_be_entered(persistence: Persistence) -> None:
    run = persistence.record_run(agent_id="agent", run_id="run").begin()
    with pytest.raises(UnsupportedError, match="entered before"):
        run.begin()
    run.end()


def test_a_model_call_of_no_run_stands_alone(persistence: Persistence) -> None:
    call = NoRun(persistence, "agent").llm(model="acme-1", prompt="Hello?").begin()
    call.response = "Hello!"
    call.end()
    [usage] = persistence.get_llm_usage(agent_id="agent")
    assert (usage.run_id, usage.response_content, usage.parent_span_id) == (None, "Hello!", None)
    assert usage.trace_id is not None
    assert persistence.get_agent_runs() == []


def test_a_model_call_of_no_run_is_named_in_messages(
    persistence: Persistence, caplog: pytest.LogCaptureFixture
) -> None:
    call = NoRun(persistence).llm(model="m" * 999).begin()
    call.end()
    assert "A model call of no run: AgentLLMUsage.model is not as it was given" in caplog.text
    assert len(persistence.get_llm_usage()) == 1


def test_awaited_blocks_begin_and_end_too(persistence: Persistence) -> None:
    async def agent() -> None:
        run = AsyncPersistence(persistence).record_run(agent_id="agent", run_id="run")
        await run.begin()
        assert current_run() is not None
        block = run.tool("look_up")
        (await block.begin()).result = 7
        await block.end()
        await run.end()

    asyncio.run(asyncio.wait_for(agent(), 20))
    assert events(persistence, "run", "tool_call")[0].get_data_dict()["result"] == 7
    assert stored(persistence, "run").status == "completed"
