"""A signal handler may record what it sees, whatever it interrupts."""

from __future__ import annotations

import signal
import time

import pytest

from curio_persistence import AgentRunEvent, Persistence
from tests.support.signals import interrupted


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows sends no such signals")
@pytest.mark.parametrize("buffered", [False, True], ids=["direct", "buffered"])
def test_a_handler_writes_and_reads_in_the_middle_of_writes_and_reads(
    persistence: Persistence, buffered: bool
) -> None:
    recorded = persistence.buffered(max_items=10, max_seconds=0) if buffered else persistence

    def handle() -> None:
        recorded.log_agent_run_event(AgentRunEvent("agent", "signals", event_type="signal"))
        recorded.get_agent_runs(limit=1)

    with interrupted(handle) as handled:
        written, end = 0, time.monotonic() + 0.5
        while time.monotonic() < end:
            recorded.log_agent_run_event(AgentRunEvent("agent", "loop", event_type="step"))
            recorded.get_agent_runs(limit=1)
            written += 1
    assert len(recorded.get_agent_run_events("loop")) == written > 0
    assert len(recorded.get_agent_run_events("signals")) == len(handled) > 0
