"""A bounded queue of rows, and the thread that stores them.

An interrupt (Ctrl-C) can end a caller after any step. So callers hold the lock only in `with`
blocks that keep the queue consistent at every step, and wait on a `SimpleQueue` of their own:
Condition, Event and Future run Python code with an inner lock held, and may never give it back.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from itertools import islice
from queue import Empty, SimpleQueue
from threading import RLock, Thread, current_thread
from typing import Literal, NamedTuple

from curio_persistence.buffering import at_exit
from curio_persistence.buffering.storing import PASSING, STANDING, Entry, Kinds, store_entries
from curio_persistence.concurrency import forking
from curio_persistence.concurrency.time_limit import within_limit
from curio_persistence.errors import BusyError, PersistenceError
from curio_persistence.store.base import Store
from curio_persistence.store.table import Row

Overflow = Literal["block", "drop"]
"""The treatment of a record without room: its caller waits, or the record is dropped."""

_CHUNK = 1_024
"""Rows that are stored in one transaction."""
_CHUNK_BYTES = 8 << 20
_MOMENT = 1e-5
"""Seconds for which a caller lets go of the interpreter's lock; the system makes 60 µs of it."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two attempts to store what cannot be stored now."""
_GRACE = 1.0
"""Seconds for which a patient caller waits in the end for an attempt that has begun before."""
_FOREVER = 1e6
_IDLE = 0.5
"""Seconds without rows after which there is time for other work."""


class Waiter(NamedTuple):
    """A caller that waits until row `number` is settled, or until an attempt to store it fails.

    Before `deadline`, failures that may pass are not reported to it.
    """

    number: int
    deadline: float
    answer: SimpleQueue[Exception | None]


class WriteQueue(forking.Forkable):
    """Rows that wait to be stored, in order of arrival.

    `kinds` tells how the rows of each kind are stored. `when_idle` does a part of other work while
    no rows come, and returns whether more is left. At most `max_items` rows and `max_bytes` wait,
    none of them longer than `max_seconds`, or else until the database can store them. The thread
    starts with the first row. It ends with `close()`, or after `abandon()` with the last row.
    """

    def __init__(
        self,
        store: Store,
        kinds: Kinds,
        *,
        max_items: int,
        max_bytes: int,
        max_seconds: float,
        overflow: Overflow,
        when_idle: Callable[[], bool],
    ) -> None:
        self._store = store
        self._kinds = kinds
        self._when_idle = when_idle
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._overflow = overflow
        self._enough = min(_CHUNK, max(max_items // 2, 1))
        self._enough_bytes = max_bytes // 2
        self._direct = False
        self.start_again()
        forking.follow(self)
        at_exit.follow(self)

    def start_again(self) -> None:
        """Begin empty, as in a forked child, which has no writer."""
        # Reentrant: a garbage collection inside a call may run a finalizer that calls again.
        self._lock = RLock()
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        # Rows are numbered: of those queued so far, these are stored or dropped.
        self._added = self._settled = 0
        self._dropped: dict[str, int] = {}
        self._writer: Thread | None = None
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._wake_at = 1
        self._waiters: list[Waiter] = []
        self._failure: Exception | None = None
        # Whether callers get the failure, instead of adding to rows that cannot be stored.
        self._stands = False
        self._pause = 0.0
        self._due = 0.0
        # When the writer stops trying; None while rows may come.
        self._ends_at: float | None = None

    @property
    def pending(self) -> int:
        """The number of waiting rows."""
        return self._added - self._settled

    @property
    def dropped(self) -> dict[str, int]:
        """The number of rows that are not stored and never will be, by reason."""
        with self._lock:
            return dict(self._dropped)

    # --- callers ------------------------------------------------------------------------------

    def put(self, kind: Hashable, rows: Sequence[Row]) -> bool:
        """Queue rows that are stored all or none; return False if the caller has to store them."""
        if (known := self._kinds.get(kind)) is None:
            return False
        count, size = len(rows), known.size_of(rows)
        while True:
            with self._lock:
                before = self._bytes
                added, after = self._added + count, before + size
                waiting = added - self._settled
                if waiting <= self._max_items and after <= self._max_bytes and self._is_taking():
                    # The entry comes last, because an interrupt comes after a call.
                    self._added, self._bytes = added, after
                    self._entries.append((known, rows, size))
                    wakes = added >= self._wake_at or before < self._enough_bytes <= after
                    if wakes:
                        self._wake.put(None)
                        self._wake_at = added + _CHUNK
                    break
            if (is_settled := self._settle_without_room(count, size)) is not None:
                return is_settled
        if wakes and waiting >= self._enough:
            # Beside a caller that computes, the writer would get the interpreter's lock only after
            # the switch interval, 5 ms. At each row instead, this would cost a caller 100 µs, and
            # store no more rows in the same time.
            time.sleep(_MOMENT)
        return True

    def _is_taking(self) -> bool:
        """Return whether rows are queued at all, and a writer is running."""
        return not (self._direct or self._stands) and (self._writer is not None or self._start())

    def _settle_without_room(self, count: int, size: int) -> bool | None:
        """Return what `put` returns for rows that have no room; None to try again."""
        is_large = count > self._max_items // 2 + 1 or size > self._enough_bytes
        if is_large or self._direct or self._stands or self._writer is None:
            return False
        if self._overflow == "drop" or self._writer is current_thread():
            self._drop(count, "overflow", "The queue is full.")
            return True
        self._wait_for_room()
        return None

    def _wait_for_room(self) -> None:
        """Wait until half of what is queued now is stored: a single slot would be gone at once."""
        advice = "As much is queued as may be."
        # While nothing can be stored, the caller gets the error, as without a queue.
        if (failure := self._failure) is not None:
            raise _with_advice(failure, advice) from failure
        if not self._wait((self._added + self._settled + 1) // 2, advice):
            raise BusyError(f"{self._store.location} does not take what is queued. {advice}")

    def flush(self, patience: float | None = None) -> bool:
        """Wait until all that is queued now is stored; the rows stay queued in any case.

        Raises the error that stops the writer. With `patience`, in seconds, failures that may pass
        are raised only after it; return False if an attempt then takes even longer.
        """
        with self._lock:  # Wait for a caller that is just adding rows.
            number = self._added
        return self._wait(number, "What is queued is kept, and tried again.", patience)

    def store_directly(self) -> None:
        """Take no more rows, so that callers store them. Takes no lock: a signal handler calls."""
        self._direct = True

    def close(self, patience: float) -> None:
        """Store what waits, with retries for `patience` seconds, and end the thread.

        Then the rest is dropped, and the error that stopped the writer is raised.
        """
        with self._lock:
            self._direct = True
            self._ends_at = time.monotonic() + patience
            number, writer = self._added, self._writer
        self._wake.put(None)
        if not self._wait(number, "What was queued is lost.", patience):
            self._drop(self.pending, "exit", "The database did not answer.")
        elif writer is not None and writer is not current_thread():
            writer.join()

    def abandon(self) -> None:
        """Let the thread end with the last row. Takes no lock: a finalizer calls."""
        if self._ends_at is None:
            self._ends_at = float("inf")
        self._wake.put(None)

    def _wait(self, number: int, advice: str, patience: float | None = None) -> bool:
        """Wait until row `number` is settled; return False if it was not in time."""
        waiter = Waiter(number, time.monotonic() + (patience or 0), SimpleQueue())
        timeout = within_limit(_FOREVER if patience is None else patience + _GRACE)
        with self._lock:
            # A call from the writer itself, in a log handler, cannot wait for the writer.
            if self._settled >= number or self._writer is current_thread():
                return True
            if self._writer is None and not self._start():
                return False
            self._waiters.append(waiter)
        self._wake.put(None)
        try:
            error = waiter.answer.get(timeout=timeout)
        except Empty:
            return False
        if error is not None:
            raise _with_advice(error, advice) from error
        return True

    # --- the writer ---------------------------------------------------------------------------

    def _start(self) -> bool:
        """Start the writer; return False if no thread can be started."""
        at_exit.register()
        with self._lock, suppress(RuntimeError):  # Too many threads, or Python is ending.
            if self._writer is None:
                thread = Thread(target=self._write, name="curio-write-behind", daemon=True)
                thread.start()
                self._writer = thread
        return self._writer is not None

    def _write(self) -> None:
        """Store what is queued, until nothing more can come."""
        with self._lock:
            # After an interrupt in `start()` there may be several threads: the first one writes.
            if self._writer not in (None, current_thread()):
                return
            self._writer = current_thread()
        self._due = time.monotonic() + self._max_seconds
        try:
            while self._wait_for_work():
                self._attempt()
        finally:
            self._writer = None

    def _wait_for_work(self) -> bool:
        """Return True when it is time to store something, False when nothing more can come."""
        if self._failure is not None:
            self._sleep(self._pause)
        else:
            self._wait_for_rows()
            self._wait_for_enough()
        return bool(self._entries) or self._ends_at is None

    def _wait_for_rows(self) -> None:
        """Return when something is queued. Do other work in the meantime."""
        timeout: float | None = _IDLE
        while not self._is_called(rows=1):
            if not self._sleep(timeout):
                timeout = 0 if self._did_idle_work() else None
            self._due = time.monotonic() + self._max_seconds

    def _wait_for_enough(self) -> None:
        """Return when rows have waited long enough, or are many."""
        while not self._is_called(rows=self._enough):
            seconds = self._due - time.monotonic()
            if seconds <= 0:
                return
            self._sleep(seconds)

    def _is_called(self, rows: int) -> bool:
        """True if so many rows, or a caller, wait. Else the writer is woken as soon as they do."""
        with self._lock:
            self._wake_at = self._settled + rows
            return (
                self._added >= self._wake_at
                or self._bytes >= self._enough_bytes
                or bool(self._waiters)
                or self._ends_at is not None
            )

    def _sleep(self, seconds: float | None) -> bool:
        """Wait to be woken; return False if nothing woke the writer in time."""
        try:
            self._wake.get(timeout=seconds)
        except Empty:
            return False
        return True

    def _did_idle_work(self) -> bool:
        """Do a part of the idle work; return True if more is left."""
        try:
            return self._when_idle()
        except PersistenceError as error:
            log("Work in an idle moment failed: %s", error)
            return False

    def _attempt(self) -> None:
        """Store what is queued now, and answer the callers that wait for it."""
        self._due = time.monotonic() + self._max_seconds  # Reset for rows that come meanwhile.
        last = self._added
        try:
            while self._settled < last:
                for count, error in store_entries(self._store, self._next_entries()):
                    if error is not None:
                        why = f"{self._store.location} does not take them."
                        self._drop(len(self._entries[0][1]), type(error).__name__, why)
                    self._settle(count)
                self._answer(lambda waiter: waiter.number <= self._settled)
        except Exception as error:
            self._fail(error)
        else:
            self._failure, self._stands, self._pause = None, False, 0.0

    def _next_entries(self) -> list[Entry]:
        """Return the first entries, as many as one transaction stores. They stay queued."""
        taken: list[Entry] = []
        rows = size = 0
        with self._lock:
            for entry in islice(self._entries, _CHUNK):
                rows, size = rows + len(entry[1]), size + entry[2]
                if taken and (rows > _CHUNK or size > _CHUNK_BYTES):
                    break
                taken.append(entry)
        return taken

    def _settle(self, count: int) -> None:
        """Remove the first entries, which are stored or dropped."""
        with self._lock:
            for _ in range(count):
                _, rows, size = self._entries.popleft()
                self._settled += len(rows)
                self._bytes -= size

    def _answer(self, is_due: Callable[[Waiter], bool], error: Exception | None = None) -> None:
        with self._lock:
            due = [waiter for waiter in self._waiters if is_due(waiter)]
            self._waiters = [waiter for waiter in self._waiters if not is_due(waiter)]
        for waiter in due:
            waiter.answer.put(error)

    def _fail(self, error: Exception) -> None:
        """Report the failure to callers whose patience has ended; give up if the queue's has."""
        if self._failure is None:
            log("Nothing can be stored now, and is tried again: %s", error)
        self._failure = error
        self._stands = isinstance(error, STANDING) and self._overflow == "block"
        self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        # Callers do not wait longer for a failure that does not pass.
        now = time.monotonic() if isinstance(error, PASSING) else float("inf")
        gives_up = self._ends_at is not None and self._ends_at <= now
        if gives_up:
            self._drop(self.pending, type(error).__name__, str(error))
            self._settle(len(self._entries))
        self._answer(lambda waiter: gives_up or waiter.deadline <= now, error)

    def _drop(self, count: int, reason: str, why: str) -> None:
        """Count rows that are dropped, and log the first time for each reason."""
        with self._lock:
            is_first = reason not in self._dropped
            self._dropped[reason] = self._dropped.get(reason, 0) + count
        if is_first:
            log("Records are dropped (%s): %s Logged once; `dropped` counts.", reason, why)


def log(message: str, *values: object) -> None:
    """Write an error to the library's log."""
    import logging  # Imported here: the import is slow and seldom needed.

    with suppress(Exception):  # An error of a log handler must not end the writer.
        logging.getLogger("curio_persistence").error(message, *values)


def _with_advice(error: Exception, advice: str) -> Exception:
    """Return a copy of an error for one waiter, made without its constructor, as these differ."""
    alike = type(error).__new__(type(error))
    alike.__dict__.update(vars(error))
    alike.args = (f"{error} {advice}",)
    return alike
