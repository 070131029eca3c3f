"""The connections that read: one for each thread and for each stream."""

from __future__ import annotations

from collections import deque
from threading import RLock, current_thread
from weakref import WeakSet

from curio_persistence.backends.sqlite.driver import Connection
from curio_persistence.clock import utc_now


class Reader:
    """The connection of one thread or stream. Only a fork or a close contends for its `lock`."""

    connection: Connection | None = None
    for_one_read = False
    holds = ""
    """The snapshot that the connection holds: since when, what for, and in which thread."""

    def __init__(self, retired: deque[Connection]) -> None:
        self._retired = retired
        self.lock = RLock()

    def close(self) -> None:
        """Close the connection; the caller holds `lock`."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def hold(self, what: str) -> None:
        """Note that the connection holds a snapshot from now on."""
        self.holds = f"since {utc_now():%Y-%m-%d %H:%M:%S} UTC by {what} in {current_thread().name}"

    def retire(self) -> None:
        """Leave the connection to the next thread that opens or closes one.

        A garbage collection may call this anywhere, so it must not wait for a lock.
        """
        if self.connection is not None:
            self._retired.append(self.connection)
            self.connection = None

    __del__ = retire


class Readers:
    """All readers of a store, which a fork or a close can freeze."""

    def __init__(self) -> None:
        self._all: WeakSet[Reader] = WeakSet()
        self._lock = RLock()
        self._frozen: list[RLock] = []
        self.retired: deque[Connection] = deque()

    def __len__(self) -> int:
        return len(self._all)

    def add(self) -> Reader:
        """Return a new reader, without a connection."""
        self.close_retired()
        with self._lock:
            reader = Reader(self.retired)
            self._all.add(reader)
        return reader

    def close_retired(self) -> None:
        """Close retired connections, unless another thread holds the lock: then that one does."""
        if self._lock.acquire(blocking=False):
            try:
                while self.retired:
                    self.retired.popleft().close()
            finally:
                self._lock.release()

    def oldest_snapshot(self) -> str:
        """Return which reader has held its snapshot longest; `""` if none holds one."""
        with self._lock:
            held = [each.holds for each in self._all if each.connection is not None and each.holds]
        return min(held, default="")

    def freeze(self) -> None:
        """Close all connections, and let no thread open another before `thaw`."""
        self._hold(self._lock)
        self.close_retired()
        for reader in list(self._all):
            self._hold(reader.lock)
            reader.close()
        self.close_retired()  # Of threads that have ended meanwhile.

    def thaw(self) -> None:
        """Release what `freeze` acquired, also if it was interrupted. It can be called again."""
        while self._frozen:
            if self._frozen[-1]._is_owned():  # type: ignore[attr-defined]  # as a Condition asks it
                self._frozen[-1].release()
            self._frozen.pop()

    def _hold(self, lock: RLock) -> None:
        self._frozen.append(lock)  # First: an interrupt must not lose a lock that was acquired.
        lock.acquire()
