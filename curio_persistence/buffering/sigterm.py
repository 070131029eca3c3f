"""What waits to be stored is stored before SIGTERM takes its effect."""

from __future__ import annotations

import signal
from _thread import start_new_thread
from threading import Lock, current_thread, main_thread
from types import FrameType
from typing import Any
from weakref import ref

from curio_persistence.buffering.queue import WriteBehind, log
from curio_persistence.concurrency import forking
from curio_persistence.errors import ConfigurationError, PersistenceError

_PATIENCE = 10.0
_REPEATED_AFTER = 1.0


class Sigterm:
    """A handler in front of the one that was there.

    It may have interrupted a write, with locks held and a transaction open: so it stores nothing
    itself. A thread does, and sends the signal again, upon which the other handler is called.
    """

    def __init__(self, behind: WriteBehind) -> None:
        self._behind = ref(behind)
        self._forget()
        self._before = _installed_before()
        signal.signal(signal.SIGTERM, self._handle)
        forking.follow(self)

    def _forget(self) -> None:
        self._storing = False
        # While the signal is being sent again: to be released when it has arrived.
        self._heard: Lock | None = None

    def restore(self) -> None:
        """Put the other handler back, unless somebody has installed another one since.

        Only the main thread can; elsewhere this one stays, and passes every signal on.
        """
        if self._is_installed() and current_thread() is main_thread():
            signal.signal(signal.SIGTERM, self._before)

    def _is_installed(self) -> bool:
        return signal.getsignal(signal.SIGTERM) == self._handle

    def _handle(self, number: int, frame: FrameType | None) -> None:
        heard, self._heard = self._heard, None
        behind = self._behind()
        if heard is not None:
            heard.release()
            self._pass_on(number, frame)
        elif behind is None or not behind.pending:
            self._pass_on(number, frame)
        elif not self._storing:
            self._storing = True
            try:
                # Not a `Thread`, whose locks may be in the hands of what was interrupted.
                start_new_thread(self._store_and_repeat, (behind,))
            except RuntimeError:  # The interpreter is about to end, and stores everything.
                self._storing = False
                self._pass_on(number, frame)

    def _store_and_repeat(self, behind: WriteBehind) -> None:
        if not _flushed(behind):
            log("SIGTERM takes its effect, and %d records still wait.", behind.pending)
        heard = Lock()
        heard.acquire()
        self._heard, self._storing = heard, False
        _send_to_main_thread()
        # Again: a signal that comes just before a system call does not end that call.
        while not heard.acquire(timeout=_REPEATED_AFTER) and self._is_installed():
            _send_to_main_thread()

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if callable(self._before):
            self._before(number, frame)
        elif self._before == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)

    def before_fork(self) -> None:
        """Nothing to settle."""

    def after_fork(self, *, in_child: bool) -> None:
        if in_child:  # The thread has stayed with the parent.
            self._forget()


def _flushed(behind: WriteBehind) -> bool:
    try:
        return behind.flush(_PATIENCE)
    except PersistenceError:
        return False


def _installed_before() -> Any:
    if current_thread() is not main_thread():
        raise ConfigurationError(
            "install_sigterm=True is for the main thread: Python handles no signals elsewhere."
        )
    before = signal.getsignal(signal.SIGTERM)
    if before is None:
        raise ConfigurationError(
            "install_sigterm=True cannot pass SIGTERM on to a handler that is not Python's."
        )
    return before


def _send_to_main_thread() -> None:
    """Which is where Python handles signals; it may be asleep."""
    if hasattr(signal, "pthread_kill"):
        ident = main_thread().ident
        assert ident is not None
        signal.pthread_kill(ident, signal.SIGTERM)
    else:
        signal.raise_signal(signal.SIGTERM)
