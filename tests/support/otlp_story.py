"""Runs with everything that an export by OTLP tells, the same on every day."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from typing import Any

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    AgentSpan,
    Persistence,
)
from curio_persistence.interop.otel.decoding import decode_traces
from curio_persistence.interop.otel.spans import OtelSpan
from curio_persistence.trace_ids import span_id_of, trace_id_of
from tests.support.web_server import Received

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
EDITOR = "019aa0d8-8000-7000-8000-0000000000e1"
WRITER = "019aa0d8-8000-7000-8000-0000000000e2"
OLD_RUN = "run of 2024"
"""A run whose id is no UUID, with records that have no ids of spans."""

CONVERSATION = [
    {"role": "system", "content": "You are an editor."},
    {"role": "user", "content": "Write about cats."},
]
ASKED = [
    *CONVERSATION,
    {
        "role": "assistant",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "search", "arguments": '{"query": "cats"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": '{"hits": 3}'},
]


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def tell(persistence: Persistence, noon: datetime = NOON) -> None:
    """Store an editor, which asks a model twice, uses a tool, and starts a writer that fails."""
    later = noon - NOON
    run(persistence, EDITOR, "editor", 0, 10, later, agent_name="Editor", tags=["night"])
    run(persistence, WRITER, "writer", 5, 8, later, parent=EDITOR, error="ValueError: no paper")
    tool(persistence, EDITOR, "search", 3, later, {"query": "cats"}, result={"hits": 3})
    tool(persistence, WRITER, "write", 7, later, {"lines": 2}, error="ValueError: no paper")
    call(persistence, EDITOR, 2, later, CONVERSATION, "I will search.", cost_usd=0.0125)
    call(persistence, EDITOR, 9, later, ASKED, "Cats are small.", cost_usd=0.0031)
    call(persistence, WRITER, 6, later, "Two lines about cats", "Cats.", cost_usd=None)


def tell_an_old_one(persistence: Persistence) -> None:
    """Store a run of long ago, its records without ids of spans."""
    long_ago = -timedelta(days=700)
    unknown = {"session_id": None, "user_id": None, "metadata": None}
    run(persistence, OLD_RUN, "old-agent", 0, 4, long_ago, **unknown)
    data = {"tool_name": "look_up", "args": {"word": "cat"}, "result": "Katze", "latency_ms": 500}
    persistence.log_agent_run_event(
        AgentRunEvent("old-agent", OLD_RUN, "", at(1) + long_ago, "tool_call", data)
    )
    persistence.log_llm_usage(
        AgentLLMUsage(
            "old-agent",
            OLD_RUN,
            model="acme-1",
            prompt="Translate cat",
            response_content="Katze",
            input_tokens=12,
            output_tokens=3,
            created_at=at(3) + long_ago,
        )
    )


def run(
    persistence: Persistence,
    run_id: str,
    agent_id: str,
    begin: float,
    end: float | None,
    later: timedelta = timedelta(0),
    *,
    parent: str | None = None,
    error: str | None = None,
    **fields: Any,
) -> None:
    """Store a run that has ended, or still runs."""
    ended = "completed" if error is None else "error"
    about: dict[str, Any] = {"session_id": "session-7", "user_id": "ann"}
    about |= {"metadata": {"plan": "pro"}, "objective": "Write about cats."}
    persistence.create_agent_run(
        AgentRun(
            agent_id,
            run_id,
            started_at=at(begin) + later,
            finished_at=None if end is None else at(end) + later,
            created_at=at(begin) + later,
            status="running" if end is None else ended,
            final_synthesis_output=None if error or end is None else "Cats are small.",
            error_message=error,
            parent_run_id=parent,
            **about | fields,
        )
    )


def tool(
    persistence: Persistence,
    run_id: str,
    name: str,
    end: float,
    later: timedelta,
    args: Any,
    *,
    result: Any = None,
    error: str | None = None,
) -> None:
    """Store a tool call of a second."""
    data = {"tool_name": name, "args": args, "result": result, "error": error, "latency_ms": 1000}
    persistence.log_agent_run_event(
        AgentRunEvent(
            "editor",
            run_id,
            "",
            at(end) + later,
            "tool_call",
            {key: value for key, value in data.items() if value is not None},
            span_id=span_id_of(f"{run_id} {name}"),
            parent_span_id=span_id_of(run_id),
            trace_id=trace_id_of(EDITOR),
        )
    )


def call(
    persistence: Persistence,
    run_id: str,
    end: float,
    later: timedelta,
    prompt: Any,
    answer: str,
    *,
    cost_usd: float | None,
) -> None:
    """Store a model call of a second, with tokens that were cached and of reasoning."""
    import json

    persistence.log_llm_usage(
        AgentLLMUsage(
            "editor",
            run_id,
            # One that nobody has a price of, where the cost is not known.
            provider="acme" if cost_usd is None else "openai",
            model="acme-large" if cost_usd is None else "gpt-5-mini",
            prompt=prompt if isinstance(prompt, str) else json.dumps(prompt),
            response_content=answer,
            input_params={"temperature": 0.5, "max_completion_tokens": 200},
            input_tokens=1200,
            output_tokens=80,
            cache_read_tokens=1000,
            cache_write_tokens=100,
            reasoning_tokens=20,
            cost_usd=cost_usd,  # type: ignore[arg-type]  # The column takes any number.
            latency_ms=1000,
            usage_metrics={"finish_reason": "stop", "response_id": f"resp-{run_id}-{end}"},
            created_at=at(end) + later,
            span_id=span_id_of(f"{run_id} call {end}"),
            parent_span_id=span_id_of(run_id),
            trace_id=trace_id_of(EDITOR),
        )
    )


def saved(persistence: Persistence, trace_id: str, span_id: str, **fields: Any) -> None:
    """Save a span of a second."""
    times = {"started_at": at(20), "ended_at": at(21)}
    persistence.traces.save_span(AgentSpan(trace_id, span_id, **{**times, **fields}))


def spans_in(request: Received) -> tuple[OtelSpan, ...]:
    """Return the spans that a request brought."""
    body = gzip.decompress(request.body)
    return tuple(decode_traces(body, request.headers["Content-Type"]).spans)
