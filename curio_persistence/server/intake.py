"""Store bodies: one thread unpacks, reads and stores those that wait, several in one commit.

Senders that send each span by itself would otherwise wait for a commit each. Bodies wait as they
were sent, and are unpacked only when they are stored, so that few are in memory in full.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from curio_persistence.concurrency.time_limit import call_within
from curio_persistence.config.server import ServerConfig
from curio_persistence.errors import InvalidValueError, PersistenceError
from curio_persistence.server.bodies import Room, unpacked
from curio_persistence.server.refusals import RefusedError, unavailable

_TOGETHER = 2 << 20
"""Bytes of bodies, unpacked, that are stored in one go."""
_RECORDS = 1_000
"""The most records that one call stores, and so one transaction."""
_SECONDS = 4.0
"""Seconds that such a call may wait for the database; large bodies give it more."""
_BYTES_PER_SECOND = 4 << 20
"""Bytes of bodies that give a call one second more."""
_REASONS = 4
"""The most different reasons that a sender is told."""
PATIENCE = 8.0
"""Seconds that a body waits for the database: exporters give up after ten by default."""
_log = logging.getLogger("curio_persistence.server")


class Records(NamedTuple):
    """The records of a body, the number of others that were rejected, and the reason."""

    records: Sequence[Any]
    rejected: int
    message: str


class Signal(NamedTuple):
    """A kind of telemetry: how its bodies are read, and how its records are stored."""

    name: str
    counter: str
    read: Callable[[bytes, str], Records]
    store: Callable[[list[Any]], object]


class Outcome(NamedTuple):
    """The number of records of a body that were rejected, and the reasons."""

    rejected: int
    message: str


@dataclass(slots=True, eq=False)
class Body:
    """A body that waits to be stored, and the answer to its sender."""

    signal: Signal
    content: bytes
    encoding: str
    content_type: str
    answer: Future[Outcome] = field(default_factory=Future)


@dataclass(slots=True, eq=False)
class _Read:
    """A body that was read."""

    body: Body
    size: int
    records: Sequence[Any]
    rejected: int
    reasons: list[str]
    unstored: int = 0

    def reject(self, error: Exception) -> None:
        """Count a record that cannot be stored."""
        is_told = isinstance(error, InvalidValueError)
        reason = str(error) if is_told else f"it cannot be stored ({type(error).__name__})"
        self.rejected, self.unstored = self.rejected + 1, self.unstored + 1
        if reason not in self.reasons and len(self.reasons) < _REASONS:
            self.reasons.append(reason)
            if not is_told:
                _log.error("A record cannot be stored", exc_info=error)


class Intake:
    """A queue of bodies, and the thread that stores them."""

    def __init__(self, config: ServerConfig) -> None:
        self.room = Room(config.max_pending_bytes)
        self._most_bytes = config.max_body_bytes
        self._queue: SimpleQueue[Body | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._busy_since: float | None = None
        self._failed = False
        self.records: Counter[tuple[str, str]] = Counter()
        """The records of each signal that were `stored` or `rejected`."""
        self.refused: Counter[tuple[str, str]] = Counter()
        """The bodies of each signal that were refused, by status."""

    def stop(self) -> None:
        """Store what waits, and return."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    @property
    def waiting(self) -> int:
        """The number of bodies that wait."""
        return self._queue.qsize()

    def put(self, body: Body) -> None:
        """Queue a body; refuse it if the database has not answered for long."""
        since = self._busy_since
        if since is not None and time.monotonic() - since > PATIENCE:
            raise unavailable("The database does not answer.")
        if self._thread is None:
            self._thread = Thread(target=self._work, name="curio-intake", daemon=True)
            self._thread.start()
        self._queue.put(body)

    # --- the thread ---------------------------------------------------------------------------

    def _work(self) -> None:
        while (body := self._queue.get()) is not None:
            self._busy_since = time.monotonic()
            try:
                self._store_with_others(body)
            except Exception:  # The next bodies are stored all the same.
                _log.exception("Bodies could not be stored")
            self._busy_since = None

    def _store_with_others(self, first: Body) -> None:
        """Store a body and those that wait behind it, up to some bytes together."""
        read = self._read_some(first)
        for signal in {each.body.signal for each in read}:
            self._store(signal, [each for each in read if each.body.signal is signal])

    def _read_some(self, first: Body) -> list[_Read]:
        found: list[_Read] = []
        size = 0
        body: Body | None = first
        while body is not None:
            if body.answer.set_running_or_notify_cancel():  # False if its sender has given up.
                read = self._read(body)
                found.extend(read)
                size += sum(each.size for each in read)
            body = self._next() if size < _TOGETHER else None
        return found

    def _waiting(self) -> Iterator[Body]:
        """Take what waits out of the queue."""
        for _ in range(self._queue.qsize()):
            body = self._next()
            if body is not None and body.answer.set_running_or_notify_cancel():
                yield body

    def _next(self) -> Body | None:
        try:
            body = self._queue.get_nowait()
        except Empty:
            return None
        if body is None:
            self._queue.put(None)  # The end comes after these.
        return body

    def _read(self, body: Body) -> Iterable[_Read]:
        """Return what is in a body; nothing if it is refused."""
        try:
            content = unpacked(body.content, body.encoding, self._most_bytes)
            records, rejected, message = body.signal.read(content, body.content_type)
        except RefusedError as refusal:
            return self._refuse([body], refusal)
        except InvalidValueError as error:
            return self._refuse([body], RefusedError(400, str(error)))
        except Exception:
            _log.exception("A body of %s cannot be read", body.signal.name)
            return self._refuse([body], RefusedError(400, "The body cannot be read."))
        finally:
            body.content = b""
        return [_Read(body, len(content), records, rejected, [message] if message else [])]

    def _store(self, signal: Signal, read: Sequence[_Read]) -> None:
        owned = [(each, record) for each in read for record in each.records]
        seconds = _SECONDS + sum(each.size for each in read) / _BYTES_PER_SECOND
        try:
            for start in range(0, len(owned), _RECORDS):
                call_within(seconds, self._keep, signal, owned[start : start + _RECORDS])
        except PersistenceError as error:
            self._tell_failure(error)
            why = f"The database takes nothing now ({type(error).__name__})."
            self._refuse([*(each.body for each in read), *self._waiting()], unavailable(why))
            return
        self._failed = False
        for each in read:
            self.records[signal.name, "stored"] += len(each.records) - each.unstored
            self.records[signal.name, "rejected"] += each.rejected
            each.body.answer.set_result(Outcome(each.rejected, "; ".join(each.reasons)))

    def _keep(self, signal: Signal, owned: Sequence[tuple[_Read, Any]]) -> None:
        """Store records; if they are refused, store halves of them, to find those that are wrong.

        Storing a record twice changes nothing, so it does not matter what a failure has stored.
        """
        try:
            signal.store([record for _, record in owned])
        except Exception as error:
            if isinstance(error, PersistenceError) and not isinstance(error, InvalidValueError):
                raise
            if len(owned) == 1:
                owned[0][0].reject(error)
                return
            middle = len(owned) // 2
            self._keep(signal, owned[:middle])
            self._keep(signal, owned[middle:])

    def _refuse(self, bodies: Iterable[Body], refusal: RefusedError) -> Iterable[_Read]:
        for body in bodies:
            body.answer.set_exception(refusal)
        return ()

    def _tell_failure(self, error: PersistenceError) -> None:
        """Log the first failure of several in a row."""
        if not self._failed:
            _log.error("Telemetry is refused, and senders try again: %s", error)
        self._failed = True
