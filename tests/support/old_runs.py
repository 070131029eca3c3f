"""Runs of which some finished long ago, for tests of retention."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence


def fill_with_old_runs(persistence: Persistence, *, old: int, new: int, events: int) -> None:
    """Store runs `old-0`, a day apart from 100 days ago on, and `new-0` and so on of yesterday."""
    now = datetime.now(UTC)
    ends = {f"old-{n}": now - timedelta(days=100 + n) for n in range(old)}
    ends |= {f"new-{n}": now - timedelta(days=1) for n in range(new)}
    persistence.create_agent_runs(
        AgentRun("agent", name, status="completed", created_at=end, finished_at=end)
        for name, end in ends.items()
    )
    persistence.log_agent_run_events(
        AgentRunEvent("agent", name, event_type="log", timestamp=end, data=f"{name} event {number}")
        for name, end in ends.items()
        for number in range(events)
    )
    persistence.log_llm_usages(
        AgentLLMUsage(
            "agent", name, model="m", input_tokens=7, cost_usd=Decimal("0.25"), created_at=end
        )
        for name, end in ends.items()
    )
