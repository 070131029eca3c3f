"""The promises of `BasePersistence` for events and model calls."""

from __future__ import annotations

from decimal import Decimal

import pytest

from curio_persistence.base import BasePersistence
from curio_persistence.errors import ConflictError
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent, EventType
from curio_persistence.testing.rows import MINUTE, NOON, stored_run


class EventAndUsagePromises:
    """Events and model calls are logged, listed and counted."""

    # --- events -------------------------------------------------------------------------------

    def test_an_event_comes_back_as_it_was_logged(self, persistence: BasePersistence) -> None:
        persistence.create_agent_run(AgentRun("agent", "run"))
        event = AgentRunEvent("agent", "run", "Agent", NOON, EventType.CUSTOM, '{"a": [1]}')
        persistence.log_agent_run_event(event)
        assert isinstance(event.id, int)
        assert persistence.get_agent_run_events("run") == [event]
        assert event.get_data_dict() == {"a": [1]}

    def test_what_json_can_express_comes_back_as_json(self, persistence: BasePersistence) -> None:
        said = {"text": "it's", "numbers": [1, 2.5, None], "deeper": {"true": True}}
        persistence.create_agent_run(AgentRun("agent", "run", metadata=said))
        persistence.log_agent_run_event(AgentRunEvent("agent", "run", data=said))
        persistence.log_llm_usage(AgentLLMUsage("agent", "run", input_params=said))
        assert stored_run(persistence, "run").get_metadata_dict() == said
        assert persistence.get_agent_run_events("run")[0].get_data_dict() == said
        assert persistence.get_llm_usage()[0].get_input_params_dict() == said

    def test_an_event_without_a_timestamp_is_given_one(self, persistence: BasePersistence) -> None:
        persistence.create_agent_run(AgentRun("agent", "run"))
        event = AgentRunEvent("agent", "run")
        persistence.log_agent_run_event(event)
        assert event.timestamp is not None
        assert event.created_at is not None
        assert persistence.get_agent_run_events("run") == [event]

    def test_events_come_oldest_first_and_of_equal_times_as_they_were_logged(
        self, persistence: BasePersistence
    ) -> None:
        persistence.create_agent_run(AgentRun("agent", "run"))
        for name, minute in ("new", 2), ("old", 0), ("twin", 1), ("other twin", 1):
            at = NOON + minute * MINUTE
            event = AgentRunEvent("agent", "run", timestamp=at, event_type=name)
            persistence.log_agent_run_event(event)
        events = persistence.get_agent_run_events("run")
        assert [event.event_type for event in events] == ["old", "twin", "other twin", "new"]

    def test_events_of_one_type(self, persistence: BasePersistence) -> None:
        persistence.create_agent_run(AgentRun("agent", "run"))
        for name in "tick", "tock", "tick":
            persistence.log_agent_run_event(AgentRunEvent("agent", "run", event_type=name))
        assert len(persistence.get_agent_run_events("run", "tick")) == 2
        assert persistence.get_agent_run_events("run", "bang") == []
        assert persistence.get_agent_run_events("unknown") == []

    def test_an_event_whose_run_nobody_created_makes_a_minimal_one(
        self, persistence: BasePersistence
    ) -> None:
        event = AgentRunEvent("agent", "run", "Agent", NOON, "custom")
        persistence.log_agent_run_event(event)
        run = stored_run(persistence, "run")
        assert (run.agent_id, run.agent_name, run.status) == ("agent", "Agent", "running")
        assert run.started_at == NOON
        assert persistence.get_agent_run_events("run") == [event]

    def test_a_run_may_be_created_after_its_first_event(self, persistence: BasePersistence) -> None:
        persistence.log_agent_run_event(AgentRunEvent("agent", "run", timestamp=NOON))
        persistence.create_agent_run(AgentRun("agent", "run", objective="late"))
        assert stored_run(persistence, "run").objective == "late"
        assert len(persistence.get_agent_run_events("run")) == 1
        with pytest.raises(ConflictError):
            persistence.create_agent_run(AgentRun("agent", "run"))

    # --- usage --------------------------------------------------------------------------------

    def test_a_model_call_comes_back_as_it_was_logged(self, persistence: BasePersistence) -> None:
        usage = AgentLLMUsage(
            "agent",
            "run",
            "provider",
            "model",
            "why?",
            4,
            '{"top_p": 1}',
            10,
            20,
            "because",
            7,
            '{"cached": true}',
            "success",
            None,
            250,
            span_id="span",
            cache_read_tokens=1,
            cache_write_tokens=2,
            reasoning_tokens=3,
            cost_usd=Decimal("0.000123"),
            trace_id="trace",
            parent_span_id="parent",
        )
        persistence.log_llm_usage(usage)
        assert isinstance(usage.id, int)
        assert usage.created_at is not None
        assert persistence.get_llm_usage() == [usage]

    def test_a_model_call_can_stand_alone(self, persistence: BasePersistence) -> None:
        persistence.log_llm_usage(AgentLLMUsage("agent", None))
        persistence.log_llm_usage(AgentLLMUsage("agent", "unknown-run"))
        persistence.log_llm_usage(AgentLLMUsage(None, None))
        assert len(persistence.get_llm_usage()) == 3
        assert len(persistence.get_llm_usage("agent")) == 2
        assert persistence.get_agent_runs() == []

    def test_usage_of_an_agent_or_a_run_newest_first(self, persistence: BasePersistence) -> None:
        for minute, (agent, run) in enumerate([("one", "a"), ("two", "b"), ("two", "a")]):
            at = NOON + minute * MINUTE
            persistence.log_llm_usage(AgentLLMUsage(agent, run, f"{agent} {run}", created_at=at))
        providers = [
            [usage.provider for usage in answer]
            for answer in (
                persistence.get_llm_usage(),
                persistence.get_llm_usage("two"),
                persistence.get_llm_usage(run_id="a"),
                persistence.get_llm_usage("two", "a"),
                persistence.get_llm_usage(limit=1),
                persistence.get_llm_usage(limit=0),
            )
        ]
        assert providers == [
            ["two a", "two b", "one a"],
            ["two a", "two b"],
            ["two a", "one a"],
            ["two a"],
            ["two a"],
            [],
        ]

    # --- statistics ---------------------------------------------------------------------------

    def test_statistics_add_up(self, persistence: BasePersistence) -> None:
        for agent, status, iterations in (
            ("one", "completed", 2),
            ("one", "error", 3),
            ("one", "running", 3),
            ("two", "completed", 100),
        ):
            name = f"{agent} {status}"
            persistence.create_agent_run(
                AgentRun(agent, name, status=status, total_iterations=iterations)
            )
            persistence.log_llm_usage(AgentLLMUsage(agent, name, input_tokens=5, output_tokens=7))
        persistence.log_llm_usage(AgentLLMUsage("one", None))
        stats = persistence.get_agent_run_stats("one")
        assert {name: stats[name] for name in _NUMBERS} == {
            "total_runs": 3,
            "completed_runs": 1,
            "error_runs": 1,
            "avg_iterations": 2.67,
            "total_llm_calls": 4,
            "total_input_tokens": 15,
            "total_output_tokens": 21,
        }
        assert persistence.get_agent_run_stats()["avg_iterations"] == 27.0

    def test_statistics_of_nothing_are_zeros(self, persistence: BasePersistence) -> None:
        stats = persistence.get_agent_run_stats("unknown")
        assert {name: stats[name] for name in _NUMBERS} == dict.fromkeys(_NUMBERS, 0)


_NUMBERS = (
    "total_runs",
    "completed_runs",
    "error_runs",
    "avg_iterations",
    "total_llm_calls",
    "total_input_tokens",
    "total_output_tokens",
)
