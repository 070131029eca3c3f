"""LangGraph, instrumented by OpenInference: an agent whose tool fails once."""

from __future__ import annotations

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openinference.instrumentation.langchain import LangChainInstrumentor
from telemetry import provider


@tool
def forecast(city: str) -> str:
    """Return tomorrow's weather of a city."""
    return f"rain in {city}"


def main() -> None:
    tracing = provider("travel-desk")
    LangChainInstrumentor().instrument(tracer_provider=tracing)
    agent = create_agent(ChatOpenAI(model="acme-small"), [forecast], name="forecaster")
    question = {"messages": [("user", "Do I need an umbrella in Bergen?")]}
    answer = agent.invoke(question, {"configurable": {"thread_id": "trip-to-bergen"}})
    print(answer["messages"][-1].content)
    tracing.shutdown()


if __name__ == "__main__":
    main()
