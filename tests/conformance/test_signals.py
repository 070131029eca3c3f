"""A signal handler may record what it sees, whatever it interrupts."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType

import pytest

from curio_persistence import AgentRunEvent, Persistence


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows sends no such signals")
def test_a_handler_writes_and_reads_in_the_middle_of_writes_and_reads(
    persistence: Persistence,
) -> None:
    handled = sent = 0
    done = threading.Event()
    myself = threading.get_ident()

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal handled
        persistence.log_agent_run_event(AgentRunEvent("agent", "signals", event_type="signal"))
        persistence.get_agent_runs(limit=1)
        handled += 1

    def interrupt() -> None:
        nonlocal sent
        while not done.wait(0.003):
            if handled == sent:  # One at a time, or a slow handler would interrupt itself.
                sent += 1
                signal.pthread_kill(myself, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handle)
    sender = threading.Thread(target=interrupt)
    sender.start()
    try:
        written, end = 0, time.monotonic() + 0.5
        while time.monotonic() < end:
            persistence.log_agent_run_event(AgentRunEvent("agent", "loop", event_type="step"))
            persistence.get_agent_runs(limit=1)
            written += 1
    finally:
        done.set()
        sender.join()
        signal.signal(signal.SIGUSR1, before)
    assert len(persistence.get_agent_run_events("loop")) == written > 0
    assert len(persistence.get_agent_run_events("signals")) == handled > 0
