"""Rows that wait in a queue, and the thread that stores them.

A signal handler may come between any two steps of a caller, and call again. So callers hold no lock
against each other or the writer: it would be one against themselves. A deque's operations are
atomic, and a `Lock` that anybody may release is a bell.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from threading import Lock, RLock, Thread, get_ident
from typing import Any, Literal
from weakref import WeakSet

from curio_persistence.concurrency import forking
from curio_persistence.errors import (
    ConflictError,
    InvalidValueError,
    MissingRunError,
    PersistenceError,
)
from curio_persistence.store.base import Store
from curio_persistence.store.table import Row, Table

Overflow = Literal["block", "drop"]
"""What becomes of a record for which there is no room: its caller waits, or it is left out."""

Entry = tuple[Table[Any], Row, bool]
"""A row that waits, and whether a transaction may end after it; else more of its batch follow."""

_CHUNK = 1_024
"""How many rows are stored in one transaction: two of SQLite's largest statements."""
_MOMENT = 1e-5
"""Seconds for which a caller lets go of the interpreter's lock; the system makes 60 µs of it."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
"""Seconds between two attempts to store what cannot be stored just now."""
_IDLE = 0.5
"""Seconds without anything to store after which there is time for other work."""
_FOR_EVER = -1.0
_PATIENCE_AT_EXIT = 30.0
_ABOUT_A_ROW = (ConflictError, InvalidValueError, MissingRunError)
"""What says that a row can never be stored. Other failures are the database's, and may pass."""


class NotQueued(Exception):
    """This has to be stored directly."""


class _Caller:
    """Somebody who waits for the writer."""

    __slots__ = ("_told", "error")

    def __init__(self) -> None:
        self.error: Exception | None = None
        self._told = Lock()
        self._told.acquire()

    def tell(self, error: Exception | None) -> None:
        self.error = error
        self._told.release()

    def wait(self, timeout: float) -> bool:
        return self._told.acquire(timeout=timeout)


class WriteBehind:
    """Rows on their way into a store, in the order in which they came.

    `appends` tells for each table how its rows are stored; `when_idle` does a piece of other work
    when there is nothing to store, and tells whether there is more. At most `max_items` rows wait
    (and one more for each thread that adds one in the same instant), none of them for more than
    `max_seconds`, unless the database cannot store them: then until it can. The thread starts when
    it is needed; it ends with `close()`, or after `abandon()` with the last row.
    """

    def __init__(
        self,
        store: Store,
        appends: Mapping[Table[Any], Callable[[Sequence[Row]], object]],
        *,
        max_items: int,
        max_seconds: float,
        overflow: Overflow,
        when_idle: Callable[[], bool],
    ) -> None:
        self._store = store
        self._when_idle = when_idle
        self._appends = appends
        self._max_items = max_items
        self._max_seconds = max_seconds
        self._overflow = overflow
        self._enough = min(_CHUNK, max(max_items // 2, 1))
        self._queue: deque[Entry] = deque()
        self._ended = False
        self._start_again()
        forking.follow(self)
        _known.add(self)
        _see_to_the_end()

    def _start_again(self) -> None:
        """Begin with nothing, as after a fork, which leaves the thread behind."""
        self._queue.clear()  # The same queue: a caller may have it in hand.
        self._lost: dict[str, int] = defaultdict(int)
        self._lock = RLock()
        self._flushing: deque[_Caller] = deque()
        self._blocked: deque[_Caller] = deque()
        self._bell = Lock()
        self._bell.acquire()
        self._role = Lock()
        self._writer: int | None = None
        self._leaving: Literal["", "when empty", "now"] = ""
        self._failure: Exception | None = None
        self._pause = 0.0
        self._due = 0.0
        self._until_idle = _IDLE
        # Whether the writer has to be woken.
        self._resting = True
        # From how many waiting rows on a caller has to look closer.
        self._limit = 0 if self._ended else self._enough

    @property
    def pending(self) -> int:
        """How many rows wait."""
        return len(self._queue)

    @property
    def lost(self) -> dict[str, int]:
        """How many rows are not stored and never will be, by reason."""
        with self._lock:
            return dict(self._lost)

    # --- callers ------------------------------------------------------------------------------

    def put(self, table: Table[Any], row: Row) -> None:
        """Queue a row, or raise NotQueued."""
        queue = self._queue
        if len(queue) >= self._limit and not self._make_room(1):
            return
        entry = (table, row, True)
        queue.append(entry)
        if self._resting:
            self._wake(entry)

    def put_all(self, table: Table[Any], rows: Sequence[Row]) -> None:
        """Queue rows that are to be stored all or none, or raise NotQueued."""
        if not 0 < len(rows) <= self._max_items // 2 + 1:
            raise NotQueued  # For more than that there is hardly ever room.
        if not self._make_room(len(rows)):
            return
        entries = [(table, row, False) for row in rows[:-1]]
        entries.append((table, rows[-1], True))
        self._queue.extend(entries)
        if self._resting:
            self._wake(*entries)

    def flush(self, timeout: float = -1) -> bool:
        """Wait until all that is queued now is stored; whether it was in time.

        Raises what keeps the writer from storing it; it stays queued.
        """
        if not self._queue:
            return True
        return self._wait_in(self._flushing, "What is queued is kept, and tried again.", timeout)

    def close(self, timeout: float = -1) -> bool:
        """Store what waits and end the thread; whether that was done in time.

        What comes later is NotQueued. Raises what kept the last rows from being stored: they are
        lost then.
        """
        if self._ended:
            return True
        self._leaving = "now"
        if self._writer is None and not self._queue:
            self._work_here()
            return True
        return self._wait_in(self._flushing, "What was queued is lost.", timeout)

    def abandon(self) -> None:
        """Let the thread end when everything is stored. Waits for nothing, so that it can be called
        in a garbage collection, which comes anywhere."""
        self._leaving = self._leaving or "when empty"
        self._ring()

    def _make_room(self, count: int) -> bool:
        """Whether so many rows may be queued, as soon as there is room for them; else they are
        lost."""
        while not self._ended:
            waiting = len(self._queue) + count
            if waiting <= self._max_items:
                if waiting >= self._enough:
                    self._call_for_work(waiting)
                return True
            if self._overflow == "drop" or self._writer == get_ident():
                self._lose(count, "overflow", f"{self._max_items} wait already.")
                return False
            self._wait_for_room()
        raise NotQueued

    def _call_for_work(self, waiting: int) -> None:
        """Ring, and let go of the interpreter's lock for a moment, now and after some more rows.

        Beside a caller that computes, the writer would get it only after the switch interval, 5 ms,
        and for each of its statements anew.
        """
        self._limit = min(waiting + _CHUNK, self._max_items)
        self._ring()
        time.sleep(_MOMENT)

    def _wait_for_room(self) -> None:
        # While nothing can be stored an agent is told so, as without a buffer, and need not wait.
        advice = "As much is queued as may be."
        if (failure := self._failure) is not None:
            raise _like(failure, advice) from failure
        self._wait_in(self._blocked, advice)

    def _wait_in(self, line: deque[_Caller], advice: str, timeout: float = -1) -> bool:
        """Wait for the writer's word; whether it came in time."""
        if self._writer == get_ident():
            return True  # A log handler of the writer's, or a signal handler: it waits for us.
        caller = _Caller()
        line.append(caller)
        self._wake()
        if self._ended and _left(line, caller):
            return True
        told = caller.wait(timeout)
        if caller.error is not None:
            raise _like(caller.error, advice) from caller.error
        return told

    def _wake(self, *entries: Entry) -> None:
        """Get the writer going, now that these rows are queued."""
        if self._ended:
            self._take_back(entries)
        elif self._writer is None:
            self._start()
        else:
            self._resting = False  # Before it is rung: the writer may hear it, and rest again.
            self._ring()

    def _take_back(self, entries: Sequence[Entry]) -> None:
        """Rows that came just when the writer ended are either the writer's, or still ours."""
        with self._lock, suppress(ValueError):
            for entry in entries:
                self._queue.remove(entry)
            if entries:
                raise NotQueued

    def _ring(self) -> None:
        # An error says that somebody has rung, and the writer has not heard it yet.
        with suppress(RuntimeError):
            self._bell.release()

    def _start(self) -> None:
        """Start a thread. Of several the first is the writer: a caller that waited until another
        one has started it might be a signal handler, and wait for what it has interrupted."""
        try:
            Thread(target=self._write, name="curio-write-behind", daemon=True).start()
        except RuntimeError:  # There are too many, or the interpreter is about to end.
            self._work_here()

    def _work_here(self) -> None:
        """Do the writer's work in this thread, if there is no writer."""
        if self._role.acquire(blocking=False):
            self._writer = get_ident()
            try:
                self._work()
            finally:
                self._writer = None
                self._role.release()

    # --- the writer ---------------------------------------------------------------------------

    def _write(self) -> None:
        if not self._role.acquire(blocking=False):
            return
        self._writer, self._resting = get_ident(), False
        self._due = time.monotonic() + self._max_seconds
        try:
            _see_to_the_end()
            while not self._ended:
                self._rest()
                self._work()
        finally:
            self._resting = True
            self._writer = None
            self._role.release()

    def _rest(self) -> None:
        """Return when it is time to store something."""
        if self._failure is not None:
            if not self._flushing:
                self._bell.acquire(timeout=self._pause)
            return
        while not self._queue and not self._is_called():
            self._resting = True
            has_time = False
            if not self._queue and not self._is_called():  # Else they came before it was said.
                has_time = not self._bell.acquire(timeout=self._until_idle)
            self._resting = False
            if has_time:
                self._until_idle = 0 if self._did_idle_work() else _FOR_EVER
            self._due = time.monotonic() + self._max_seconds
        while len(self._queue) < self._enough and not self._is_called():
            seconds = self._due - time.monotonic()
            if seconds <= 0:
                break
            self._limit = self._enough
            self._bell.acquire(timeout=seconds)

    def _did_idle_work(self) -> bool:
        """Do a piece of what is not urgent; whether there is more."""
        try:
            return self._when_idle()
        except PersistenceError as error:
            log("What waited for a quiet moment could not be done: %s", error)
            return False

    def _is_called(self) -> bool:
        return bool(self._flushing or self._blocked or self._leaving)

    def _work(self) -> None:
        """Store what is there, and tell those who wait for it."""
        callers = _take_all(self._flushing)
        leaving = self._leaving
        self._due = time.monotonic() + self._max_seconds  # For all that comes from now on.
        error = self._attempt()
        self._until_idle = _IDLE
        if leaving == "now" or (leaving and not self._queue):
            error = self._end(error)
            callers += _take_all(self._flushing)
        for caller in callers:
            caller.tell(error)
        if error is not None or self._ended or self._has_room():
            self._let_in(error)

    def _attempt(self) -> Exception | None:
        """Store what is queued now; what went wrong."""
        try:
            self._store_next(len(self._queue))
        except Exception as error:
            if self._failure is None:
                log("Nothing can be stored now, and is tried again: %s", error)
            self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
            self._failure = error
            return error
        self._pause, self._failure = 0.0, None
        return None

    def _store_next(self, count: int) -> None:
        queue = self._queue
        while count > 0:
            entries = self._next(min(count, _CHUNK))
            count -= len(entries)
            for settled in self._settle(entries):
                for _ in range(settled):
                    queue.popleft()
            self._limit = min(len(queue) + _CHUNK, self._max_items)
            if self._blocked and self._has_room():
                self._let_in(None)

    def _next(self, count: int) -> list[Entry]:
        """The first rows, and the rest of the last one's batch; they wait until they are stored.

        One by one, since others add rows meanwhile, which no iterator of a deque survives.
        """
        queue = self._queue
        entries = [queue[at] for at in range(count)]
        while not entries[-1][2]:
            entries.append(queue[len(entries)])
        return entries

    def _settle(self, entries: list[Entry]) -> Iterator[int]:
        """Store rows, in halves where one of them spoils the others; how many are done with.

        Raises what the database cannot do now.
        """
        try:
            self._store_together(entries)
        except Exception as error:
            if isinstance(error, PersistenceError) and not isinstance(error, _ABOUT_A_ROW):
                raise
            if len(entries) > 1:
                middle = len(entries) // 2
                yield from self._settle(entries[:middle])
                yield from self._settle(entries[middle:])
                return
            self._lose(1, type(error).__name__, f"{self._store.place} does not take them.")
        yield len(entries)

    def _store_together(self, entries: list[Entry]) -> None:
        rows: dict[Table[Any], list[Row]] = defaultdict(list)
        for table, row, _ in entries:
            rows[table].append(row)
        if len(rows) == 1:
            self._appends[table](rows[table])  # Which is a transaction anyway.
            return
        with self._store.transaction():
            for table, some in rows.items():
                self._appends[table](some)

    def _has_room(self) -> bool:
        """Whether half of the queue is free: who waited for one place would wait every time."""
        return len(self._queue) <= self._max_items // 2

    def _let_in(self, error: Exception | None) -> None:
        for caller in _take_all(self._blocked):
            caller.tell(error)

    def _end(self, error: Exception | None) -> Exception | None:
        """Take no more rows, and store those that came in this moment; what went wrong."""
        self._ended, self._resting, self._limit = True, True, 0
        with self._lock:
            entries = _take_all(self._queue)
        settled = 0
        if entries and error is None:
            try:
                for count in self._settle(entries):
                    settled += count
            except PersistenceError as last:
                error = last
        if len(entries) > settled:
            self._lose(len(entries) - settled, type(error).__name__, str(error))
        return error

    # --- what is lost -------------------------------------------------------------------------

    def _lose(self, count: int, reason: str, why: str) -> None:
        with self._lock:
            is_first = reason not in self._lost
            self._lost[reason] += count
        if is_first:
            log("Records are lost (%s): %s Logged once; `lost` counts.", reason, why)

    # --- forks --------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Nothing to settle: what the writer is doing goes on in the parent."""

    def after_fork(self, *, in_child: bool) -> None:
        if in_child:
            self._start_again()

    # --- the end of the process ---------------------------------------------------------------

    def leave(self, timeout: float) -> None:
        """Store what waits, before the process ends."""
        with suppress(PersistenceError):  # Counted and logged.
            if not self.close(max(timeout, 0)):
                self._lose(self.pending, "exit", "The database did not answer.")


def log(message: str, *values: object) -> None:
    """Tell of an error in the library's log."""
    import logging  # It takes long to import, and is seldom needed.

    with suppress(Exception):  # Somebody's handler's: it must not end the writer.
        logging.getLogger("curio_persistence").error(message, *values)


def _take_all(queue: deque[Any]) -> list[Any]:
    taken = []
    while queue:
        taken.append(queue.popleft())
    return taken


def _left(line: deque[_Caller], caller: _Caller) -> bool:
    """Leave a line; False if the writer has taken notice, and will tell."""
    try:
        line.remove(caller)
    except ValueError:
        return False
    return True


def _like(error: Exception, advice: str) -> Exception:
    """The same error for each of those who wait; made without its constructor, as these differ."""
    alike = type(error).__new__(type(error))
    alike.__dict__.update(vars(error))
    alike.args = (f"{error} {advice}",)
    return alike


_known: WeakSet[WriteBehind] = WeakSet()
_seen_to_in = 0


def _see_to_the_end() -> None:
    """Have everything stored at a normal exit of this process, and at that of a worker of
    multiprocessing, which leaves without one but for what was registered with `Finalize`."""
    global _seen_to_in
    if _seen_to_in == os.getpid():
        return
    _seen_to_in = os.getpid()
    atexit.register(_store_everything)
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _store_everything, exitpriority=0)


def _store_everything() -> None:
    deadline = time.monotonic() + _PATIENCE_AT_EXIT
    for behind in list(_known):
        behind.leave(deadline - time.monotonic())
