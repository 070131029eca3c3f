"""A run with many steps, two child runs and some failures, with fixed texts and times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence

BEGIN = datetime(2026, 11, 29, 8, 20, tzinfo=UTC)
LONG = "long-run"
"""The id of the run."""
PROMPT = json.dumps(
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What does `billing/m1.py` do?"},
    ]
)
ANSWER = "It **moves** money:\n\n- in\n- out"


def record_long_run(persistence: Persistence, steps: int = 1_200, run_id: str = LONG) -> None:
    """Record a run with so many model and tool calls, in turns, of which every 100th tool fails.

    Each takes a second. Every tenth step is preceded by the begin of an iteration. Near the begin
    stand two child runs with three tool calls each.
    """
    end = BEGIN + timedelta(seconds=steps)
    persistence.create_agent_run(
        AgentRun(
            "coder",
            run_id,
            objective="Migrate the billing service",
            started_at=BEGIN,
            finished_at=end,
            status="error",
            error_message="ContextWindowExceeded: 210,344 tokens",
            session_id="session-1",
            tags=["prod"],
        )
    )
    persistence.log_agent_run_events(_events(run_id, steps))
    persistence.usage.log_many(_calls(run_id, steps))
    for number in (1, 2):
        _child(persistence, run_id, f"{run_id}-{number}", BEGIN + timedelta(seconds=5 * number))


def _events(run_id: str, steps: int) -> Iterator[AgentRunEvent]:
    for number in range(0, steps, 2):
        at = BEGIN + timedelta(seconds=number + 1)
        if number % 10 == 0:
            started = {"iteration": number // 10 + 1}
            yield AgentRunEvent(
                "coder",
                run_id,
                timestamp=at - timedelta(seconds=1),
                event_type="iteration_started",
                data=started,
            )
        data = {"tool_name": "read_file", "args": {"path": f"m{number}.py"}, "latency_ms": 1000}
        if number % 100 == 98:
            data["error"] = "TimeoutError: no answer"
        yield AgentRunEvent(
            "coder", run_id, timestamp=at, event_type="tool_call", data=data | {"result": "ok"}
        )


def _calls(run_id: str, steps: int) -> Iterator[AgentLLMUsage]:
    for number in range(1, steps, 2):
        yield AgentLLMUsage(
            "coder",
            run_id,
            "anthropic",
            "claude-haiku-4.5",
            prompt=PROMPT,
            input_tokens=10_700,
            output_tokens=449,
            response_content=ANSWER,
            latency_ms=1000,
            created_at=BEGIN + timedelta(seconds=number + 1),
            cost_usd=Decimal("0.0129"),
            cache_read_tokens=8_520,
        )


def _child(persistence: Persistence, parent: str, run_id: str, begin: datetime) -> None:
    persistence.create_agent_run(
        AgentRun(
            "browser",
            run_id,
            objective="Check the checkout",
            started_at=begin,
            finished_at=begin + timedelta(seconds=3),
            status="completed",
            parent_run_id=parent,
        )
    )
    persistence.log_agent_run_events(
        AgentRunEvent(
            "browser",
            run_id,
            timestamp=begin + timedelta(seconds=number + 1),
            event_type="tool_call",
            data={"tool_name": "click", "args": {"n": number}, "latency_ms": 900},
        )
        for number in range(3)
    )
