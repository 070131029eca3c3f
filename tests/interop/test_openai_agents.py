"""Agents of the OpenAI Agents SDK are recorded as runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from curio_persistence import AgentRun, InMemoryPersistence, current_run
from tests.support.frameworks import needed
from tests.support.model_provider import Json, ModelProvider, Said
from tests.support.recorded import events, tokens

agents = needed("agents")
openai = needed("openai")
adapter = needed("curio_persistence.interop.adapters.openai_agents")

MODELS = [agents.OpenAIResponsesModel, agents.OpenAIChatCompletionsModel]


@pytest.fixture(params=MODELS, ids=["responses", "chat"])
def model(
    request: pytest.FixtureRequest, provider: ModelProvider, persistence: InMemoryPersistence
) -> Iterator[Any]:
    """A model of the SDK's, whose agents are recorded."""
    agents.set_trace_processors([adapter.CurioTracingProcessor(persistence)])
    agents.set_tracing_disabled(False)
    client = openai.AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="k", max_retries=0)
    yield request.param(model="gpt-5-mini", openai_client=client)
    agents.set_trace_processors([])


def run(*agents_and_questions: tuple[Any, str], **config: Any) -> list[Any]:
    """Run agents at the same time, each in a task of its own."""

    async def one(agent: Any, question: str) -> Any:
        options = agents.RunConfig(**config)
        return await agents.Runner.run(agent, question, run_config=options)

    async def all_of_them() -> list[Any]:
        tasks = (one(*each) for each in agents_and_questions)
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(asyncio.wait_for(all_of_them(), 30))


def by_agent(persistence: InMemoryPersistence) -> dict[str, AgentRun]:
    return {run.agent_id: run for run in persistence.get_agent_runs(limit=None)}


@agents.function_tool
def weather(city: str) -> str:
    """Tell the weather."""
    return "rain"


@agents.function_tool
def broken(city: str) -> str:
    """Tell nothing."""
    raise ValueError("no such city")


def test_an_agent_with_tools_one_after_another(
    provider: ModelProvider, persistence: InMemoryPersistence, model: Any
) -> None:
    provider.script = [
        Said(tools=(("weather", {"city": "Oslo"}),), input=1217, output=94, reasoning=64),
        Said("Take an umbrella.", input=1301, output=90, cached=1024, reasoning=64),
    ]
    agent = agents.Agent(name="Traveller", model=model, tools=[weather])
    run((agent, "Oslo?"), group_id="conversation-7", trace_metadata={"tier": "gold"})
    [found] = persistence.get_agent_runs()
    assert (found.agent_id, found.status) == ("Traveller", "completed")
    assert (found.objective, found.final_synthesis_output) == ("Oslo?", "Take an umbrella.")
    assert (found.session_id, found.get_metadata_dict()) == ("conversation-7", {"tier": "gold"})
    [tool] = events(persistence, found.run_id, "tool_call")
    told = tool.get_data_dict()
    assert (told["tool_name"], told["args"], told["result"]) == (
        "weather",
        {"city": "Oslo"},
        "rain",
    )
    second, first = persistence.get_llm_usage(run_id=found.run_id)
    assert tokens(first)[:3] == (1217, 94, 0)
    assert (tokens(second)[:3], tokens(second)[4]) == ((1301, 90, 1024), 64)
    assert second.provider == "openai"
    assert second.model.startswith("gpt-5-mini")
    assert second.response_content == "Take an umbrella."
    assert first.trace_id == second.trace_id == tool.trace_id


def test_parallel_tools_and_agents_called_as_tools(
    provider: ModelProvider, persistence: InMemoryPersistence, model: Any
) -> None:
    def answer(request: Json) -> Said:
        asked = str(request.get("messages") or request.get("input"))
        if "tool" in asked and "umbrella?" in asked and "Rain, rain" in asked:
            return Said("Yes.")
        if "poem" in asked and "umbrella?" not in asked:
            return Said("Rain, rain")
        return Said(tools=(("weather", {"city": "x"}), ("write", {"input": "poem"})))

    provider.script = answer
    writer = agents.Agent(name="Writer", model=model)
    tools = [weather, writer.as_tool("write", "Write.")]
    editors = [agents.Agent(name=f"Editor {n}", model=model, tools=tools) for n in range(3)]
    run(*((editor, "An umbrella? A tool?") for editor in editors))
    runs = persistence.get_agent_runs(limit=None)
    names = {each.run_id: each.agent_id for each in runs}
    parents = sorted(names.get(each.parent_run_id or "", "-") for each in runs)
    assert parents == ["-", "-", "-", "Editor 0", "Editor 1", "Editor 2"]
    for writing in (each for each in runs if each.agent_id == "Writer"):
        begun, _ = events(persistence, writing.run_id)
        calls = events(persistence, writing.parent_run_id or "", "tool_call")
        [write] = [call for call in calls if call.get_data_dict()["tool_name"] == "write"]
        assert begun.parent_span_id == write.span_id, "the agent is below the tool call"
        assert len(calls) == 2
        assert len(persistence.get_llm_usage(run_id=writing.run_id)) == 1
        assert len(persistence.get_llm_usage(run_id=writing.parent_run_id)) == 2


def test_a_handoff(provider: ModelProvider, persistence: InMemoryPersistence, model: Any) -> None:
    provider.script = [Said(tools=(("transfer_to_billing", {}),)), Said("Paid.")]
    billing = agents.Agent(name="Billing", model=model)
    run((agents.Agent(name="Triage", model=model, handoffs=[billing]), "Pay"))
    found = by_agent(persistence)
    assert {run.parent_run_id for run in found.values()} == {None}
    [handoff] = events(persistence, found["Triage"].run_id, "span")
    assert handoff.get_data_dict()["output"] == {"from": "Triage", "to": "Billing"}
    assert found["Billing"].final_synthesis_output == "Paid."


def test_a_tool_that_fails(
    provider: ModelProvider, persistence: InMemoryPersistence, model: Any
) -> None:
    provider.script = [Said(tools=(("broken", {"city": "x"}),)), Said("Sorry.")]
    run((agents.Agent(name="Clerk", model=model, tools=[broken]), "Go"))
    found = by_agent(persistence)["Clerk"]
    [tool] = events(persistence, found.run_id, "tool_call")
    assert tool.get_data_dict()["error"].startswith("Error running tool")
    assert found.status == "completed", "the agent went on"
    assert persistence.get_agent_run_stats()["tool_metrics"]["broken"]["error_count"] == 1


def test_a_provider_that_refuses(
    provider: ModelProvider, persistence: InMemoryPersistence, model: Any
) -> None:
    provider.script = [Said(status=429)]
    [raised] = run((agents.Agent(name="Greeter", model=model), "Hello?"))
    assert isinstance(raised, openai.RateLimitError)
    found = by_agent(persistence)["Greeter"]
    assert found.status == "error"
    assert (found.error_message or "").startswith("RateLimitError: ")
    [call] = persistence.get_llm_usage()
    assert (call.status, tokens(call), call.response_content) == ("error", (None,) * 5, None)


def test_an_agent_that_never_comes_to_an_end(
    provider: ModelProvider, persistence: InMemoryPersistence, model: Any
) -> None:
    provider.script = lambda request: Said(tools=(("weather", {"city": "x"}),))
    agent = agents.Agent(name="Loop", model=model, tools=[weather])

    async def turns() -> None:
        with pytest.raises(agents.MaxTurnsExceeded):
            await agents.Runner.run(agent, "Go", max_turns=2)

    asyncio.run(turns())
    assert by_agent(persistence)["Loop"].status == "error"


def test_a_cancelled_agent(
    provider: ModelProvider, persistence: InMemoryPersistence, model: Any
) -> None:
    @agents.function_tool
    async def wait() -> str:
        """Wait."""
        task.cancel()
        await asyncio.sleep(30)
        return "never"

    provider.script = [Said(tools=(("wait", {}),))]
    agent = agents.Agent(name="Waiter", model=model, tools=[wait])

    async def main() -> None:
        global task
        task = asyncio.create_task(agents.Runner.run(agent, "Wait"))
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(main(), 20))
    assert by_agent(persistence)["Waiter"].status == "cancelled"


def test_streamed_runs(
    provider: ModelProvider, persistence: InMemoryPersistence, model: Any
) -> None:
    provider.script = [Said("Hello, world!", input=20, output=5)]

    async def main() -> None:
        settings = agents.ModelSettings(include_usage=True)
        agent = agents.Agent(name="Greeter", model=model, model_settings=settings)
        result = agents.Runner.run_streamed(agent, "Hello?")
        async for _ in result.stream_events():
            pass

    asyncio.run(asyncio.wait_for(main(), 20))
    found = by_agent(persistence)["Greeter"]
    assert (found.status, found.final_synthesis_output) == ("completed", "Hello, world!")
    [call] = persistence.get_llm_usage()
    assert (tokens(call)[:2], call.response_content) == ((20, 5), "Hello, world!")


def test_what_a_tool_records_itself_belongs_to_its_run(
    provider: ModelProvider, persistence: InMemoryPersistence, model: Any
) -> None:
    @agents.function_tool
    def note() -> str:
        """Note."""
        run = current_run()
        assert run is not None
        run.log("noted", {"by": run.agent_run.agent_id})
        return "noted"

    provider.script = [Said(tools=(("note", {}),)), Said("Done.")]
    with persistence.record_run(agent_id="outer") as outer:
        run((agents.Agent(name="Scribe", model=model, tools=[note]), "Note it"))
    found = by_agent(persistence)["Scribe"]
    assert found.parent_run_id == outer.run_id
    [noted] = events(persistence, found.run_id, "noted")
    [tool] = events(persistence, found.run_id, "tool_call")
    assert noted.span_id == tool.span_id
    assert current_run() is None


def test_without_sensitive_data_only_numbers_are_known(
    provider: ModelProvider, persistence: InMemoryPersistence, model: Any
) -> None:
    provider.script = [Said("Secret.", input=20, output=5)]
    agent = agents.Agent(name="Spy", model=model)
    run((agent, "The code?"), trace_include_sensitive_data=False)
    [call] = persistence.get_llm_usage()
    assert (tokens(call)[:2], call.prompt) == ((20, 5), "")
    assert "Secret" not in (call.response_content or "")
