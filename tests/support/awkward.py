"""A history with everything that is easily lost on the way to a file and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence, RunHash

BEGIN = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
TEXTS = (
    "",
    "two\r\nlines, a \"quoted\" 'word'\tand a \\",
    "日本 \U0001f600 é",
    "\0 \ud83d\ude00 alone \ud800 \ufdd0 \ufdd0000a",
    "\ufdd0",
    "NULL",
    '{"a": 1.50, "a": [null, 1e400]}',
    " ",
    "\u2028\x85\x1b[31m",
)


def write(persistence: Persistence) -> None:
    """Write two runs with events and model calls, some of them equal, and calls without a run."""
    run = AgentRun(
        "agent",
        "full",
        "An agent",
        objective=TEXTS[3],
        additional_context=TEXTS[0],
        started_at=BEGIN,
        finished_at=datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
        total_iterations=2**62,
        final_synthesis_output=TEXTS[1],
        status="completed",
        error_message="",
        metadata={"a": [1, {"b": None}]},
        created_at=BEGIN,
        updated_at=BEGIN + timedelta(microseconds=1),
        session_id="session",
        parent_run_id="empty",
        tags=["a,b", 'c"d', "é"],
        metrics={"m": 1.5},
    )
    persistence.create_agent_run(run)
    persistence.create_agent_run(AgentRun("agent", "empty", created_at=BEGIN))
    persistence.log_agent_run_events(_event(number) for number in range(2 * len(TEXTS)))
    for number, text in enumerate(TEXTS):
        when = BEGIN + timedelta(seconds=number // 3)
        persistence.log_llm_usage(
            AgentLLMUsage(
                "agent" if number % 2 else None,
                "full" if number % 3 else None,
                model="model",
                prompt=text,
                response_content=text or None,
                input_tokens=number,
                cost_usd=Decimal("0.000000000001") * number if number else None,
                created_at=when,
            )
        )


def _event(number: int) -> AgentRunEvent:
    """Return an event; each one without an event_id has a twin that differs only in its id."""
    text = TEXTS[number // 2]
    return AgentRunEvent(
        "agent",
        "full",
        timestamp=BEGIN + timedelta(microseconds=number // 4),
        event_type="metric" if number < 2 else "note",
        data={"name": "m", "value": 2.5} if number < 2 else text,
        created_at=BEGIN,
        event_id=f"event-{number}" if number >= 14 else None,
        level="error" if number % 4 < 2 else "info",
        message=text,
        metadata=text or None,
    )


def hashes(persistence: Persistence) -> dict[str | None, RunHash]:
    """Return the hash of each run."""
    return {run.run_id: run for run in persistence.runs.hashes()}
