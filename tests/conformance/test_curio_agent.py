"""An agent in Curio's style: it sets every time and type itself, and ignores errors."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    AgentRunStatus,
    EventType,
    Persistence,
)
from tests.support.outage import Outage

logger = logging.getLogger(__name__)


class CurioAgent:
    """Plans, acts and critiques until it is satisfied, and writes its log itself."""

    def __init__(self, persistence: Any) -> None:
        self.persistence = persistence
        self.event_log: list[str] = []
        self.run = AgentRun("agent", "run", "Agent")

    def execute(self, objective: str, *, rounds: int = 3) -> str:
        self.run.objective = objective
        self.run.started_at = datetime.now()
        self.run.status = AgentRunStatus.RUNNING.value
        self._persist("create_agent_run", self.run)
        self._log(EventType.RUN_STARTED, {"objective": objective})
        for number in range(1, rounds + 1):
            self._log(EventType.ITERATION_STARTED, {"iteration": number})
            self._call_llm(f"Plan round {number}")
            self._log(EventType.ACTION_EXECUTION_STARTED, {"action_name": "search"})
            self._log(EventType.ACTION_EXECUTION_COMPLETED, {"action_name": "search"})
            self._log(EventType.CRITIQUE_RESULT, {"status": "continue" if number < rounds else ""})
        self.run.finished_at = datetime.now()
        self.run.total_iterations = rounds
        self.run.final_synthesis_output = "found"
        self.run.execution_history = json.dumps(self.event_log)
        self.run.status = AgentRunStatus.COMPLETED.value
        self._persist("update_agent_run", self.run.run_id, self.run)
        self._log(EventType.RUN_COMPLETED, {"status": "done"})
        return "found"

    def _log(self, event_type: EventType, data: dict[str, Any]) -> None:
        self.event_log.append(event_type.value)
        event = AgentRunEvent(
            agent_id=self.run.agent_id,
            run_id=self.run.run_id,
            agent_name=self.run.agent_name,
            timestamp=datetime.now(),
            event_type=event_type.value,
            data=json.dumps(data) if data else None,
        )
        self._persist("log_agent_run_event", event)

    def _call_llm(self, prompt: str) -> None:
        usage = AgentLLMUsage(
            self.run.agent_id,
            self.run.run_id,
            "provider",
            "model",
            prompt,
            len(prompt),
            None,
            10,
            20,
            "a plan",
            6,
            json.dumps({"cost_usd": 0.001}),
        )
        self._persist("log_llm_usage", usage)

    def _persist(self, call: str, *args: Any) -> None:
        try:
            getattr(self.persistence, call)(*args)
        except Exception as error:
            logger.error("Failed to persist: %s", error)


def assert_ended_well(persistence: Persistence, logged: list[str]) -> None:
    """Assert that the run is `completed`, with these events in this order."""
    run = persistence.get_agent_run("run")
    assert run is not None
    assert (run.status, run.total_iterations, run.final_synthesis_output) == (
        "completed",
        3,
        "found",
    )
    events = persistence.get_agent_run_events("run")
    assert [event.event_type for event in events] == logged


def test_its_run_is_stored_completely(persistence: Persistence) -> None:
    agent = CurioAgent(persistence)
    assert agent.execute("find out") == "found"
    assert_ended_well(persistence, agent.event_log)
    assert len(agent.event_log) == 14
    stats = persistence.get_agent_run_stats("agent")
    assert (stats["completed_runs"], stats["total_llm_calls"]) == (1, 3)
    assert (stats["total_input_tokens"], str(stats["total_cost_usd"])) == (30, "0.003000")
    assert stats["tool_metrics"]["search"]["call_count"] == 3
    assert persistence.runs.stale() == []


@pytest.mark.parametrize("lost", [1, 2, 5])
def test_an_outage_at_its_begin_loses_only_the_records_of_that_time(
    persistence: Persistence, lost: int
) -> None:
    """The first stored event creates the run, which the last update fills in."""
    agent = CurioAgent(Outage(persistence, lost))
    agent.execute("find out")
    calls = ["create_agent_run", *agent.event_log[:2], "log_llm_usage", *agent.event_log[2:]]
    kept = [name for name in calls[lost:] if name in agent.event_log]
    assert_ended_well(persistence, kept)


def test_a_run_that_is_started_twice_is_still_one(persistence: Persistence) -> None:
    agent = CurioAgent(persistence)
    agent.execute("find out")
    agent.execute("find out again")
    assert_ended_well(persistence, agent.event_log)
    assert len(persistence.get_agent_runs()) == 1


def test_it_answers_even_if_its_persistence_does_not(
    persistence: Persistence,
) -> None:
    persistence.close()
    for nothing in persistence, None:
        assert CurioAgent(nothing).execute("find out") == "found"
