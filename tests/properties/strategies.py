"""Strategies for the values of records, with unusual values more often than in practice."""

from __future__ import annotations

from dataclasses import fields as dataclass_fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)

any_character = st.sampled_from("\0\ufdd0\ud800\udfff0df'\"\\%🙂é\r\n") | st.characters(
    exclude_categories=()
)
any_text = st.text(any_character, max_size=12) | st.text("\0ab", max_size=3)
a_name = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
an_id = a_name.filter(bool)
an_integer = st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1)
a_count = st.integers(0, 3) | st.integers(0, 2**63 - 1)
a_time = st.datetimes(timezones=st.just(UTC))
a_level = st.sampled_from(["debug", "info", "warning", "error", "critical", "my own"])
a_cost = st.integers(0, 10**18).map(lambda n: Decimal(n).scaleb(-12))

json_values: SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=8,
).filter(lambda value: value is not None and not isinstance(value, str))


def maybe(strategy: SearchStrategy[Any]) -> SearchStrategy[Any]:
    return st.none() | strategy


def whole(model: type[Any], /, **fields: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """Records with a value for each field, except for ids."""
    missing = {field.name for field in dataclass_fields(model)} - {*fields, "id", "event_id"}
    assert not missing, f"{model.__name__} has fields that are not tried: {missing}"
    return st.builds(model, **fields)


# Records in the form in which they are returned: times in UTC, JSON as text, no empty optional id.

stored_runs = whole(
    AgentRun,
    agent_id=an_id,
    run_id=an_id,
    agent_name=a_name,
    objective=any_text,
    additional_context=maybe(any_text),
    started_at=maybe(a_time),
    finished_at=maybe(a_time),
    total_iterations=an_integer,
    final_synthesis_output=maybe(any_text),
    execution_history=maybe(any_text),
    status=an_id,
    error_message=maybe(any_text),
    metadata=maybe(any_text),
    created_at=a_time,
    updated_at=a_time,
    session_id=maybe(an_id),
    parent_run_id=maybe(an_id),
    user_id=maybe(an_id),
    tags=maybe(st.lists(an_id, min_size=1, max_size=3, unique=True)),
    metrics=maybe(any_text),
)
stored_events = whole(
    AgentRunEvent,
    agent_id=an_id,
    run_id=an_id,
    agent_name=a_name,
    timestamp=a_time,
    event_type=a_name,
    data=maybe(any_text),
    created_at=a_time,
    session_id=maybe(an_id),
    level=a_level,
    message=maybe(any_text),
    trace_id=maybe(an_id),
    span_id=maybe(an_id),
    parent_span_id=maybe(an_id),
    contract_id=maybe(an_id),
    contract_version=maybe(an_id),
    artifact_uri=maybe(any_text),
    metadata=maybe(any_text),
    chain_position=st.none(),
    content_hash=maybe(an_id),
    prev_hash=maybe(an_id),
    hash=maybe(an_id),
    seq=st.none(),
)
stored_usage = whole(
    AgentLLMUsage,
    agent_id=an_id,
    run_id=maybe(an_id),
    provider=a_name,
    model=a_name,
    prompt=any_text,
    prompt_length=an_integer,
    input_params=maybe(any_text),
    input_tokens=maybe(a_count),
    output_tokens=maybe(a_count),
    response_content=maybe(any_text),
    response_length=maybe(an_integer),
    usage_metrics=maybe(any_text),
    status=an_id,
    error_message=maybe(any_text),
    latency_ms=maybe(a_count),
    created_at=a_time,
    span_id=maybe(an_id),
    cache_read_tokens=maybe(a_count),
    cache_write_tokens=maybe(a_count),
    reasoning_tokens=maybe(a_count),
    cost_usd=maybe(a_cost),
    trace_id=maybe(an_id),
    parent_span_id=maybe(an_id),
    price_version=maybe(an_id),
)

# Records as agents pass them: of few runs, at few times, so that they collide.

few_agents = st.sampled_from(["a", "b"])
few_runs = st.sampled_from(["r", "s", "t"])
few_statuses = st.sampled_from(["pending", "running", "completed", "error", "my own"])
few_types = st.sampled_from(["", "custom", "tool_call", "action_execution_completed"])
few_times = maybe(st.integers(-2, 2).map(lambda n: NOON + timedelta(seconds=n)))
a_payload = maybe(any_text | json_values)
a_tool_payload = st.fixed_dictionaries(
    {},
    optional={
        "tool_name": st.sampled_from(["search", "", None, 5, "a\0"]),
        "action": st.just("search"),
        "latency_ms": an_integer | st.floats() | any_text,
        "duration_ms": st.floats(0, 1000),
        "error": st.sampled_from([None, "", "it broke", False, [1]]),
    },
)

new_runs = st.builds(
    AgentRun,
    agent_id=few_agents,
    run_id=few_runs,
    objective=any_text,
    started_at=few_times,
    total_iterations=an_integer,
    execution_history=a_payload,
    status=few_statuses,
    metadata=a_payload,
    created_at=few_times,
    session_id=maybe(few_runs),
    parent_run_id=maybe(few_runs),
)
new_events = st.builds(
    AgentRunEvent,
    agent_id=few_agents,
    run_id=few_runs,
    timestamp=few_times,
    event_type=few_types,
    data=a_tool_payload | a_payload,
    created_at=few_times,
)
new_usage = st.builds(
    AgentLLMUsage,
    agent_id=few_agents,
    run_id=maybe(few_runs),
    model=st.sampled_from(["", "m", "é"]),
    prompt=any_text,
    input_tokens=maybe(a_count),
    output_tokens=maybe(a_count),
    usage_metrics=maybe(st.fixed_dictionaries({"cost_usd": st.floats() | an_integer})),
    status=st.sampled_from(["success", "error"]),
    latency_ms=maybe(a_count | st.floats(-0.5, 1000)),
    created_at=few_times,
    cost_usd=maybe(a_cost | st.floats(0, 1)),
)

no_id = st.sampled_from([None, "", "\0", "x" * 256, 5, "\ud800"])
bad_runs = st.builds(AgentRun, agent_id=no_id, run_id=few_runs)
bad_events = st.builds(AgentRunEvent, agent_id=few_agents, run_id=no_id)
bad_usage = st.builds(AgentLLMUsage, agent_id=few_agents, run_id=few_runs, status=no_id)
