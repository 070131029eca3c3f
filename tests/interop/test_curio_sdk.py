"""Agents of the Curio Agent SDK are recorded by a consumer of its hooks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from curio_persistence import InMemoryPersistence, SQLitePersistence, current_run
from curio_persistence.interop.adapters.curio import CurioConsumer
from tests.support.frameworks import needed
from tests.support.recorded import events, stored, tokens

sdk = needed("curio_agent_sdk")
hooks = needed("curio_agent_sdk.core.events")
mocks = needed("curio_agent_sdk.testing.mock_llm")
sdk_consumers = needed("curio_agent_sdk.middleware.consumers")


@sdk.tool
def weather(city: str) -> str:
    """Tell the weather."""
    return "rain"


@sdk.tool
def broken() -> str:
    """Tell nothing."""
    raise ValueError("no such city")


@pytest.fixture
def registry(persistence: InMemoryPersistence) -> Any:
    made = hooks.HookRegistry()
    CurioConsumer(persistence).attach(made)
    return made


def agent(registry: Any, *answers: Any, name: str = "traveller", tools: Any = ()) -> Any:
    """Return an agent whose model answers with these texts, and calls of tools."""
    model = mocks.MockLLM()
    for answer in answers:
        if isinstance(answer, str):
            model.add_text_response(answer)
        else:
            model.add_tool_call_response(*answer)
    return sdk.Agent(
        llm=model,
        tools=list(tools),
        hook_registry=registry,
        agent_id=name,
        system_prompt="Be brief.",
    )


def run(agent: Any, question: str) -> Any:
    return asyncio.run(asyncio.wait_for(agent.arun(question), 20))


def test_an_agent_with_tools(persistence: InMemoryPersistence, registry: Any) -> None:
    answers = [("weather", {"city": "Oslo"}), ("broken", {}), "Take an umbrella."]
    result = run(agent(registry, *answers, tools=[weather, broken]), "Oslo?")
    found = stored(persistence, result.run_id)
    assert (found.agent_id, found.status, found.total_iterations) == ("traveller", "completed", 3)
    assert (found.objective, found.final_synthesis_output) == ("Oslo?", "Take an umbrella.")
    first, second = (e.get_data_dict() for e in events(persistence, result.run_id, "tool_call"))
    assert (first["args"], first["result"], first["error"]) == ({"city": "Oslo"}, "rain", None)
    assert "no" in second["error"]
    calls = persistence.get_llm_usage(run_id=result.run_id)
    assert len(calls) == 3
    assert tokens(calls[-1]) == (50, 30, None, None, None), "what the SDK does not know is not 0"
    assert (calls[0].response_content, calls[0].model) == ("Take an umbrella.", "mock-model")
    assert "Be brief." in calls[0].prompt


def test_agents_at_once_and_an_agent_in_a_tool(
    persistence: InMemoryPersistence, registry: Any
) -> None:
    @sdk.tool
    async def research(topic: str) -> str:
        """Ask another agent."""
        outer = current_run()
        assert outer is not None
        result = await agent(registry, "Facts.", name=f"researcher {topic}").arun(topic)
        return str(result.output)

    async def main() -> None:
        tasks = []
        for name in "abc":
            answers = [("research", {"topic": name}), "Done."]
            tasks.append(agent(registry, *answers, name=name, tools=[research]).arun(name))
        await asyncio.gather(*tasks)

    asyncio.run(asyncio.wait_for(main(), 20))
    runs = persistence.get_agent_runs(limit=None)
    names = {run.run_id: run.agent_id for run in runs}
    parents = {run.agent_id: names.get(run.parent_run_id or "") for run in runs}
    assert parents == {
        **dict.fromkeys("abc"),
        "researcher a": "a",
        "researcher b": "b",
        "researcher c": "c",
    }


def test_a_model_that_fails(persistence: InMemoryPersistence, registry: Any) -> None:
    class Broken(mocks.MockLLM):  # type: ignore[misc, name-defined]
        async def call(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("no answer")

    result = run(sdk.Agent(llm=Broken(), hook_registry=registry, agent_id="greeter"), "Hello?")
    assert result.status == "error"
    assert stored(persistence, result.run_id).status == "error"
    [call] = persistence.get_llm_usage()
    assert (call.status, tokens(call)) == ("error", (None,) * 5)
    assert call.error_message == "RuntimeError: no answer"


def test_a_timeout(persistence: InMemoryPersistence, registry: Any) -> None:
    @sdk.tool
    async def wait() -> str:
        """Wait."""
        await asyncio.sleep(30)
        return "never"

    slow = agent(registry, ("wait", {}), tools=[wait])
    result = asyncio.run(slow.arun("Wait", timeout=0.1))
    assert stored(persistence, result.run_id).status == "timeout"


def test_a_consumer_can_be_detached(persistence: InMemoryPersistence) -> None:
    registry, consumer = hooks.HookRegistry(), CurioConsumer(persistence)
    consumer.attach(registry)
    consumer.detach(registry)
    run(agent(registry, "Hello!"), "Hello?")
    assert persistence.get_agent_runs() == []


def test_the_consumer_of_the_sdk_takes_our_persistence() -> None:
    with SQLitePersistence(":memory:") as persistence:
        registry = hooks.HookRegistry()
        sdk_consumers.PersistenceConsumer(persistence).attach(registry)
        result = run(agent(registry, ("weather", {"city": "x"}), "Hello!", tools=[weather]), "Hi")
        assert len(persistence.get_llm_usage(run_id=result.run_id)) == 2
        [tool] = events(persistence, result.run_id, "tool_call")
        assert tool.get_data_dict()["tool_name"] == "weather"
