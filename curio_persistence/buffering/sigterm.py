"""Store the queue before SIGTERM takes its effect."""

from __future__ import annotations

import signal
from _thread import start_new_thread
from queue import Empty, SimpleQueue
from threading import current_thread, main_thread
from types import FrameType
from typing import Any
from weakref import ref

from curio_persistence.buffering.queue import WriteQueue, log
from curio_persistence.concurrency import forking
from curio_persistence.errors import ConfigurationError, PersistenceError

_PATIENCE = 10.0
_REPEATED_AFTER = 1.0


class Sigterm(forking.Forkable):
    """A handler in front of the previous one.

    It may have interrupted a write, with locks held and a transaction open, so it stores nothing
    itself. It has the queue take no more rows, and starts a thread that stores those that wait and
    sends the signal again. Then the other handler is called.
    """

    def __init__(self, queue: WriteQueue) -> None:
        self._queue = ref(queue)
        self.start_again()
        self._before = _installed_before()
        signal.signal(signal.SIGTERM, self._handle)
        forking.follow(self)

    def start_again(self) -> None:
        self._has_begun = self._has_ended = False
        self._arrived: SimpleQueue[None] = SimpleQueue()

    def restore(self) -> None:
        """Put the other handler back, unless yet another one was installed since.

        Only the main thread can. In any other one this handler stays, and passes signals on.
        """
        self._has_ended = True
        if self._is_installed() and current_thread() is main_thread():
            signal.signal(signal.SIGTERM, self._before)

    def _is_installed(self) -> bool:
        return signal.getsignal(signal.SIGTERM) == self._handle

    def _handle(self, number: int, frame: FrameType | None) -> None:
        queue = self._queue()
        if queue is None or self._has_ended:
            self._arrived.put(None)
            self._pass_on(number, frame)
        elif not self._has_begun:
            self._has_begun = True
            queue.store_directly()
            try:
                # Not a `Thread`, whose locks the interrupted code may hold.
                start_new_thread(self._store_and_repeat, (queue,))
            except RuntimeError:  # There are too many threads, or the interpreter is ending.
                self._store(queue)
                self._pass_on(number, frame)

    def _store_and_repeat(self, queue: WriteQueue) -> None:
        self._store(queue)
        _send_to_main_thread()
        # Again, because a signal that comes just before a system call does not end that call.
        while not self._has_arrived() and self._is_installed():
            _send_to_main_thread()

    def _store(self, queue: WriteQueue) -> None:
        try:
            queue.flush(_PATIENCE)
        except PersistenceError as error:
            log("What is queued cannot be stored: %s", error)
        if queue.pending:
            log("SIGTERM takes its effect, and %d records still wait.", queue.pending)
        self._has_ended = True

    def _has_arrived(self) -> bool:
        try:
            self._arrived.get(timeout=_REPEATED_AFTER)
        except Empty:
            return False
        return True

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if callable(self._before):
            self._before(number, frame)
        elif self._before == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)


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
    """Send SIGTERM to the thread in which Python handles signals; it may be asleep."""
    if hasattr(signal, "pthread_kill"):
        ident = main_thread().ident
        assert ident is not None
        signal.pthread_kill(ident, signal.SIGTERM)
    else:
        signal.raise_signal(signal.SIGTERM)
