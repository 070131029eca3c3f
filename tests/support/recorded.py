"""Read the records that a recorder stored."""

from __future__ import annotations

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    BasePersistence,
    Persistence,
    RunRecorder,
)


def stored(persistence: Persistence, run: RunRecorder | str) -> AgentRun:
    """Return the stored run."""
    found = persistence.get_agent_run(run if isinstance(run, str) else run.run_id)
    assert found is not None
    return found


def events(
    persistence: Persistence, run: RunRecorder | str, event_type: str | None = None
) -> list[AgentRunEvent]:
    """Return the run's events, oldest first."""
    run_id = run if isinstance(run, str) else run.run_id
    return persistence.get_agent_run_events(run_id, event_type)


def types(persistence: Persistence, run: RunRecorder | str) -> list[str]:
    """Return the types of the run's events, oldest first."""
    return [event.event_type for event in events(persistence, run)]


def parents(persistence: Persistence) -> dict[str, str | None]:
    """Return the parent of each run, by the run's id."""
    return {run.run_id: run.parent_run_id for run in persistence.get_agent_runs(limit=None)}


def only_call(persistence: BasePersistence) -> AgentLLMUsage:
    """Return the one model call that is stored."""
    [usage] = persistence.get_llm_usage()
    return usage


def tokens(usage: AgentLLMUsage) -> tuple[int | None, ...]:
    """Return tokens of input, output, read from a cache, written to it, and of reasoning."""
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )
