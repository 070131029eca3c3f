"""A small history with every kind of record, with fixed texts and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence

BEGIN = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
LONG = "Compare three vector databases for the search team and write a page that recommends one"
EVIL = "\x1b[31mred\x1b[0m\x07 \x9b2J and\r\nmore\u202e"
"""Control characters that would colour, ring, clear the screen and reverse the writing."""

EVENTS = (
    ("run_started", {"objective": LONG}),
    ("tool_call", {"tool_name": "search", "args": {"q": "日本"}, "latency_ms": 120.5}),
    ("tool_call", {"tool_name": "calculator", "latency_ms": 0.25, "error": "overflow"}),
    ("note", EVIL),
    ("run_completed", None),
)


def record(persistence: Persistence) -> None:
    """Record five runs, `run-40` to `run-44`, ten minutes apart."""
    _run(persistence, 0, "researcher", "completed", LONG, 65.2, iterations=3)
    _run(
        persistence,
        1,
        "planner",
        "error",
        "Book a room",
        0.85,
        iterations=1,
        error="ValueError: no calendar",
    )
    _run(persistence, 2, "researcher", "completed", "東京の天気を要約する", 7300, iterations=12)
    _run(persistence, 3, "researcher", "running", EVIL, None)
    _run(persistence, 4, "planner", "cancelled", "", 12)
    for index, (event_type, data) in enumerate(EVENTS):
        when = BEGIN + timedelta(milliseconds=1500 * index)
        persistence.log_agent_run_event(
            AgentRunEvent("researcher", "run-40", "", when, event_type, data)
        )
    _call(persistence, "acme-large", 1200, 300, 812, Decimal("0.0081"))
    _call(persistence, "acme-large", 900, 250, 640, Decimal("0.000000000005"))
    _call(persistence, "acme-small", 12_000, 50, 120, None, status="error")


def _run(
    persistence: Persistence,
    number: int,
    agent: str,
    status: str,
    objective: str,
    seconds: float | None,
    *,
    iterations: int = 0,
    error: str | None = None,
) -> None:
    begin = BEGIN + timedelta(minutes=10 * number)
    persistence.create_agent_run(
        AgentRun(
            agent,
            f"run-{40 + number}",
            objective=objective,
            started_at=begin,
            finished_at=None if seconds is None else begin + timedelta(seconds=seconds),
            total_iterations=iterations,
            final_synthesis_output=f"First line\nsecond line {EVIL}" if number == 0 else None,
            status=status,
            error_message=error,
            created_at=begin,
        )
    )


def _call(
    persistence: Persistence,
    model: str,
    input_tokens: int,
    output_tokens: int,
    latency_ms: int,
    cost_usd: Decimal | None,
    status: str = "success",
) -> None:
    persistence.log_llm_usage(
        AgentLLMUsage(
            "researcher",
            "run-40",
            "acme",
            model,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            latency_ms=latency_ms,
            status=status,
            created_at=BEGIN,
            cost_usd=cost_usd,
        )
    )
