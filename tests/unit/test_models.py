"""The three records: their published fields, and their conversion to dictionaries and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    AgentRunStatus,
    EventType,
    InvalidValueError,
)
from tests.support.records import MODELS, Record

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)

# Positional order and defaults are published: fields may only be added at the end.
PUBLISHED: dict[type[Record], dict[str, Any]] = {
    AgentRun: {
        "agent_name": "",
        "objective": "",
        "additional_context": None,
        "started_at": None,
        "finished_at": None,
        "total_iterations": 0,
        "final_synthesis_output": None,
        "execution_history": None,
        "status": "pending",
        "error_message": None,
        "metadata": None,
        "id": None,
        "created_at": None,
        "updated_at": None,
        "session_id": None,
        "parent_run_id": None,
        "tags": None,
        "metrics": None,
        "user_id": None,
    },
    AgentRunEvent: {
        "agent_name": "",
        "timestamp": None,
        "event_type": "",
        "data": None,
        "id": None,
        "created_at": None,
        "event_id": None,
        "session_id": None,
        "level": "info",
        "message": None,
        "trace_id": None,
        "span_id": None,
        "parent_span_id": None,
        "contract_id": None,
        "contract_version": None,
        "artifact_uri": None,
        "metadata": None,
        "chain_position": None,
        "content_hash": None,
        "prev_hash": None,
        "hash": None,
        "seq": None,
    },
    AgentLLMUsage: {
        "provider": "",
        "model": "",
        "prompt": "",
        "prompt_length": 0,
        "input_params": None,
        "input_tokens": None,
        "output_tokens": None,
        "response_content": None,
        "response_length": None,
        "usage_metrics": None,
        "status": "success",
        "error_message": None,
        "latency_ms": None,
        "id": None,
        "created_at": None,
        "span_id": None,
        "cache_read_tokens": None,
        "cache_write_tokens": None,
        "reasoning_tokens": None,
        "cost_usd": None,
        "event_id": None,
        "trace_id": None,
        "parent_span_id": None,
        "price_version": None,
    },
}

FULL: dict[type[Record], Record] = {
    AgentRun: AgentRun(
        "agent",
        "run",
        "Agent",
        "find out",
        '{"a": 1}',
        NOON,
        NOON.astimezone(timezone(timedelta(hours=9))),
        3,
        "found",
        "[1, 2]",
        AgentRunStatus.COMPLETED,
        "none",
        "{}",
        1,
        NOON.replace(microsecond=1),
        NOON.replace(tzinfo=None),
        "session",
        "parent",
        ["tag"],
        '{"score": 1}',
        "user",
    ),
    AgentRunEvent: AgentRunEvent(
        "agent",
        "run",
        "Agent",
        NOON,
        EventType.CUSTOM,
        "\0\ud800",
        2,
        NOON,
        "event",
        "session",
        "error",
        "It broke.",
        "trace",
        "span",
        "parent span",
        "contract",
        "1.2",
        "s3://bucket/report.pdf",
        "{}",
        1,
        "content hash",
        "hash before",
        "hash",
        7,
    ),
    AgentLLMUsage: AgentLLMUsage(
        "agent",
        None,
        "provider",
        "model",
        "why?",
        4,
        "{}",
        10,
        20,
        "because",
        7,
        "{}",
        "error",
        "none",
        250,
        3,
        NOON,
        "span",
        1,
        2,
        3,
        Decimal("0.100000000001"),
        "call",
    ),
}


@pytest.mark.parametrize("model", MODELS)
def test_fields_have_their_published_order_and_defaults(model: type[Record]) -> None:
    published = PUBLISHED[model]
    assert [field.name for field in fields(model)] == ["agent_id", "run_id", *published]
    record = model("agent", "run")
    assert {name: getattr(record, name) for name in published} == published


@pytest.mark.parametrize("model", MODELS)
def test_a_record_can_be_made_from_its_values_in_order(model: type[Record]) -> None:
    values = [getattr(FULL[model], field.name) for field in fields(model)]
    assert None not in values or model is AgentLLMUsage
    assert model(*values) == FULL[model]


def test_records_can_be_changed_but_have_no_other_fields() -> None:
    run = AgentRun("agent", "run")
    run.status = "completed"
    with pytest.raises(AttributeError):
        run.stauts = "completed"  # type: ignore[attr-defined]


# --- known words ------------------------------------------------------------------------------


def test_there_are_six_known_statuses() -> None:
    assert set(AgentRunStatus) == {
        "pending",
        "running",
        "completed",
        "error",
        "cancelled",
        "timeout",
    }


def test_these_event_types_are_known() -> None:
    assert list(EventType) == [
        "run_started",
        "run_resumed",
        "run_completed",
        "run_error",
        "iteration_started",
        "iteration_completed",
        "planning_started",
        "planning_completed",
        "action_execution_started",
        "action_execution_completed",
        "critique_started",
        "critique_completed",
        "critique_result",
        "synthesis_started",
        "synthesis_completed",
        "synthesis_result",
        "object_stored",
        "object_not_found",
        "tool_registered",
        "subagent_run_started",
        "subagent_run_completed",
        "span_started",
        "span",
        "tool_call_started",
        "tool_call",
        "mcp.call",
        "metric",
        "custom",
    ]


@pytest.mark.parametrize("word", [*AgentRunStatus, *EventType])
def test_members_equal_their_text_and_have_its_name(word: AgentRunStatus | EventType) -> None:
    assert f"{word}" == word.value
    assert word.name == word.value.upper().replace(".", "_")


# --- dictionaries -----------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_a_dictionary_has_every_field_and_round_trips(model: type[Record]) -> None:
    for record in FULL[model], model("agent", "run"):
        described = record.to_dict()
        assert list(described) == [field.name for field in fields(model)]
        again = model.from_dict(described)
        assert again == record
        assert again is not record


@pytest.mark.parametrize("model", MODELS)
def test_a_dictionary_survives_json(model: type[Record]) -> None:
    for record in FULL[model], model("agent", "run"):
        assert model.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_times_and_costs_are_text_in_a_dictionary() -> None:
    usage = FULL[AgentLLMUsage].to_dict()
    assert usage["created_at"] == "2026-11-20T12:00:00+00:00"
    assert usage["cost_usd"] == "0.100000000001"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-20T12:00:00Z", NOON),
        ("2026-11-20 13:00:00+01:00", NOON),
        ("2026-11-20", datetime(2026, 11, 20)),
        (NOON, NOON),
        (None, None),
    ],
)
def test_times_may_be_given_in_any_iso_8601_spelling(text: Any, moment: datetime | None) -> None:
    run = AgentRun.from_dict({"agent_id": "agent", "run_id": "run", "started_at": text})
    assert run.started_at == moment


def test_fields_that_a_dictionary_lacks_have_their_defaults() -> None:
    assert AgentRun.from_dict({"agent_id": "agent", "run_id": "run"}) == AgentRun("agent", "run")


@pytest.mark.parametrize("model", MODELS)
def test_unknown_and_missing_keys_are_refused_by_name(model: type[Record]) -> None:
    with pytest.raises(InvalidValueError, match=r"no field 'agent', 'x'\.") as refused:
        model.from_dict({"agent_id": "agent", "run_id": "run", "x": 1, "agent": 2})
    assert "agent_id" in str(refused.value)
    with pytest.raises(InvalidValueError, match="needs 'run_id'"):
        model.from_dict({"agent_id": "agent"})


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [
        (AgentRun, "started_at", "yesterday"),
        (AgentRunEvent, "timestamp", ""),
        (AgentLLMUsage, "cost_usd", "free"),
    ],
)
def test_a_time_or_cost_that_cannot_be_read_is_refused_by_name(
    model: type[Record], field: str, value: str
) -> None:
    with pytest.raises(InvalidValueError) as refused:
        model.from_dict({"agent_id": "agent", "run_id": "run", field: value})
    assert refused.value.field == f"{model.__name__}.{field}"


# --- payloads ---------------------------------------------------------------------------------

GETTERS: dict[str, tuple[type[Record], str, Callable[[Any], dict[str, Any]]]] = {
    "metadata": (AgentRun, "metadata", AgentRun.get_metadata_dict),
    "data": (AgentRunEvent, "data", AgentRunEvent.get_data_dict),
    "params": (AgentLLMUsage, "input_params", AgentLLMUsage.get_input_params_dict),
    "metrics": (AgentLLMUsage, "usage_metrics", AgentLLMUsage.get_usage_metrics_dict),
}
with_each_getter = pytest.mark.parametrize(
    ("model", "field", "get"), GETTERS.values(), ids=GETTERS.keys()
)


def holding(model: type[Record], field: str, value: Any) -> Record:
    record = model("agent", "run")
    setattr(record, field, value)
    return record


@with_each_getter
def test_a_payload_can_be_read_as_a_dictionary(
    model: type[Record], field: str, get: Callable[[Any], dict[str, Any]]
) -> None:
    for value, expected in (
        ('{"a": [1, null]}', {"a": [1, None]}),
        ({"a": [1, None]}, {"a": [1, None]}),
        (None, {}),
        ("", {}),
        ("{}", {}),
    ):
        assert get(holding(model, field, value)) == expected


@with_each_getter
def test_a_payload_that_is_not_an_object_is_refused_by_name(
    model: type[Record], field: str, get: Callable[[Any], dict[str, Any]]
) -> None:
    for value in "no JSON", "[1]", "null", '"a"', [1], 5, "[" * 100_000:
        with pytest.raises(InvalidValueError, match=rf"{model.__name__}\.{field}"):
            get(holding(model, field, value))


# --- tokens and cost --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "total"), [((1, 2), 3), ((None, 2), 2), ((1, None), 1), ((None, None), 0)]
)
def test_total_tokens_sum_the_known_counts(
    tokens: tuple[int | None, int | None], total: int
) -> None:
    given, answered = tokens
    usage = AgentLLMUsage("agent", "run", input_tokens=given, output_tokens=answered)
    assert usage.get_total_tokens() == total


@pytest.mark.parametrize(
    ("cost", "metrics", "expected"),
    [
        (Decimal("0.1"), {"cost_usd": 0.2}, "0.1"),
        (Decimal(0), {"cost_usd": 0.2}, "0"),
        (None, {"cost_usd": 0.1}, "0.1"),
        (None, {"cost_usd": 3}, "3"),
        (None, {"cost_usd": Decimal("0.3")}, "0.3"),
        (None, {"cost_usd": "0.000000000000000001"}, "0.000000000000000001"),
        (None, '{"cost_usd": 0.12345678901234567890123}', "0.12345678901234567890123"),
        (None, '{"cost_usd": 1e-7}', "0.0000001"),
        (None, '{"cost_usd": 0}', "0"),
    ],
)
def test_a_cost_is_exact_and_the_column_takes_precedence(
    cost: Decimal | None, metrics: Any, expected: str
) -> None:
    found = AgentLLMUsage("agent", "run", usage_metrics=metrics, cost_usd=cost).get_cost_usd()
    assert found == Decimal(expected)
    assert isinstance(found, Decimal)


@pytest.mark.parametrize(
    "metrics",
    [
        None,
        "",
        {},
        "no JSON",
        '"cost_usd"',
        '["cost_usd"]',
        '{"cost_usd": null}',
        '{"cost_usd": true}',
        '{"cost_usd": NaN}',
        '{"cost_usd": "free"}',
        '{"cost_usd": ' + "1" * 5000 + "}",
        {"cost_usd": 10**5000},
        {"cost_usd": float("inf")},
        {"cost_usd": [1]},
    ],
)
def test_a_missing_cost_is_unknown_not_zero(metrics: Any) -> None:
    assert AgentLLMUsage("agent", "run", usage_metrics=metrics).get_cost_usd() is None


def test_a_dictionary_is_a_copy_and_can_be_serialised_as_json() -> None:
    moment = datetime(2026, 11, 20, tzinfo=UTC)
    run = AgentRun("agent", "run", tags=["a"], metadata={"at": moment, "cost": [Decimal("0.1")]})
    described = run.to_dict()
    described["tags"].append("b")
    assert run.tags == ["a"]
    assert json.loads(json.dumps(described))["metadata"] == {
        "at": "2026-11-20T00:00:00+00:00",
        "cost": ["0.1"],
    }


@pytest.mark.parametrize(
    ("data", "payload"), [('{"a": 1}', {"a": 1}), ("[1]", [1]), ("words", "words"), (None, None)]
)
def test_the_payload_of_an_event_is_its_data_parsed(data: str | None, payload: object) -> None:
    assert AgentRunEvent("agent", "run", data=data).payload == payload
