"""Parts of a run are spans: records made in a span are its children, also in other runs."""

from __future__ import annotations

import asyncio
import re
import threading
import uuid
from collections.abc import Iterator

import pytest

from curio_persistence import AgentRunEvent, Persistence, RunRecorder, Span, current_run
from curio_persistence.aio import AsyncPersistence
from tests.support.recorded import events, stored, types


def one(persistence: Persistence, run: RunRecorder | str, event_type: str) -> AgentRunEvent:
    [event] = events(persistence, run, event_type)
    return event


def test_a_span_stores_its_input_output_and_time(persistence: Persistence) -> None:
    with (
        persistence.record_run(agent_id="agent") as run,
        run.span("retrieve", kind="retriever", input={"q": "it"}) as span,
    ):
        span.output = ["found"]
    assert types(persistence, run) == ["run_started", "span_started", "span", "run_completed"]
    data = one(persistence, run, "span").get_data_dict()
    assert data.pop("latency_ms") >= 0
    assert data == {
        "name": "retrieve",
        "kind": "retriever",
        "input": {"q": "it"},
        "output": ["found"],
        "error": None,
    }


def test_a_failed_span_stores_its_error_which_propagates(persistence: Persistence) -> None:
    with (
        persistence.record_run(agent_id="agent") as run,
        pytest.raises(ValueError, match="no"),
        run.span("retrieve"),
    ):
        raise ValueError("no")
    event = one(persistence, run, "span")
    assert (event.level, event.get_data_dict()["error"]) == ("warning", "ValueError: no")
    assert "Traceback" in event.get_data_dict()["traceback"]


def test_records_made_in_a_span_are_below_it(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent") as run:
        run.log("before")
        with run.span("retrieve"):
            run.log("inside")
            with run.tool("search"):
                run.llm_call(model="m")
                with run.llm(model="n"):
                    pass
                with persistence.record_run(agent_id="sub", run_id="sub"):
                    pass
        run.log("after")
    started = one(persistence, run, "run_started")
    span, tool = one(persistence, run, "span"), one(persistence, run, "tool_call")
    assert [one(persistence, run, t).span_id for t in ("before", "inside", "after")] == [
        started.span_id,
        span.span_id,
        started.span_id,
    ]
    assert (started.parent_span_id, span.parent_span_id) == (None, started.span_id)
    assert tool.parent_span_id == span.span_id
    calls = persistence.get_llm_usage(run_id=run.run_id)
    assert {call.parent_span_id for call in calls} == {tool.span_id}
    assert one(persistence, "sub", "run_started").parent_span_id == tool.span_id
    every = [*events(persistence, run), *events(persistence, "sub"), *calls]
    assert {record.trace_id for record in every} == {started.trace_id}
    assert len({record.span_id for record in (started, span, tool, *calls)}) == 5


def test_ids_have_the_opentelemetry_format(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent", run_id="my own") as run, run.span("s"):
        pass
    for event in events(persistence, run):
        assert re.fullmatch("[0-9a-f]{32}", event.trace_id or "")
        assert re.fullmatch("[0-9a-f]{16}", event.span_id or "")


def test_generated_run_ids_sort_by_time(persistence: Persistence) -> None:
    ids = [persistence.record_run(agent_id="agent").run_id for _ in range(50)]
    assert ids == sorted(ids)
    assert {uuid.UUID(each).version for each in ids} == {7}
    assert {uuid.UUID(each).variant for each in ids} == {uuid.RFC_4122}


def test_a_child_that_names_its_parent_by_id_is_in_its_trace(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent", run_id="top") as top:
        pass
    with persistence.record_run(agent_id="agent", parent="top") as child:
        pass
    assert (child.trace_id, child.parent_span_id) == (top.trace_id, top.span_id)


def test_tools_in_other_threads_and_tasks_are_below_the_span_they_started_in(
    persistence: Persistence,
) -> None:
    def search(run: RunRecorder, name: str) -> None:
        with run.tool(name):
            pass

    async def search_too(run: RunRecorder, name: str) -> None:
        with run.span(name):
            await asyncio.sleep(0)
            with run.tool(f"below {name}"):
                await asyncio.sleep(0)

    async def both(run: RunRecorder) -> None:
        with run.span("around"):
            await asyncio.gather(search_too(run, "a"), search_too(run, "b"))

    with persistence.record_run(agent_id="agent") as run:
        with run.span("span"):
            thread = threading.Thread(target=search, args=(run, "in a thread"))
            thread.start()
            thread.join()
        asyncio.run(both(run))
    spans = {
        event.get_data_dict().get("name") or event.get_data_dict()["tool_name"]: event
        for event in events(persistence, run)
        if event.event_type in ("span", "tool_call")
    }
    assert spans["in a thread"].parent_span_id == run.span_id
    assert spans["a"].parent_span_id == spans["b"].parent_span_id == spans["around"].span_id
    assert spans["below a"].parent_span_id == spans["a"].span_id
    assert spans["below b"].parent_span_id == spans["b"].span_id


def test_a_span_that_outlives_its_run_is_stored_in_it(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent") as run:
        span = run.span("late").__enter__()
    assert current_run() is run  # Its span continues.
    span.__exit__(None, None, None)
    assert current_run() is None
    assert types(persistence, run)[-1] == "span"
    assert stored(persistence, run).status == "completed"


def test_a_consumers_model_calls_are_not_below_a_paused_tool(persistence: Persistence) -> None:
    def tool(run: RunRecorder) -> Iterator[int]:
        with run.tool("stream"):
            yield 1
            run.llm_call(model="its own")

    with persistence.record_run(agent_id="agent") as run:
        for _ in tool(run):
            run.llm_call(model="the consumer's")
    parents = {call.model: call.parent_span_id for call in persistence.get_llm_usage()}
    assert parents == {
        "its own": one(persistence, run, "tool_call").span_id,
        "the consumer's": run.span_id,
    }


def test_awaited_spans_record_like_blocking_ones(persistence: Persistence) -> None:
    async def agent() -> None:
        awaited = AsyncPersistence(persistence)
        async with (
            awaited.record_run(agent_id="agent", run_id="run") as run,
            run.span("retrieve", input=1) as span,
            run.llm(model="m") as call,
        ):
            assert isinstance(span, Span)
            span.output = 2
            call.response = "yes"

    asyncio.run(agent())
    data = one(persistence, "run", "span").get_data_dict()
    assert (data["input"], data["output"]) == (1, 2)
    [call] = persistence.get_llm_usage()
    assert (call.response_content, call.latency_ms is not None) == ("yes", True)
    assert call.parent_span_id == one(persistence, "run", "span").span_id
