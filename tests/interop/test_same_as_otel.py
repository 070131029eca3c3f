"""An adapter records what OpenTelemetry tells of the same conversation.

The conversations are those of the corpus of real OTLP bodies: each is received, and the calls that
it tells of are the script by which a model answers the same agents once more, for the adapter.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from curio_persistence import AgentLLMUsage, InMemoryPersistence
from curio_persistence.interop.otel.receiving import Receiver
from tests.support import otlp_corpus
from tests.support.frameworks import needed
from tests.support.model_provider import Json, ModelProvider, Said
from tests.support.recorded import tokens

agents = needed("agents")
openai = needed("openai")
litellm = needed("litellm")
create_agent = needed("langchain.agents").create_agent
langchain_openai = needed("langchain_openai")
langchain_tools = needed("langchain_core.tools")
for_agents = needed("curio_persistence.interop.adapters.openai_agents")
for_langchain = needed("curio_persistence.interop.adapters.langchain")

Call = tuple[Any, ...]


def received(capture: str) -> InMemoryPersistence:
    """Return a persistence with what the bodies of a capture tell."""
    persistence = InMemoryPersistence()
    Receiver(persistence).spans(otlp_corpus.spans(capture))
    return persistence


def script(persistence: InMemoryPersistence) -> list[Said]:
    """Return what the model said in the calls that are stored, from the first one on."""
    return [_said(call) for call in reversed(persistence.get_llm_usage())]


def _said(call: AgentLLMUsage) -> Said:
    content, wanted = call.response_content or "", ()
    if content.startswith("["):
        [message] = json.loads(content)
        functions = [each["function"] for each in message["tool_calls"]]
        wanted = tuple((each["name"], json.loads(each["arguments"])) for each in functions)
    counts = [number or 0 for number in tokens(call)]
    names = ("input", "output", "cached", "written", "reasoning")
    return Said(content, wanted, model=call.model, **dict(zip(names, counts, strict=True)))


def calls(persistence: InMemoryPersistence) -> list[Call]:
    return [
        (call.agent_id, call.provider, call.model, *tokens(call), call.status, call.cost_usd)
        for call in persistence.get_llm_usage()
    ]


def runs(persistence: InMemoryPersistence) -> list[tuple[str, ...]]:
    found = persistence.get_agent_runs(limit=None)
    names = {run.run_id: run.agent_id for run in found}
    return sorted((r.agent_id, names.get(r.parent_run_id or "", ""), r.status) for r in found)


def tools(persistence: InMemoryPersistence) -> list[tuple[Any, ...]]:
    """Return agent, tool, arguments and failure of all tool calls but handoffs, in order."""
    told = [
        (event.timestamp, event.agent_id, event.get_data_dict())
        for run in persistence.get_agent_runs(limit=None)
        for event in persistence.get_agent_run_events(run.run_id, "tool_call")
    ]
    return [
        (agent, data["tool_name"], data["args"], data["error"] is not None)
        for _, agent, data in sorted(told, key=lambda each: each[0])
        if not data["tool_name"].startswith("handoff")
    ]


def function(name: str, answer: Any = None) -> Any:
    """Return a tool of the Agents SDK that takes any arguments; it may raise its answer."""

    async def invoke(context: Any, arguments: str) -> str:
        return "done"

    async def fail(context: Any, arguments: str) -> str:
        raise RuntimeError(answer)

    schema = {"type": "object", "properties": {}, "additionalProperties": True}
    work = invoke if answer is None else fail
    return agents.FunctionTool(name, "Work.", schema, work, strict_json_schema=False)


def agent_of(capture: str, model: Any) -> Any:
    """Return the agent of a conversation, with the agents that it calls."""

    def agent(name: str, *tools: Any, **options: Any) -> Any:
        return agents.Agent(name=name, model=model, tools=list(tools), **options)

    match capture:
        case "steps":
            names = ("get_weather", "to_fahrenheit", "pick_clothes")
            return agent("Traveller", *map(function, names))
        case "handoff":
            billing = agent("Billing", function("lookup_order"), function("pay_back"))
            return agent("Triage", handoffs=[billing])
        case "toolfail":
            return agent("Clerk", agents.function_tool(check_stock))
    helpers = {"research": agent("Researcher"), "write": agent("Writer")}
    return agent("Editor", *(helpers[name].as_tool(name, "Help.") for name in helpers))


def check_stock(item: int) -> str:
    """Check the stock of an item."""
    raise RuntimeError("warehouse database is locked")


@pytest.mark.parametrize("capture", ["steps", "nested", "handoff", "toolfail"])
def test_agents_of_the_openai_agents_sdk(
    provider: ModelProvider, persistence: InMemoryPersistence, capture: str
) -> None:
    told = received(f"openinference-openai-agents-{capture}")
    provider.script = script(told)
    client = openai.AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="k", max_retries=0)
    model = agents.OpenAIResponsesModel("gpt-5-mini", client)
    agents.set_trace_processors([for_agents.CurioTracingProcessor(persistence)])
    asyncio.run(agents.Runner.run(agent_of(capture, model), "Go"))
    agents.set_trace_processors([])
    assert calls(persistence) == calls(told)
    assert runs(persistence) == runs(told)
    assert tools(persistence) == tools(told)


@pytest.mark.parametrize("capture", ["nested", "toolfail"])
def test_agents_of_langgraph(
    provider: ModelProvider, persistence: InMemoryPersistence, capture: str
) -> None:
    told = received(f"openinference-langgraph-{capture}")
    provider.script = script(told)
    model = langchain_openai.ChatOpenAI(
        model="gpt-4o-mini", base_url=f"{provider.url}/v1", api_key="k", max_retries=0
    )
    config: Json = {"callbacks": [for_langchain.CurioCallbackHandler(persistence)]}
    config["configurable"] = {"thread_id": "conversation-7"}
    question = {"messages": [{"role": "user", "content": "Go"}]}

    def tool(name: str) -> Any:
        helper = {"research": "researcher", "write": "writer"}[name]
        below = create_agent(model, [], name=helper)
        schema = {"title": name, "description": "Help.", "type": "object", "properties": {}}

        def work(**arguments: Any) -> str:
            return str(below.invoke(question)["messages"][-1].content)

        return langchain_tools.StructuredTool(
            name=name, description="Help.", args_schema=schema, func=work
        )

    if capture == "nested":
        create_agent(model, [tool("research"), tool("write")], name="editor").invoke(
            question, config
        )
    else:
        clerk = create_agent(model, [langchain_tools.tool(check_stock)], name="clerk")
        with pytest.raises(RuntimeError):
            clerk.invoke(question, config)
    assert calls(persistence) == calls(told)
    assert runs(persistence) == runs(told)
    assert [each[:2] + each[3:] for each in tools(persistence)] == [
        each[:2] + each[3:] for each in tools(told)
    ]
    sessions = {run.session_id for run in persistence.get_agent_runs(limit=None)}
    assert sessions == {run.session_id for run in told.get_agent_runs(limit=None)}


@pytest.mark.usefixtures("recorded_litellm")
def test_calls_of_litellm(provider: ModelProvider, persistence: InMemoryPersistence) -> None:
    told = received("litellm-native-chat")
    provider.script = script(told)
    question = [{"role": "user", "content": "Go"}]
    litellm.completion("openai/gpt-4o-mini", question, api_base=f"{provider.url}/v1", api_key="k")
    deadline = time.monotonic() + 20
    while not persistence.get_llm_usage() and time.monotonic() < deadline:
        time.sleep(0.01)
    [found], [expected] = calls(persistence), calls(told)
    known = [(mine, theirs) for mine, theirs in zip(found, expected, strict=True) if theirs]
    assert [mine for mine, _ in known] == [theirs for _, theirs in known]
    assert found[5] == 0, "the callback tells of cached tokens, LiteLLM's own telemetry does not"
