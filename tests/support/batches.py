"""Batches of the three kinds of records: for tests that hold for each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence
from curio_persistence.capabilities.appends import OnConflict
from tests.support.records import Record, everything

Kind = type[Record]


def record(kind: Kind, number: int, *, agent_id: str = "agent", **fields: Any) -> Record:
    """Return one of many records, without times; events and model calls have the same run."""
    if kind is AgentRun:
        return AgentRun(agent_id, f"run {number}", objective=str(number), **fields)
    if kind is AgentRunEvent:
        return AgentRunEvent(agent_id, "run", data=str(number), **fields)
    return AgentLLMUsage(agent_id, "run", prompt=str(number), **fields)


def write_all(
    persistence: Persistence,
    kind: Kind,
    records: Iterable[Any],
    *,
    on_conflict: OnConflict = "keep",
) -> int | None:
    """Store a batch with the call for its kind."""
    if kind is AgentRun:
        persistence.create_agent_runs(records)
        return None
    if kind is AgentRunEvent:
        return persistence.log_agent_run_events(records, on_conflict=on_conflict)
    return persistence.log_llm_usages(records, on_conflict=on_conflict)


def stored(persistence: Persistence, kind: Kind) -> list[Any]:
    """Return all records of a kind, in the order of their ids."""
    found = [record for record in everything(persistence) if type(record) is kind]
    return sorted(found, key=lambda record: record.id or 0)
