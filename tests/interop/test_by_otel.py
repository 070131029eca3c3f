"""Frameworks without an adapter are recorded by what they tell to OpenTelemetry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from curio_persistence import InMemoryPersistence
from curio_persistence.interop.otel.decoding import decode_traces
from curio_persistence.interop.otel.receiving import Receiver
from tests.support.frameworks import needed
from tests.support.model_provider import ModelProvider, Said
from tests.support.recorded import events, tokens

openai = needed("openai")
sdk = needed("opentelemetry.sdk.trace")
exporting = needed("opentelemetry.sdk.trace.export")
in_memory = needed("opentelemetry.sdk.trace.export.in_memory_span_exporter")
encoder = needed("opentelemetry.exporter.otlp.proto.common.trace_encoder")

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


class Telemetry:
    """What a framework tells to a provider of OpenTelemetry's SDK."""

    def __init__(self) -> None:
        self._spans = in_memory.InMemorySpanExporter()
        self.provider = sdk.TracerProvider()
        self.provider.add_span_processor(exporting.SimpleSpanProcessor(self._spans))

    def receive(self, persistence: InMemoryPersistence) -> None:
        """Store it as if it had been sent."""
        body = encoder.encode_spans(self._spans.get_finished_spans()).SerializeToString()
        Receiver(persistence).spans(decode_traces(body, "application/x-protobuf").spans)


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    made = Telemetry()
    yield made
    made.provider.shutdown()


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
    provider: ModelProvider, persistence: InMemoryPersistence, telemetry: Telemetry
) -> None:
    pydantic_ai = needed("pydantic_ai")
    instrumented = needed("pydantic_ai.models.instrumented")
    models, providers = needed("pydantic_ai.models.openai"), needed("pydantic_ai.providers.openai")
    provider.script = [*SCRIPT]
    client = openai.AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="k")
    model = models.OpenAIChatModel(
        "gpt-4o-mini", provider=providers.OpenAIProvider(openai_client=client)
    )
    settings = instrumented.InstrumentationSettings(tracer_provider=telemetry.provider)
    pydantic_ai.Agent.instrument_all(settings)
    pydantic_ai.Agent(model, name="traveller", tools=[weather]).run_sync("Oslo?")
    pydantic_ai.Agent.instrument_all(False)
    telemetry.receive(persistence)
    assert_recorded(persistence, cached=True)
    assert persistence.get_agent_runs()[0].objective == "Oslo?"


def test_agno(
    provider: ModelProvider, persistence: InMemoryPersistence, telemetry: Telemetry
) -> None:
    agno, models = needed("agno.agent"), needed("agno.models.openai")
    instrumentor = needed("openinference.instrumentation.agno").AgnoInstrumentor()
    instrumentor.instrument(tracer_provider=telemetry.provider)
    provider.script = [*SCRIPT]
    model = models.OpenAIChat(id="gpt-4o-mini", base_url=f"{provider.url}/v1", api_key="k")
    agno.Agent(name="traveller", model=model, tools=[weather], session_id="chat-1").run("Oslo?")
    instrumentor.uninstrument()
    telemetry.receive(persistence)
    assert_recorded(persistence, cached=True)
    assert persistence.get_agent_runs()[0].session_id == "chat-1"


def test_smolagents(
    provider: ModelProvider, persistence: InMemoryPersistence, telemetry: Telemetry
) -> None:
    smolagents = needed("smolagents")
    instrumentor = needed("openinference.instrumentation.smolagents").SmolagentsInstrumentor()
    instrumentor.instrument(tracer_provider=telemetry.provider)
    last = SCRIPT[1]._replace(tools=(("final_answer", {"answer": "Take an umbrella."}),))
    provider.script = [SCRIPT[0], last]
    model = smolagents.OpenAIServerModel("gpt-4o-mini", f"{provider.url}/v1", api_key="k")
    agent = smolagents.ToolCallingAgent(
        tools=[smolagents.tool(weather)], model=model, name="traveller"
    )
    agent.run("Oslo?")
    instrumentor.uninstrument()
    telemetry.receive(persistence)
    [run] = persistence.get_agent_runs()
    assert (run.agent_id, run.status) == ("traveller", "completed")
    assert run.final_synthesis_output == "Take an umbrella."
    assert [tokens(call) for call in persistence.get_llm_usage()] == [
        (1300, 20, None, None, None),
        (1200, 30, None, None, None),
    ], "cached tokens are not told"
    assert events(persistence, run.run_id, "tool_call")
