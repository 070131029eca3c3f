"""Frameworks without an adapter are recorded by what they tell to OpenTelemetry."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from curio_persistence import InMemoryPersistence
from tests.support.frameworks import needed
from tests.support.model_provider import ModelProvider, Said
from tests.support.recorded import events, tokens

openai = needed("openai")
sdk = needed("opentelemetry.sdk.trace")
exporting = needed("opentelemetry.sdk.trace.export")
CurioSpanExporter = needed("curio_persistence.interop.otel.sdk").CurioSpanExporter

SCRIPT = [
    Said(tools=(("weather", {"city": "Oslo"}),), input=1200, output=30, cached=1024, reasoning=5),
    Said("Take an umbrella.", input=1300, output=20, cached=1024),
]


def weather(city: str) -> str:
    """Tell the weather.

    Args:
        city: Where.
    """
    return "rain"


@pytest.fixture
def telemetry(persistence: InMemoryPersistence) -> Iterator[Any]:
    """A provider of OpenTelemetry's SDK, whose spans are stored when they end."""
    provider = sdk.TracerProvider()
    provider.add_span_processor(exporting.SimpleSpanProcessor(CurioSpanExporter(persistence)))
    yield provider
    provider.shutdown()


def assert_recorded(persistence: InMemoryPersistence, *, cached: bool) -> None:
    """One run of the traveller, with two calls of the model and one of the tool."""
    [run] = persistence.get_agent_runs()
    assert (run.agent_id, run.status) == ("traveller", "completed")
    assert run.final_synthesis_output == "Take an umbrella."
    second, first = persistence.get_llm_usage(run_id=run.run_id)
    assert (tokens(first)[:2], tokens(second)[:2]) == ((1200, 30), (1300, 20))
    assert tokens(first)[2] == (1024 if cached else None)
    assert second.response_content == "Take an umbrella."
    calls = [event.get_data_dict() for event in events(persistence, run.run_id, "tool_call")]
    assert "weather" in [call["tool_name"] for call in calls]


def test_pydantic_ai(
    provider: ModelProvider, persistence: InMemoryPersistence, telemetry: Any
) -> None:
    pydantic_ai = needed("pydantic_ai")
    instrumented = needed("pydantic_ai.models.instrumented")
    models, providers = needed("pydantic_ai.models.openai"), needed("pydantic_ai.providers.openai")
    provider.script = [*SCRIPT]
    client = openai.AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="k")
    model = models.OpenAIChatModel(
        "gpt-4o-mini", provider=providers.OpenAIProvider(openai_client=client)
    )
    settings = instrumented.InstrumentationSettings(tracer_provider=telemetry)
    pydantic_ai.Agent.instrument_all(settings)
    agent = pydantic_ai.Agent(model, name="traveller", tools=[weather])
    asyncio.run(agent.run("Oslo?"))
    pydantic_ai.Agent.instrument_all(False)
    assert_recorded(persistence, cached=True)
    assert persistence.get_agent_runs()[0].objective == "Oslo?"


def test_agno(provider: ModelProvider, persistence: InMemoryPersistence, telemetry: Any) -> None:
    agno, models = needed("agno.agent"), needed("agno.models.openai")
    instrumentor = needed("openinference.instrumentation.agno").AgnoInstrumentor()
    instrumentor.instrument(tracer_provider=telemetry)
    provider.script = [*SCRIPT]
    model = models.OpenAIChat(id="gpt-4o-mini", base_url=f"{provider.url}/v1", api_key="k")
    agno.Agent(name="traveller", model=model, tools=[weather], session_id="chat-1").run("Oslo?")
    instrumentor.uninstrument()
    assert_recorded(persistence, cached=True)
    assert persistence.get_agent_runs()[0].session_id == "chat-1"


def test_smolagents(
    provider: ModelProvider, persistence: InMemoryPersistence, telemetry: Any
) -> None:
    smolagents = needed("smolagents")
    instrumentor = needed("openinference.instrumentation.smolagents").SmolagentsInstrumentor()
    instrumentor.instrument(tracer_provider=telemetry)
    last = SCRIPT[1]._replace(tools=(("final_answer", {"answer": "Take an umbrella."}),))
    provider.script = [SCRIPT[0], last]
    model = smolagents.OpenAIServerModel("gpt-4o-mini", f"{provider.url}/v1", api_key="k")
    agent = smolagents.ToolCallingAgent(
        tools=[smolagents.tool(weather)], model=model, name="traveller"
    )
    agent.run("Oslo?")
    instrumentor.uninstrument()
    [run] = persistence.get_agent_runs()
    assert (run.agent_id, run.status) == ("traveller", "completed")
    assert run.final_synthesis_output == "Take an umbrella."
    assert [tokens(call) for call in persistence.get_llm_usage()] == [
        (1300, 20, None, None, None),
        (1200, 30, None, None, None),
    ], "cached tokens are not told"
    assert events(persistence, run.run_id, "tool_call")
