"""The OpenAI Agents SDK, instrumented by OpenInference: an agent that hands over to another."""

from __future__ import annotations

from agents import Agent, Runner, function_tool
from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor
from telemetry import provider


@function_tool
def find_invoice(customer: str) -> str:
    """Return a customer's last invoice."""
    return f"invoice 7 of {customer}: 120 euros"


def main() -> None:
    tracing = provider("support-desk")
    OpenAIAgentsInstrumentor().instrument(tracer_provider=tracing)
    billing = Agent(name="Billing", model="acme-large", tools=[find_invoice])
    triage = Agent(name="Triage", model="acme-small", handoffs=[billing])
    print(Runner.run_sync(triage, "Why did ACME pay 120 euros?").final_output)
    tracing.shutdown()


if __name__ == "__main__":
    main()
