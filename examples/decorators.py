"""An agent whose functions record themselves, with decorators alone."""

from collections.abc import Iterator

from curio_persistence import InMemoryPersistence, current_run, tool

persistence = InMemoryPersistence()


def ask_model(prompt: str) -> str:
    """Stand in for a model client; it finds the current run by itself."""
    run = current_run()
    if run is None:
        return "no run"
    with run.llm(provider="acme", model="acme-1", prompt=prompt) as call:
        call.response = {
            "choices": [{"message": {"content": prompt.upper()}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": len(prompt), "completion_tokens": len(prompt)},
        }
        return prompt.upper()


@tool
def look_up(city: str) -> str:
    """Look the weather up."""
    return ask_model(f"rain in {city}")


@persistence.recorded(agent_id="forecaster", tags="example")
def forecast(city: str) -> Iterator[str]:
    """Stream a forecast."""
    yield "Expect "
    yield look_up(city)


print("".join(forecast("Bergen")))
[run] = persistence.get_agent_runs()
print(run.status, run.objective, run.final_synthesis_output)
[usage] = persistence.get_llm_usage(run_id=run.run_id)
[call] = persistence.get_agent_run_events(run.run_id, "tool_call")
print("the model was asked by the tool:", usage.parent_span_id == call.span_id)
