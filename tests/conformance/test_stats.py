"""Statistics: each number is computed by hand, and the same on every backend."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence

NOTHING: dict[str, Any] = {
    "total_runs": 0,
    "completed_runs": 0,
    "error_runs": 0,
    "runs_by_status": {},
    "avg_iterations": 0.0,
    "total_llm_calls": 0,
    "total_input_tokens": 0,
    "total_output_tokens": 0,
    "total_cost_usd": Decimal("0"),
    "avg_input_tokens_per_call": 0.0,
    "avg_output_tokens_per_call": 0.0,
    "token_efficiency": 0.0,
    "by_model": {},
    "latency_percentiles": {},
    "tool_metrics": {},
}


def call(persistence: Persistence, model: str = "m", **fields: Any) -> None:
    persistence.log_llm_usage(AgentLLMUsage("agent", "run", model=model, **fields))


def event(persistence: Persistence, event_type: str, data: Any) -> None:
    persistence.log_agent_run_event(AgentRunEvent("agent", "run", event_type=event_type, data=data))


def tools(persistence: Persistence) -> dict[str, Any]:
    metrics: dict[str, Any] = persistence.get_agent_run_stats()["tool_metrics"]
    return metrics


@pytest.fixture
def busy(persistence: Persistence) -> Persistence:
    """Records of two agents."""
    for number, (agent, status, iterations) in enumerate(
        [
            ("agent", "completed", 2),
            ("agent", "completed", 3),
            ("agent", "error", 3),
            ("agent", "my own", 0),
            ("other", "timeout", 10),
        ]
    ):
        run = AgentRun(agent, f"run {number}", status=status, total_iterations=iterations)
        persistence.create_agent_run(run)
    for fields in (
        {"input_tokens": 10, "output_tokens": 20, "latency_ms": 100, "cost_usd": Decimal("0.1")},
        {"input_tokens": 30, "latency_ms": 300},
        {"status": "error", "cost_usd": Decimal("0.200000000001")},
    ):
        call(persistence, **fields)
    call(persistence, "n", input_tokens=5, output_tokens=1, latency_ms=201)
    persistence.log_llm_usage(AgentLLMUsage("other", None, model="m", output_tokens=1000))
    for data in (
        {"tool_name": "search", "latency_ms": 10.5},
        {"tool_name": "search", "latency_ms": 0.25, "error": "timed out"},
        {"tool_name": "search"},
    ):
        persistence.log_agent_run_event(
            AgentRunEvent("agent", "run 0", "", None, "tool_call", data)
        )
    return persistence


def test_the_numbers_of_one_agent(busy: Persistence) -> None:
    assert busy.get_agent_run_stats("agent") == {
        "total_runs": 4,
        "completed_runs": 2,
        "error_runs": 1,
        "runs_by_status": {"completed": 2, "error": 1, "my own": 1},
        "avg_iterations": 2.0,
        "total_llm_calls": 4,
        "total_input_tokens": 45,
        "total_output_tokens": 21,
        "total_cost_usd": Decimal("0.300000000001"),
        "avg_input_tokens_per_call": 11.25,
        "avg_output_tokens_per_call": 5.25,
        "token_efficiency": 0.4667,
        "by_model": {
            "m": {
                "calls": 3,
                "input_tokens": 40,
                "output_tokens": 20,
                "cost_usd": Decimal("0.300000000001"),
                "errors": 1,
            },
            "n": {
                "calls": 1,
                "input_tokens": 5,
                "output_tokens": 1,
                "cost_usd": None,
                "errors": 0,
            },
        },
        "latency_percentiles": {
            "p50": 201.0,
            "p75": 250.5,
            "p90": 280.2,
            "p95": 290.1,
            "p99": 298.02,
        },
        "tool_metrics": {
            "search": {
                "call_count": 3,
                "total_latency_ms": 10.75,
                "avg_latency_ms": 5.38,
                "error_count": 1,
            }
        },
    }


def test_the_numbers_of_all_agents_together(busy: Persistence) -> None:
    stats = busy.get_agent_run_stats()
    assert stats["runs_by_status"] == {"completed": 2, "error": 1, "my own": 1, "timeout": 1}
    assert (stats["total_runs"], stats["avg_iterations"]) == (5, 3.6)
    assert (stats["total_llm_calls"], stats["total_output_tokens"]) == (5, 1021)
    assert stats["by_model"]["m"]["calls"] == 4
    assert stats["tool_metrics"] == busy.get_agent_run_stats("agent")["tool_metrics"]
    assert stats == busy.stats.summary()


def test_groups_are_sorted(busy: Persistence) -> None:
    stats = busy.get_agent_run_stats()
    for groups in "runs_by_status", "by_model", "tool_metrics":
        assert list(stats[groups]) == sorted(stats[groups])


def test_an_empty_database_has_zeros(persistence: Persistence) -> None:
    assert persistence.get_agent_run_stats() == NOTHING


def test_an_unknown_agent_has_zeros(busy: Persistence) -> None:
    assert busy.get_agent_run_stats("unknown") == NOTHING


def test_a_total_cost_is_unknown_only_if_no_call_has_one(persistence: Persistence) -> None:
    def cost() -> Decimal | None:
        total: Decimal | None = persistence.get_agent_run_stats()["total_cost_usd"]
        return total

    assert cost() == 0
    call(persistence)
    assert cost() is None
    call(persistence, cost_usd=0)
    assert cost() == 0
    call(persistence, usage_metrics={"cost_usd": 0.1})
    call(persistence, usage_metrics={"cost_usd": 0.2})
    assert cost() == Decimal("0.3")


def test_costs_and_counts_are_exact_and_averages_are_floats(busy: Persistence) -> None:
    stats = busy.get_agent_run_stats()
    assert type(stats["total_cost_usd"]) is Decimal
    for name, expected in NOTHING.items():
        if isinstance(expected, int | float):
            assert type(stats[name]) is type(expected), name


def test_sums_beyond_64_bits_are_exact(persistence: Persistence) -> None:
    most = 2**63 - 1
    for number in range(3):
        run = AgentRun("agent", f"run {number}", total_iterations=most)
        persistence.create_agent_run(run)
        call(
            persistence,
            input_tokens=most,
            output_tokens=most - 1,
            latency_ms=most,
            cost_usd=Decimal("9223371.999999999999"),
        )
    for _ in range(10):
        event(persistence, "tool_call", {"tool_name": "t", "latency_ms": 999_999_999_999_999})
    stats = persistence.get_agent_run_stats()
    assert stats["total_input_tokens"] == 3 * most
    assert stats["total_output_tokens"] == 3 * most - 3
    assert stats["total_cost_usd"] == Decimal("27670115.999999999997")
    assert stats["by_model"]["m"]["input_tokens"] == 3 * most
    assert stats["latency_percentiles"]["p50"] == float(most)
    assert stats["avg_iterations"] == round(3 * most / 4, 2)
    assert stats["tool_metrics"]["t"]["total_latency_ms"] == 9_999_999_999_999_990.0


@pytest.mark.parametrize(
    ("status", "errors"), [("success", 0), ("error", 1), ("timeout", 1), ("Success", 1)]
)
def test_a_model_call_that_did_not_succeed_is_an_error(
    persistence: Persistence, status: str, errors: int
) -> None:
    call(persistence, status=status)
    assert persistence.get_agent_run_stats()["by_model"]["m"]["errors"] == errors


# --- percentiles ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "latencies",
    [
        [7],
        [0, 0],
        [1, 2],
        [5, 1, 4, 1, 5, 9, 2, 6],
        [3] * 50 + [1000],
        list(range(101)),
        [0, 5, 5],
        np.random.default_rng(2).integers(0, 10_000, 137).tolist(),
    ],
    ids=len,
)
def test_percentiles_equal_those_of_numpy(persistence: Persistence, latencies: list[int]) -> None:
    with persistence.transaction():
        for latency in latencies:
            call(persistence, latency_ms=latency)
        call(persistence, latency_ms=None)
    expected = {f"p{q}": round(float(np.percentile(latencies, q)), 2) for q in (50, 75, 90, 95, 99)}
    assert persistence.get_agent_run_stats("agent")["latency_percentiles"] == expected
    assert persistence.get_agent_run_stats()["latency_percentiles"] == expected


# --- tools ------------------------------------------------------------------------------------


def test_two_types_of_event_count_as_finished_tool_calls(persistence: Persistence) -> None:
    event(persistence, "tool_call", {"tool_name": "a", "latency_ms": 1, "error": None})
    event(persistence, "action_execution_completed", {"action": "a", "duration_ms": 2})
    event(persistence, "action_execution_completed", {"action_name": "b", "duration_ms": 4})
    event(persistence, "custom", {"tool_name": "c", "latency_ms": 8})
    event(persistence, "tool_call_started", {"tool_name": "a"})
    assert tools(persistence) == {
        "a": {
            "call_count": 2,
            "total_latency_ms": 3.0,
            "avg_latency_ms": 1.5,
            "error_count": 0,
        },
        "b": {
            "call_count": 1,
            "total_latency_ms": 4.0,
            "avg_latency_ms": 4.0,
            "error_count": 0,
        },
    }


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        ("it broke", 1),
        (True, 1),
        ({"code": 5}, 1),
        (["a"], 1),
        (None, 0),
        (False, 0),
        ("", 0),
        ({}, 0),
        (0, 0),
        (0.5, 1),
        (-32601, 1),
    ],
)
def test_a_tool_call_failed_if_it_has_an_error(
    persistence: Persistence, error: Any, failed: int
) -> None:
    event(persistence, "tool_call", {"tool_name": "a", "error": error})
    assert tools(persistence)["a"]["error_count"] == failed


@pytest.mark.parametrize(
    "latency",
    [None, "12", [], {}, 10**400, -(10**400), 1e300, float("nan"), float("inf")],
    ids=lambda value: repr(value)[:10],
)
def test_an_invalid_latency_is_not_averaged(persistence: Persistence, latency: Any) -> None:
    event(persistence, "tool_call", {"tool_name": "a", "latency_ms": latency})
    event(persistence, "tool_call", {"tool_name": "a", "latency_ms": 3})
    assert tools(persistence)["a"] == {
        "call_count": 2,
        "total_latency_ms": 3.0,
        "avg_latency_ms": 3.0,
        "error_count": 0,
    }


@pytest.mark.parametrize(
    "data",
    [
        None,
        "",
        "no JSON",
        "[1]",
        '"tool_name"',
        {},
        {"tool_name": ""},
        {"tool_name": None},
        {"latency_ms": 5},
        "[" * 100_000,
        '{"tool_name": "a", "latency_ms": 1' + "0" * 5000 + "}",
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_tool_call_without_a_valid_name_is_stored_and_not_counted(
    persistence: Persistence, data: Any
) -> None:
    event(persistence, "tool_call", data)
    assert tools(persistence) == {}
    assert len(persistence.get_agent_run_events("run")) == 1


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\0b", "a\0b"),
        ("\ud800", "\ud800"),
        ("🙂", "🙂"),
        (5, "5"),
        ("x" * 300, "x" * 255),
        ("it's", "it's"),
    ],
    ids=repr,
)
def test_a_tool_may_have_any_name_and_255_characters_count(
    persistence: Persistence, name: Any, shown: str
) -> None:
    event(persistence, "tool_call", {"tool_name": name})
    assert list(tools(persistence)) == [shown]


def test_tool_calls_of_a_deleted_run_are_not_counted(persistence: Persistence) -> None:
    event(persistence, "tool_call", {"tool_name": "a"})
    persistence.delete_agent_run("run")
    assert tools(persistence) == {}


def test_tool_calls_by_agent_add_up_to_those_of_the_summary(persistence: Persistence) -> None:
    for number in range(12):
        agent, tool = f"agent {number % 2}", f"tool {number % 3}"
        payload = {"tool_name": tool, "latency_ms": number} | ({"error": "e"} if number > 9 else {})
        persistence.log_agent_run_event(
            AgentRunEvent(agent, "run", event_type="tool_call", data=payload)
        )
    rows = persistence.stats.tools()
    assert [(row.agent_id, row.tool, row.calls, row.errors) for row in rows] == [
        ("agent 0", "tool 0", 2, 0),
        ("agent 0", "tool 1", 2, 1),
        ("agent 0", "tool 2", 2, 0),
        ("agent 1", "tool 0", 2, 0),
        ("agent 1", "tool 1", 2, 0),
        ("agent 1", "tool 2", 2, 1),
    ]
    assert [row.avg_latency_ms for row in rows] == [3.0, 7.0, 5.0, 6.0, 4.0, 8.0]
    assert {row.timed for row in rows} == {2}
    summary = persistence.stats.summary(agent_id="agent 0")["tool_metrics"]
    assert {row.tool: row.calls for row in rows[:3]} == {
        tool: numbers["call_count"] for tool, numbers in summary.items()
    }
    assert list(persistence.stats.tools(agent_id="agent 2")) == []


def test_tools_without_latencies_have_no_average(persistence: Persistence) -> None:
    event(persistence, "tool_call", {"tool_name": "search\ud800"})
    [row] = persistence.stats.tools()
    assert (row.tool, row.timed, row.avg_latency_ms) == ("search\ud800", 0, None)
