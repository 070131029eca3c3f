"""The columns written and read by hand, and an event's values for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks.support.rows import lifted
from curio_persistence import AgentRunEvent

EVENT = "agent_id, run_id, agent_name, timestamp, event_type, data, created_at"
LIFTED = "tool_name, tool_latency_us, tool_error"
READ_PUBLISHED = "agent_id, run_id, agent_name, timestamp, event_type, data, id, created_at"
READ_EVENT = (
    "agent_id, run_id, agent_name, timestamp, event_type, data, id, created_at, event_id, "
    "session_id, level, message, trace_id, span_id, parent_span_id, contract_id, "
    "contract_version, artifact_uri, metadata"
)
READ_USAGE = (
    "agent_id, run_id, provider, model, prompt, prompt_length, input_params, input_tokens, "
    "output_tokens, response_content, response_length, usage_metrics, status, error_message, "
    "latency_ms, id, created_at, span_id, cache_read_tokens, cache_write_tokens, "
    "reasoning_tokens, cost_usd, event_id, trace_id, parent_span_id"
)
SUMS = "count(*), sum(input_tokens), sum(output_tokens), sum(cost_usd)"
RUN_SUMS = "count(*), sum(total_iterations)"
TOOL_SUMS = "count(*), sum(tool_error), count(tool_latency_us), sum(tool_latency_us)"


def event_values(event: AgentRunEvent) -> tuple[Any, ...]:
    """Return the values of EVENT, stored now."""
    event.created_at = now = datetime.now(UTC)
    return (
        event.agent_id,
        event.run_id,
        event.agent_name,
        event.timestamp.isoformat(timespec="microseconds"),  # type: ignore[union-attr]
        event.event_type,
        event.data,
        now.isoformat(timespec="microseconds"),
    )


def batch_values(events: Sequence[AgentRunEvent]) -> list[tuple[Any, ...]]:
    """Return for each event the values of EVENT and LIFTED, all stored at the same time."""
    now = datetime.now(UTC)
    stored_at = now.isoformat(timespec="microseconds")
    for event in events:
        event.created_at = now
    return [
        (
            event.agent_id,
            event.run_id,
            event.agent_name,
            event.timestamp.isoformat(timespec="microseconds"),  # type: ignore[union-attr]
            event.event_type,
            event.data,
            stored_at,
            *lifted(event),
        )
        for event in events
    ]
