"""Arguments and results are copies."""

from __future__ import annotations

import json

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence


def test_changing_a_value_after_a_write_changes_nothing_stored(persistence: Persistence) -> None:
    said: dict[str, list[int]] = {"list": [1]}
    text = json.dumps(said)
    persistence.create_agent_run(AgentRun("agent", "run", metadata=said))
    persistence.update_agent_run("run", AgentRun("agent", "run", execution_history=said))
    persistence.log_agent_run_event(AgentRunEvent("agent", "run", data=said))
    persistence.log_llm_usage(AgentLLMUsage("agent", "run", input_params=said, usage_metrics=said))
    said["list"].append(2)
    [run] = persistence.get_agent_runs()
    [event] = persistence.get_agent_run_events("run")
    [usage] = persistence.get_llm_usage()
    assert run.execution_history == event.data == usage.input_params == usage.usage_metrics == text


def test_a_written_object_keeps_the_value_it_was_given(persistence: Persistence) -> None:
    said = {"a": 1}
    event = AgentRunEvent("agent", "run", data=said)
    persistence.log_agent_run_event(event)
    assert event.data is said


def test_one_object_logged_twice_is_two_rows(persistence: Persistence) -> None:
    event, usage = AgentRunEvent("agent", "run"), AgentLLMUsage("agent", "run")
    for _ in range(2):
        persistence.log_agent_run_event(event)
        persistence.log_llm_usage(usage)
    assert len({event.id for event in persistence.get_agent_run_events("run")}) == 2
    assert len({usage.id for usage in persistence.get_llm_usage()}) == 2


def test_every_read_returns_its_own_objects(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run"))
    persistence.log_agent_run_event(AgentRunEvent("agent", "run"))
    persistence.log_llm_usage(AgentLLMUsage("agent", "run"))
    persistence.get_agent_run_stats()["by_model"]["changed"] = 1
    for first, second in zip(
        [*persistence.get_agent_runs(), *persistence.get_agent_run_events("run")],
        [*persistence.get_agent_runs(), *persistence.get_agent_run_events("run")],
        strict=True,
    ):
        assert first == second
        assert first is not second
    assert "changed" not in persistence.get_agent_run_stats()["by_model"]
