"""A signal handler may record what it sees, whatever it interrupts."""

from __future__ import annotations

import signal
import time
from types import FrameType

import pytest

from curio_persistence import AgentRunEvent, Persistence


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers on Windows")
def test_a_handler_writes_and_reads_in_the_middle_of_writes_and_reads(
    persistence: Persistence,
) -> None:
    handled = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal handled
        persistence.log_agent_run_event(AgentRunEvent("agent", "signals", event_type="signal"))
        persistence.get_agent_runs(limit=1)
        handled += 1
        signal.setitimer(signal.ITIMER_REAL, 0.003)  # Only now, or it might interrupt itself.

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.003)
    try:
        written, end = 0, time.monotonic() + 0.5
        while time.monotonic() < end:
            persistence.log_agent_run_event(AgentRunEvent("agent", "loop", event_type="step"))
            persistence.get_agent_runs(limit=1)
            written += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(persistence.get_agent_run_events("loop")) == written > 0
    assert len(persistence.get_agent_run_events("signals")) == handled > 0
