"""Ctrl-C ends a command at once, or lets it take away first what it has not finished."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from curio_persistence.cli.exit_codes import INTERRUPTED
from curio_persistence.cli.terminal.output import wipe

_TIDYING_SECONDS = 5.0
_seconds_to_tidy = 0.0
"""The time that the current block has after Ctrl-C; 0 outside such a block."""


@contextmanager
def tidied_when_interrupted(seconds: float = _TIDYING_SECONDS) -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt in the block, and wait for its end some seconds.

    A second Ctrl-C ends the process at once.
    """
    global _seconds_to_tidy
    _seconds_to_tidy = seconds
    try:
        yield
    finally:
        _seconds_to_tidy = 0.0


def leave_when_interrupted() -> None:
    """End the process on Ctrl-C, even while it waits in a database driver.

    Python would raise KeyboardInterrupt only when the driver returns, which for a server that does
    not answer may take long. Ending is safe: what is not committed is undone by the database.
    """
    import signal
    from threading import Thread

    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or not hasattr(signal, "sigwait"):
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    Thread(target=_leave, name="curio-interrupt", daemon=True).start()


def _leave() -> None:
    import signal
    import time
    from _thread import interrupt_main

    signal.sigwait({signal.SIGINT})
    wipe()
    if seconds := _seconds_to_tidy:
        interrupt_main()
        if hasattr(signal, "sigtimedwait"):
            signal.sigtimedwait({signal.SIGINT}, seconds)
        else:  # macOS
            time.sleep(seconds)
    os._exit(INTERRUPTED)
