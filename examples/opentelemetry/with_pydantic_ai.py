"""Pydantic AI, with its own instrumentation: an agent whose tool fails, and its run with it."""

from __future__ import annotations

from pydantic_ai import Agent
from pydantic_ai.models.instrumented import InstrumentationSettings
from telemetry import provider


def main() -> None:
    tracing = provider("accounts")
    Agent.instrument_all(InstrumentationSettings(tracer_provider=tracing))
    agent = Agent("openai-chat:acme-large", name="bookkeeper")

    @agent.tool_plain
    def book(amount: int) -> str:
        """Book an amount."""
        raise PermissionError("the books of November are closed")

    try:
        print(agent.run_sync("Book the 120 euros of invoice 7.").output)
    except PermissionError as error:
        print(f"failed: {error}")
    tracing.shutdown()


if __name__ == "__main__":
    main()
