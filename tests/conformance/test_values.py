"""Every backend accepts and refuses the same values, before anything is stored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from enum import Enum, IntEnum
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    AgentRunStatus,
    EventType,
    InvalidValueError,
    Persistence,
    PersistenceError,
)
from tests.support.records import MODELS, Record, everything, read_back, write

MOST, LEAST = 2**63 - 1, -(2**63)


class Status(Enum):
    """An Enum that is not a str."""

    PAUSED = "paused"


class Kind(str, Enum):  # its str() is not its value  # noqa: UP042
    THOUGHT = "thought"


class Number(IntEnum):
    SEVEN = 7


class Text(str):
    """A str whose str() differs."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


# --- refused values ---------------------------------------------------------------------------

NO_TEXT = [5, 1.5, True, b"x", ["x"], {"x": 1}, object(), datetime(2026, 11, 20, tzinfo=UTC)]
NO_NAME = [*NO_TEXT, "a\0b", "\ud800", "x" * 256, "🙂" * 256]
NO_ID = [*NO_NAME, "", None]
NO_STATUS = [*NO_ID, "x" * 51, Number.SEVEN]
NO_INTEGER = [True, False, 1.0, "1", b"1", [1], Decimal(1), MOST + 1, LEAST - 1, 10**400]
NO_INTEGER += [float("nan"), np.bool_(True), np.float64(1), np.array([1, 2]), np.uint64(2**63)]
NO_COUNT = [*NO_INTEGER, -1]
NO_LATENCY = [-1, True, "1", None.__class__, float("nan"), float("inf"), 1e30, MOST + 1, 10**400]
NO_LATENCY += [Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"), np.float64("nan"), 1j]
NO_COST = [
    -0.01,
    True,
    "0.1",
    [1],
    1j,
    float("nan"),
    float("-inf"),
    Decimal("NaN"),
    Decimal("sNaN"),
]
NO_COST += [9_223_372, -9_223_372.5, 1e300, 10**400, 10**5000, Decimal("1e999999")]

REFUSED: list[tuple[type[Record], str, list[Any]]] = [
    (AgentRun, "agent_id", NO_ID),
    (AgentRun, "run_id", NO_ID),
    (AgentRun, "agent_name", NO_NAME),
    (AgentRun, "objective", NO_TEXT),
    (AgentRun, "total_iterations", NO_INTEGER),
    (AgentRun, "final_synthesis_output", NO_TEXT),
    (AgentRun, "status", NO_STATUS),
    (AgentRun, "error_message", NO_TEXT),
    (AgentRun, "session_id", NO_NAME),
    (AgentRun, "parent_run_id", NO_NAME),
    (AgentRunEvent, "agent_id", NO_ID),
    (AgentRunEvent, "run_id", NO_ID),
    (AgentRunEvent, "agent_name", NO_NAME),
    (AgentRunEvent, "event_type", NO_NAME),
    (AgentLLMUsage, "agent_id", NO_NAME),
    (AgentLLMUsage, "run_id", NO_NAME),
    (AgentLLMUsage, "provider", NO_NAME),
    (AgentLLMUsage, "model", NO_NAME),
    (AgentLLMUsage, "prompt", NO_TEXT),
    (AgentLLMUsage, "prompt_length", NO_INTEGER),
    (AgentLLMUsage, "input_tokens", NO_COUNT),
    (AgentLLMUsage, "output_tokens", NO_COUNT),
    (AgentLLMUsage, "response_content", NO_TEXT),
    (AgentLLMUsage, "response_length", NO_INTEGER),
    (AgentLLMUsage, "status", NO_STATUS),
    (AgentLLMUsage, "error_message", NO_TEXT),
    (AgentLLMUsage, "latency_ms", NO_LATENCY),
    (AgentLLMUsage, "span_id", NO_NAME),
    (AgentLLMUsage, "cache_read_tokens", NO_COUNT),
    (AgentLLMUsage, "cache_write_tokens", NO_COUNT),
    (AgentLLMUsage, "reasoning_tokens", NO_COUNT),
    (AgentLLMUsage, "cost_usd", NO_COST),
]
FIELDS = [f"{model.__name__}.{field}" for model, field, _ in REFUSED]


def refusal(call: Callable[..., object], *args: Any, **kwargs: Any) -> InvalidValueError:
    with pytest.raises(InvalidValueError) as refused:
        call(*args, **kwargs)
    return refused.value


@pytest.mark.before_io
@pytest.mark.parametrize(("model", "field", "values"), REFUSED, ids=FIELDS)
def test_an_invalid_value_is_refused_by_field_name_and_nothing_is_stored(
    persistence: Persistence, model: type[Record], field: str, values: list[Any]
) -> None:
    for value in values:
        record = model("agent", "run")
        setattr(record, field, value)
        error = refusal(write, persistence, record)
        assert error.field == f"{model.__name__}.{field}", value
        assert str(error).startswith(f"{model.__name__}.{field} ")
        assert (record.id, record.created_at) == (None, None)
    assert everything(persistence) == []


def test_an_update_refuses_what_creating_refuses_and_changes_nothing(
    persistence: Persistence,
) -> None:
    persistence.create_agent_run(AgentRun("agent", "run", objective="before"))
    before = everything(persistence)
    for model, field, values in REFUSED:
        if model is AgentRun:
            for value in values:
                changed = AgentRun("agent", "run", objective="after")
                setattr(changed, field, value)
                error = refusal(persistence.update_agent_run, "run", changed)
                assert error.field == f"AgentRun.{field}", value
    assert everything(persistence) == before


def test_a_refusal_is_a_value_error_and_has_one_root_with_all_failures(
    persistence: Persistence,
) -> None:
    error = refusal(persistence.create_agent_run, AgentRun("", "run"))
    assert isinstance(error, ValueError)
    assert isinstance(error, PersistenceError)


@pytest.mark.before_io
@pytest.mark.parametrize(
    "no_record", [None, {}, "run", SimpleNamespace(run_id="run"), AgentRunEvent], ids=repr
)
def test_an_object_without_the_fields_of_a_record_is_refused(
    persistence: Persistence, no_record: Any
) -> None:
    refusal(persistence.create_agent_run, no_record)
    refusal(persistence.update_agent_run, "run", no_record)
    refusal(persistence.log_agent_run_event, no_record)
    refusal(persistence.log_llm_usage, no_record)
    assert everything(persistence) == []


CALLS: dict[str, Callable[[Persistence, Any], object]] = {
    "get_agent_run": lambda p, bad: p.get_agent_run(bad),
    "update_agent_run": lambda p, bad: p.update_agent_run(bad, AgentRun("agent", "run")),
    "delete_agent_run": lambda p, bad: p.delete_agent_run(bad),
    "get_agent_run_events": lambda p, bad: p.get_agent_run_events(bad),
    "get_agent_run_events of a type": lambda p, bad: p.get_agent_run_events("run", bad),
    "get_agent_runs": lambda p, bad: p.get_agent_runs(bad),
    "get_llm_usage of an agent": lambda p, bad: p.get_llm_usage(bad),
    "get_llm_usage of a run": lambda p, bad: p.get_llm_usage(run_id=bad),
    "get_agent_run_stats": lambda p, bad: p.get_agent_run_stats(bad),
}
ABOUT_ONE_RUN = list(CALLS)[:4]
CAPABILITIES: dict[str, Callable[[Persistence, Any], object]] = {
    "runs.list": lambda p, bad: p.runs.list(agent_id=bad),
    "usage.list of an agent": lambda p, bad: p.usage.list(agent_id=bad),
    "usage.list of a run": lambda p, bad: p.usage.list(run_id=bad),
    "stats.summary": lambda p, bad: p.stats.summary(agent_id=bad),
}


@pytest.mark.before_io
@pytest.mark.parametrize("name", CALLS)
def test_an_invalid_name_is_refused_as_a_filter(persistence: Persistence, name: str) -> None:
    persistence.create_agent_run(AgentRun("agent", "run"))
    before = everything(persistence)
    for bad in [*NO_NAME, 0, 0.0, False, [], {}, b""]:
        refusal(CALLS[name], persistence, bad)
    assert everything(persistence) == before


@pytest.mark.before_io
@pytest.mark.parametrize("name", ABOUT_ONE_RUN)
def test_a_call_about_one_run_must_name_it(persistence: Persistence, name: str) -> None:
    persistence.create_agent_run(AgentRun("agent", "run", objective="before"))
    before = everything(persistence)
    for nothing in None, "":
        refusal(CALLS[name], persistence, nothing)
    assert everything(persistence) == before


@pytest.mark.parametrize("name", CAPABILITIES)
def test_only_in_the_published_calls_does_an_empty_text_mean_everything(
    persistence: Persistence, name: str
) -> None:
    refusal(CAPABILITIES[name], persistence, "")


# --- accepted values --------------------------------------------------------------------------

ACCEPTED: list[tuple[type[Record], str, Any, Any]] = [
    (AgentRun, "agent_id", "x" * 255, "x" * 255),
    (AgentRun, "run_id", "🙂" * 255, "🙂" * 255),
    (AgentRun, "agent_id", "\ufdd00041", "\ufdd00041"),
    (AgentRun, "agent_id", Text("text"), "text"),
    (AgentRun, "agent_id", np.str_("text"), "text"),
    (AgentRun, "agent_name", None, ""),
    (AgentRun, "objective", None, ""),
    (AgentRun, "objective", Text("text"), "text"),
    (AgentRun, "status", AgentRunStatus.TIMEOUT, "timeout"),
    (AgentRun, "status", Status.PAUSED, "paused"),
    (AgentRun, "status", "x" * 50, "x" * 50),
    (AgentRun, "status", "my own", "my own"),
    (AgentRun, "total_iterations", None, 0),
    (AgentRun, "total_iterations", np.int8(-5), -5),
    (AgentRun, "total_iterations", Number.SEVEN, 7),
    (AgentRun, "total_iterations", MOST, MOST),
    (AgentRun, "total_iterations", LEAST, LEAST),
    (AgentRun, "session_id", "", None),
    (AgentRun, "parent_run_id", "", None),
    (AgentRunEvent, "event_type", EventType.CUSTOM, "custom"),
    (AgentRunEvent, "event_type", Kind.THOUGHT, "thought"),
    (AgentRunEvent, "event_type", "", ""),
    (AgentLLMUsage, "run_id", None, None),
    (AgentLLMUsage, "run_id", "", None),
    (AgentLLMUsage, "span_id", "", None),
    (AgentLLMUsage, "prompt", None, ""),
    (AgentLLMUsage, "prompt_length", None, 0),
    (AgentLLMUsage, "input_tokens", np.uint64(MOST), MOST),
    (AgentLLMUsage, "output_tokens", 0, 0),
    (AgentLLMUsage, "reasoning_tokens", 0, 0),
    (AgentLLMUsage, "latency_ms", 12, 12),
    (AgentLLMUsage, "latency_ms", 12.4, 12),
    (AgentLLMUsage, "latency_ms", 0.5, 0),
    (AgentLLMUsage, "latency_ms", 1.5, 2),
    (AgentLLMUsage, "latency_ms", Decimal("2.5001"), 3),
    (AgentLLMUsage, "latency_ms", Fraction(7, 2), 4),
    (AgentLLMUsage, "latency_ms", np.float32(99.6), 100),
    (AgentLLMUsage, "latency_ms", np.int64(5), 5),
    (AgentLLMUsage, "latency_ms", -0.4, 0),
    (AgentLLMUsage, "cost_usd", 0, Decimal("0")),
    (AgentLLMUsage, "cost_usd", 0.1, Decimal("0.1")),
    (AgentLLMUsage, "cost_usd", np.float64(0.1), Decimal("0.1")),
    (AgentLLMUsage, "cost_usd", np.int64(3), Decimal("3")),
    (AgentLLMUsage, "cost_usd", 1e-9, Decimal("0.000000001")),
    (AgentLLMUsage, "cost_usd", Decimal("1e-12"), Decimal("0.000000000001")),
    (AgentLLMUsage, "cost_usd", Decimal("1.5e-12"), Decimal("0.000000000002")),
    (AgentLLMUsage, "cost_usd", Decimal("2.5e-12"), Decimal("0.000000000002")),
    (AgentLLMUsage, "cost_usd", Decimal("1e-999999"), Decimal("0")),
    (AgentLLMUsage, "cost_usd", Decimal("-0"), Decimal("0")),
    (AgentLLMUsage, "cost_usd", Decimal("9223371.999999999999"), Decimal("9223371.999999999999")),
]


@pytest.mark.parametrize("model", MODELS)
def test_a_valid_value_is_returned_as_a_plain_type(
    persistence: Persistence, model: type[Record]
) -> None:
    for number, (owner, field, value, expected) in enumerate(ACCEPTED):
        if owner is model:
            record = model("agent", str(number))
            setattr(record, field, value)
            write(persistence, record)
            kept = getattr(read_back(persistence, record), field)
            assert kept == expected, (field, value)
            assert type(kept) is type(expected), (field, value)


def test_costs_are_exact_whatever_the_callers_decimal_precision(
    persistence: Persistence,
) -> None:
    cost = Decimal("1234567.123456789012")
    with localcontext(prec=3):
        persistence.log_llm_usage(AgentLLMUsage("agent", None, cost_usd=cost))
        assert persistence.get_llm_usage()[0].cost_usd == cost
        assert persistence.get_agent_run_stats()["total_cost_usd"] == cost


@pytest.mark.parametrize(
    ("metrics", "cost"),
    [
        ({"cost_usd": 0.1}, "0.1"),
        ('{"cost_usd": 0.1000000000001}', "0.1"),
        ('{"cost_usd": 0.12345678901}', "0.12345678901"),
        ({"cost_usd": Decimal("0.3")}, "0.3"),
        ({"cost_usd": "0.25"}, "0.25"),
        ({"cost_usd": 0}, "0"),
        ({"cost_usd": None}, None),
        ({"cost_usd": True}, None),
        ({"cost_usd": "free"}, None),
        ({"cost_usd": float("nan")}, None),
        ({"cost_usd": 1e300}, None),
        ({"cost_usd": "1e999999"}, None),
        ({"cost_usd": {"a": 1}}, None),
        ({}, None),
        ('[{"cost_usd": 1}]', None),
        ('{"cost_usd": 1', None),
        ("[" * 100_000 + '"cost_usd"', None),
        (None, None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_valid_cost_among_the_metrics_is_used(
    persistence: Persistence, metrics: Any, cost: str | None
) -> None:
    usage = AgentLLMUsage("agent", "run", usage_metrics=metrics)
    persistence.log_llm_usage(usage)
    [kept] = persistence.get_llm_usage()
    assert kept.cost_usd == usage.cost_usd == (None if cost is None else Decimal(cost))


def test_any_object_with_the_fields_of_a_record_is_accepted(persistence: Persistence) -> None:
    """An example is an agent's own dataclass without the later fields."""
    old_fields = AgentRun("agent", "run", objective="find out").to_dict()
    del old_fields["session_id"], old_fields["parent_run_id"]
    run: Any = SimpleNamespace(**old_fields)
    persistence.create_agent_run(run)
    stored = persistence.get_agent_run("run")
    assert stored is not None
    assert (stored.objective, stored.id) == ("find out", run.id)
