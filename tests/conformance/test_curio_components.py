"""Today's Curio SDK: its records, its calls that begin with `a`, its component interface."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from curio_persistence import InvalidValueError, Persistence

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass
class Run:
    """A run as later versions of the SDK create it."""

    agent_id: str
    run_id: str
    agent_name: str = ""
    objective: str = ""
    additional_context: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    total_iterations: int = 0
    total_llm_calls: int = 0
    total_tool_calls: int = 0
    total_input_tokens: int = 0
    total_output_tokens: int = 0
    final_output: str | None = None
    execution_history: str | None = None
    status: str = "pending"
    error_message: str | None = None
    metadata: str | None = None
    id: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass
class Event:
    agent_id: str
    run_id: str
    agent_name: str = ""
    timestamp: datetime | None = None
    event_type: str = ""
    data: str | None = None
    id: int | None = None
    created_at: datetime | None = None
    channel: str | None = None


@dataclass
class Usage:
    agent_id: str | None = None
    run_id: str | None = None
    provider: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    latency_ms: int = 0
    status: str = "success"
    error_message: str | None = None
    metadata: str | None = None
    id: int | None = None
    created_at: datetime | None = None


def test_a_run_with_the_later_names_is_stored_and_read_under_both(persistence: Persistence) -> None:
    run: Any = Run("agent", "run", objective="find out", status="running", metadata='{"a": 1}')
    persistence.create_agent_run(run)
    assert (run.id, run.created_at is not None) == (1, True)
    run.final_output, run.status = "42", "completed"
    run.total_llm_calls, run.total_tool_calls = 3, 2
    run.total_input_tokens, run.total_output_tokens = 10, 20
    persistence.update_agent_run("run", run)
    stored = persistence.get_agent_run("run")
    assert stored is not None
    assert (stored.final_output, stored.final_synthesis_output) == ("42", "42")
    assert (stored.total_llm_calls, stored.total_tool_calls) == (3, 2)
    assert (stored.total_input_tokens, stored.total_output_tokens) == (10, 20)
    assert stored.get_metadata_dict()["a"] == 1
    stored.final_output = "43"
    persistence.update_agent_run("run", stored)
    again = persistence.get_agent_run("run")
    assert again is not None
    assert (again.final_synthesis_output, again.total_llm_calls) == ("43", 3)


def test_a_model_call_with_the_later_names_is_stored_and_read_under_both(
    persistence: Persistence,
) -> None:
    usage: Any = Usage(
        "agent", "run", "openai", "gpt-5", 5, 7, 12, metadata=json.dumps({"cost_usd": 0.5})
    )
    persistence.log_llm_usage(usage)
    assert usage.id == 1
    [stored] = persistence.get_llm_usage()
    assert (stored.input_tokens, stored.output_tokens, stored.latency_ms) == (5, 7, 12)
    assert (stored.prompt, stored.response_content, stored.total_tokens) == ("", None, 12)
    assert stored.metadata == stored.usage_metrics == '{"cost_usd": 0.5}'
    assert persistence.get_agent_run_stats()["total_llm_calls"] == 1
    assert str(persistence.get_agent_run_stats()["total_cost_usd"]) == "0.500000"


def test_an_agents_own_attributes_are_stored_in_metadata(persistence: Persistence) -> None:
    event: Any = Event("agent", "run", event_type="custom", timestamp=NOON, channel="voice")
    persistence.log_agent_run_event(event)
    [stored] = persistence.get_agent_run_events("run")
    assert (stored.timestamp, stored.get_metadata_dict()) == (NOON, {"channel": "voice"})


def test_a_batch_may_be_of_records_with_the_later_names(persistence: Persistence) -> None:
    runs: Any = [Run("agent", f"run {number}", final_output="x") for number in range(3)]
    persistence.create_agent_runs(runs)
    calls: Any = [Usage("agent", "run 0", model="m") for _ in range(3)]
    assert persistence.log_llm_usages(calls) == 3
    assert {run.final_output for run in persistence.get_agent_runs()} == {"x"}


def test_an_object_that_is_not_a_record_is_refused(persistence: Persistence) -> None:
    for record in (object(), Usage, {"agent_id": "a", "run_id": "r"}, None):
        with pytest.raises(InvalidValueError):
            persistence.log_llm_usage(record)  # type: ignore[arg-type]
    assert persistence.get_llm_usage() == []


def test_its_component_interface_exists(persistence: Persistence) -> None:
    async def main() -> None:
        await persistence.startup()
        run: Any = Run("agent", "run", status="running")
        await persistence.acreate_agent_run(run)
        event: Any = Event("agent", "run", event_type="custom")
        await persistence.alog_agent_run_event(event)
        usage: Any = Usage("agent", "run", model="m")
        await persistence.alog_llm_usage(usage)
        run.status = "completed"
        await persistence.aupdate_agent_run("run", run)
        stored = await persistence.aget_agent_run("run")
        assert stored is not None
        assert stored.status == "completed"
        assert persistence.health_check()
        assert len(persistence.get_agent_run_events("run")) == 1
        await persistence.shutdown()
        assert not persistence.health_check()

    asyncio.run(main())
