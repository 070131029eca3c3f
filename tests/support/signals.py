"""Signals that come in the middle of whatever a test is doing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupted(handle: Callable[[], object]) -> Iterator[list[int]]:
    """Calls `handle` every few milliseconds in a signal handler of this thread; yields a list with
    an item for each call that has returned."""
    handled: list[int] = []
    sent = 0
    done = threading.Event()
    myself = threading.get_ident()

    def handler(number: int, frame: FrameType | None) -> None:
        handle()
        handled.append(number)

    def interrupt() -> None:
        nonlocal sent
        while not done.wait(0.003):
            if len(handled) == sent:  # One at a time, or a slow handler would interrupt itself.
                sent += 1
                signal.pthread_kill(myself, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    sender = threading.Thread(target=interrupt)
    sender.start()
    try:
        yield handled
    finally:
        done.set()
        sender.join()
        signal.signal(signal.SIGUSR1, before)
