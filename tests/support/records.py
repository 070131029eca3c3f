"""The three kinds of records: for tests that hold for each."""

from __future__ import annotations

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, BasePersistence

Record = AgentRun | AgentRunEvent | AgentLLMUsage
MODELS: tuple[type[Record], ...] = (AgentRun, AgentRunEvent, AgentLLMUsage)


def write(persistence: BasePersistence, record: Record) -> None:
    """Store a record with the published call for its kind."""
    match record:
        case AgentRun():
            persistence.create_agent_run(record)
        case AgentRunEvent():
            persistence.log_agent_run_event(record)
        case AgentLLMUsage():
            persistence.log_llm_usage(record)


def read_back(persistence: BasePersistence, record: Record) -> Record:
    """Return the stored form of a record that was just written."""
    found: Record | None
    match record:
        case AgentRun():
            found = persistence.get_agent_run(record.run_id)
        case AgentRunEvent():
            [found] = [
                event
                for event in persistence.get_agent_run_events(record.run_id)
                if event.id == record.id
            ]
        case AgentLLMUsage():
            [found] = [u for u in persistence.get_llm_usage(limit=None) if u.id == record.id]
    assert found is not None
    return found


def everything(persistence: BasePersistence) -> list[Record]:
    """Return all records: runs, their events, model calls."""
    runs = persistence.get_agent_runs(limit=None)
    return [
        *runs,
        *(event for run in runs for event in persistence.get_agent_run_events(run.run_id)),
        *persistence.get_llm_usage(limit=None),
    ]
