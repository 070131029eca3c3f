"""Decorated functions record themselves, and behave as before."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any
from weakref import ref

import pytest

from curio_persistence import AgentRun, Persistence, UnsupportedError, current_run, tool
from curio_persistence.aio import AsyncPersistence
from tests.support.recorded import events, parents, stored, types


def the_run(persistence: Persistence, agent_id: str = "agent") -> AgentRun:
    [run] = persistence.get_agent_runs(agent_id, limit=None)
    return run


def test_a_decorated_function_is_a_run(persistence: Persistence) -> None:
    @persistence.recorded(agent_id="agent", tags="prod", session_id="talk")
    def plan(question: str) -> dict[str, int]:
        """Plan it."""
        assert current_run() is not None
        return {"answer": 42}

    assert plan("why?") == {"answer": 42}
    run = the_run(persistence)
    assert (run.status, run.objective, run.tags) == ("completed", "why?", ["prod"])
    assert (run.final_synthesis_output, run.session_id) == ('{"answer": 42}', "talk")
    assert (plan.__name__, plan.__doc__) == ("plan", "Plan it.")
    assert current_run() is None


def test_arguments_are_stored_by_name_without_self(persistence: Persistence) -> None:
    class Agent:
        @persistence.recorded()
        def plan(self, a: int, *rest: int, key: str = "", **more: Any) -> None: ...

    Agent().plan(1, 2, 3, key="k", other="o")
    run = the_run(persistence, Agent.plan.__qualname__)
    assert json.loads(run.objective) == {"a": 1, "rest": [2, 3], "key": "k", "more": {"other": "o"}}


def test_arguments_and_results_can_be_left_out(persistence: Persistence) -> None:
    @tool(capture_args=False, capture_result=False)
    def look_up(secret: str) -> str:
        return secret

    @persistence.recorded("agent", capture_args=False, capture_result=False)
    def plan(secret: str) -> str:
        return look_up(secret)

    assert plan("hunter2") == "hunter2"
    run = the_run(persistence)
    assert (run.objective, run.final_synthesis_output) == ("", None)
    assert not any("hunter2" in (event.data or "") for event in events(persistence, run.run_id))


def test_an_interrupt_while_the_result_is_kept_ends_the_run(persistence: Persistence) -> None:
    class Slow:
        def __repr__(self) -> str:
            raise KeyboardInterrupt

    @persistence.recorded("agent")
    def plan() -> Slow:
        return Slow()

    async def work() -> Slow:
        return Slow()

    @persistence.recorded("returned")
    def plan_later() -> Coroutine[Any, Any, Slow]:
        return work()

    with pytest.raises(KeyboardInterrupt):
        plan()
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(plan_later())
    assert the_run(persistence).status == "cancelled"
    assert the_run(persistence, "returned").status == "cancelled"
    assert current_run() is None


def test_a_decorated_function_that_raises_is_a_failed_run(persistence: Persistence) -> None:
    @persistence.recorded("agent")
    def plan() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        plan()
    assert (the_run(persistence).status, the_run(persistence).error_message) == (
        "error",
        "ValueError: no",
    )
    with pytest.raises(TypeError):
        plan("too", "many")  # type: ignore[call-arg]


def test_decorated_agents_and_tools_make_a_tree(persistence: Persistence) -> None:
    @tool
    def search(q: str) -> list[str]:
        return [summarise(q)]

    @persistence.recorded("summariser")
    def summarise(text: str) -> str:
        run = current_run()
        assert run is not None
        run.llm_call(model="m")
        return text[:2]

    @persistence.recorded("agent")
    def plan(question: str) -> list[str]:
        return search(q=question)

    assert plan("why?") == ["wh"]
    outer, inner = the_run(persistence), the_run(persistence, "summariser")
    [call] = events(persistence, outer.run_id, "tool_call")
    data = call.get_data_dict()
    assert (data["tool_name"], data["args"], data["result"]) == ("search", {"q": "why?"}, ["wh"])
    assert inner.parent_run_id == outer.run_id
    assert events(persistence, inner.run_id)[0].parent_span_id == call.span_id


def test_a_tool_outside_a_run_is_called_without_being_recorded(persistence: Persistence) -> None:
    @tool(name="other")
    def search(q: str) -> str:
        return q

    assert search("it") == "it"
    assert persistence.count_events() == 0


def test_a_decorated_coroutine_is_a_run(persistence: Persistence) -> None:
    @tool
    async def search(q: str) -> str:
        await asyncio.sleep(0)
        return q

    @persistence.recorded("agent")
    async def plan(question: str) -> str:
        return await search(question)

    assert inspect.iscoroutinefunction(plan)
    assert asyncio.run(plan("why?")) == "why?"
    run = the_run(persistence)
    assert (run.status, run.final_synthesis_output) == ("completed", "why?")
    assert "tool_call" in types(persistence, run.run_id)


@pytest.mark.parametrize(("question", "status"), [("why?", "completed"), ("no", "error")])
def test_a_function_that_returns_a_coroutine_is_recorded_until_it_was_awaited(
    persistence: Persistence, question: str, status: str
) -> None:
    @tool
    def search(q: str) -> Coroutine[Any, Any, str]:
        async def work() -> str:
            run = current_run()
            assert run is not None
            run.log("looking")
            await asyncio.sleep(0)
            if q == "no":
                raise ValueError(q)
            return q

        return work()

    @persistence.recorded("agent")
    def plan(question: str) -> Coroutine[Any, Any, str]:
        async def work() -> str:
            return await search(question)

        return work()

    async def main() -> str:
        begun = plan(question)
        assert (current_run(), the_run(persistence).status) == (None, "running")
        return await asyncio.create_task(begun)

    with nullcontext() if status == "completed" else pytest.raises(ValueError, match="no"):
        assert asyncio.run(main()) == question
    run = the_run(persistence)
    result = question if status == "completed" else None
    assert (run.status, run.final_synthesis_output) == (status, result)
    _, begin, looking, end, last = events(persistence, run.run_id)
    assert (begin.event_type, looking.event_type, end.event_type) == (
        *("tool_call_started", "looking", "tool_call"),
    )
    assert begin.span_id == looking.span_id == end.span_id
    assert end.get_data_dict()["result"] == result
    assert last.event_type == ("run_completed" if result else "run_error")


def test_a_decorated_generator_is_a_run_from_its_first_item_to_its_last(
    persistence: Persistence,
) -> None:
    @persistence.recorded("agent", run_id="stream")
    def answer(question: str) -> Iterator[str]:
        yield "be"
        yield "cause"

    chunks = answer("why?")
    assert persistence.get_agent_run("stream") is None
    assert next(chunks) == "be"
    with persistence.record_run(agent_id="consumer", run_id="consumer"):
        assert list(chunks) == ["cause"]
    run = stored(persistence, "stream")
    assert (run.status, run.final_synthesis_output) == ("completed", "because")
    assert parents(persistence) == {"stream": None, "consumer": None}


def test_a_generator_that_is_left_early_is_cancelled_with_what_it_yielded(
    persistence: Persistence,
) -> None:
    @persistence.recorded("agent")
    def answer() -> Iterator[int]:
        yield 1
        yield 2

    chunks = answer()
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    run = the_run(persistence)
    assert (run.status, run.final_synthesis_output) == ("cancelled", "[1]")


def test_a_decorated_generator_supports_send_throw_and_return(persistence: Persistence) -> None:
    def echo() -> Any:
        heard: list[Any] = []
        while len(heard) < 3:
            try:
                heard.append((yield heard))
            except ValueError as error:
                heard.append(str(error))
        return heard

    for generator in (echo(), persistence.recorded("agent")(echo)()):
        assert next(generator) == []
        assert generator.send("a") == ["a"]
        assert generator.throw(ValueError("b")) == ["a", "b"]
        with pytest.raises(StopIteration) as stopped:
            generator.send("c")
        assert stopped.value.value == ["a", "b", "c"]
    assert the_run(persistence).final_synthesis_output == '["a", "b", "c"]'


def test_a_decorated_async_generator_is_a_run(persistence: Persistence) -> None:
    @persistence.recorded("agent", run_id="stream")
    async def answer(question: str) -> AsyncIterator[str]:
        for chunk in ("be", "cause"):
            await asyncio.sleep(0)
            yield chunk

    async def main() -> list[str]:
        chunks = []
        async for chunk in answer("why?"):
            with persistence.record_run(agent_id="consumer"):
                chunks.append(chunk)
        return chunks

    assert asyncio.run(main()) == ["be", "cause"]
    run = stored(persistence, "stream")
    assert (run.status, run.final_synthesis_output) == ("completed", "because")
    assert {run.parent_run_id for run in persistence.get_agent_runs("consumer")} == {None}


def test_a_decorated_generator_may_be_a_context_manager(persistence: Persistence) -> None:
    @contextmanager
    @persistence.recorded("agent", run_id="around")
    def around() -> Iterator[None]:
        yield

    with around(), persistence.record_run(agent_id="inside", run_id="inside"):
        pass
    assert parents(persistence) == {"around": None, "inside": "around"}


def test_awaited_persistences_record_coroutines(persistence: Persistence) -> None:
    awaited = AsyncPersistence(persistence)

    @tool
    async def search(q: str) -> str:
        return q

    @awaited.recorded("agent")
    async def plan(question: str) -> str:
        return await search(question)

    @awaited.recorded("streamer")
    async def answer() -> AsyncIterator[str]:
        yield await plan("why?")

    async def main() -> list[str]:
        return [chunk async for chunk in answer()]

    assert asyncio.run(main()) == ["why?"]
    run, streamer = the_run(persistence), the_run(persistence, "streamer")
    assert (run.final_synthesis_output, run.parent_run_id) == ("why?", streamer.run_id)
    assert "tool_call" in types(persistence, run.run_id)
    with pytest.raises(UnsupportedError, match="not awaited"):
        awaited.recorded("agent")(len)


def test_an_async_generator_is_sent_to_and_thrown_at_as_before(persistence: Persistence) -> None:
    async def echo() -> Any:
        heard = None
        while heard != "stop":
            try:
                heard = yield heard
            except ValueError as error:
                heard = str(error)

    async def main(generator: Any) -> list[Any]:
        said = [await anext(generator), await generator.asend("a")]
        said.append(await generator.athrow(ValueError("b")))
        with pytest.raises(StopAsyncIteration):
            await generator.asend("stop")
        return said

    for function in (echo, persistence.recorded("agent")(echo), tool(echo)):
        assert asyncio.run(main(function())) == [None, "a", "b"]
    run = the_run(persistence)
    assert (run.status, run.final_synthesis_output) == ("completed", '[null, "a", "b"]')


def test_static_and_class_methods_are_decorated_above_and_below(persistence: Persistence) -> None:
    class Agent:
        @persistence.recorded("agent")
        @staticmethod
        def above(question: str) -> str:
            return Agent.search(question)

        @staticmethod
        @persistence.recorded("agent")
        def below(question: str) -> str:
            return Agent().search(question)

        @tool
        @classmethod
        def search(cls, q: str) -> str:
            return q

    for call in (Agent.above, Agent().above, Agent.below, Agent().below):
        assert call("why?") == "why?"
    runs = persistence.get_agent_runs()
    assert {(run.objective, run.final_synthesis_output) for run in runs} == {("why?", "why?")}
    assert all("tool_call" in types(persistence, run.run_id) for run in runs)


def test_any_callable_is_recorded_under_a_name(persistence: Persistence) -> None:
    class Search:
        async def __call__(self, q: str) -> str:
            return q

    def add(a: int, b: int) -> int:
        return a + b

    assert asyncio.run(persistence.recorded()(Search())("why?")) == "why?"
    for function in (partial(add, 1), partial(max, 1)):
        assert persistence.recorded()(function)(2) == (3 if function.func is add else 2)
    assert persistence.recorded()(max)(1, 2) == 2
    runs = {run.agent_id: run for run in persistence.get_agent_runs()}
    names = {Search.__qualname__, add.__qualname__, "max"}
    assert (runs.keys(), runs[Search.__qualname__].final_synthesis_output) == (names, "why?")


def test_items_that_are_not_stored_are_not_collected(persistence: Persistence) -> None:
    class Chunk:
        pass

    @persistence.recorded("agent", capture_result=False)
    def answer() -> Iterator[Chunk]:
        yield Chunk()
        yield Chunk()

    generator = answer()
    first = ref(next(generator))
    next(generator)
    gc.collect()
    assert first() is None


def test_a_class_is_not_decorated(persistence: Persistence) -> None:
    class Agent:
        pass

    for decorate in (persistence.recorded("agent"), tool):
        with pytest.raises(UnsupportedError, match="Decorate the method"):
            decorate(Agent)


@pytest.mark.before_io
def test_a_decorator_without_its_parentheses_or_keyword_says_so(persistence: Persistence) -> None:
    def work() -> None: ...

    with pytest.raises(UnsupportedError, match=r"@persistence\.recorded\(\) .* above work\."):
        persistence.recorded(work)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match=r"@tool\(name='search'\)"):
        tool("search")  # type: ignore[call-overload]
