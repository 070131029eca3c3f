"""A persistence whose appends return at once, and are stored a moment later."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from threading import local
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import finalize

from curio_persistence.buffering.queue import NotQueued, Overflow, WriteBehind
from curio_persistence.capabilities.appends import Appends, M, OnConflict, Stored
from curio_persistence.capabilities.events import Events
from curio_persistence.capabilities.search import Search
from curio_persistence.capabilities.usage import Usage
from curio_persistence.concurrency.timeouts import checked_seconds
from curio_persistence.errors import ConfigurationError, PersistenceError, UnsupportedError
from curio_persistence.models import AgentLLMUsage, AgentRunEvent
from curio_persistence.persistence import Persistence
from curio_persistence.results.csv import stream_csv
from curio_persistence.store.base import Finding, Snapshot, Store
from curio_persistence.store.search_index import WordIndex
from curio_persistence.store.table import Columns, Row, Table
from curio_persistence.tables import EVENTS, USAGE

if TYPE_CHECKING:
    from curio_persistence.buffering.sigterm import Sigterm


T = TypeVar("T")

_PIECE = 500
"""How many records are indexed at a time for search; somebody may come who has to wait for it."""


class BufferedPersistence(Persistence):
    """Another persistence, with a queue before it and a thread that writes.

    `log_agent_run_event`, `log_llm_usage` and batches of them check the records, give them their
    times, queue a copy and return; ids stay None, and a batch counts all of it as new. All else
    first waits until the queue is stored, as `flush()` does, and goes through. So do appends within
    this thread's `transaction()`, and batches of more than a thousand or of half of `max_items`.

    When `max_items` wait, an append waits for room (`overflow="block"`; it raises if the database
    cannot be written to just then) or leaves its record out (`"drop"`). A record waits for at most
    `max_seconds`, while the database can be written to; otherwise until it can. Where the network
    swallowed the answer to a write it is written again: give `event_id`s if nothing may be doubled.

    While nothing comes, the writer indexes what was stored, for `search_text`.

    The queue is stored by `flush()`, by `close()` and at a normal exit, and with
    `install_sigterm=True` before SIGTERM takes its effect; a process that is killed loses it. A
    forked child begins with an empty one. What can never be stored is logged and in `lost`.

    It takes the other persistence over: `close()` closes both.
    """

    _store: BufferedStore

    def __init__(
        self,
        persistence: Persistence,
        *,
        max_items: int = 10_000,
        max_seconds: float = 1.0,
        overflow: Overflow = "block",
        install_sigterm: bool = False,
    ) -> None:
        if isinstance(persistence, BufferedPersistence):
            raise UnsupportedError("This persistence is buffered already: one queue is enough.")
        if type(max_items) is not int or max_items < 1:
            raise ConfigurationError(f"max_items is a whole number from 1 on, not {max_items!r}.")
        if overflow not in ("block", "drop"):
            raise ConfigurationError(f"overflow is 'block' or 'drop', not {overflow!r}.")
        behind = WriteBehind(
            persistence._store,
            {EVENTS: persistence.events.store, USAGE: persistence.usage.store},
            max_items=max_items,
            max_seconds=checked_seconds("max_seconds", max_seconds),
            overflow=overflow,
            when_idle=partial(_index_a_piece, persistence.search),
        )
        self._sigterm = _handler(behind) if install_sigterm else None
        self._behind = behind
        super().__init__(
            BufferedStore(persistence._store, behind),
            initialize=False,
            clock=persistence.clock,
            redaction=persistence.redaction,
        )
        self.events = _QueuedEvents(self._store, self.clock, self.redaction)
        self.usage = _QueuedUsage(self._store, self.clock, self.redaction)

    def flush(self) -> None:
        """Return when everything that was appended before is stored.

        Raises what keeps it from being stored now (UnavailableError, StorageFullError): it stays
        queued, and is tried again.
        """
        self._store.flush()

    @property
    def pending(self) -> int:
        """How many records wait to be stored."""
        return self._behind.pending

    @property
    def lost(self) -> dict[str, int]:
        """How many records are not stored and never will be, by reason.

        `overflow`: the queue was full. The name of an error: the database refused the record, or
        could not be written to until the end.
        """
        return self._behind.lost

    def close(self) -> None:
        """Store what waits, and close this persistence and the one underneath.

        What cannot be stored is lost then, and the error raised.
        """
        super().close()
        if self._sigterm is not None:
            self._sigterm.restore()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except PersistenceError as second:
            if error is None:
                raise
            error.add_note(f"And what was queued could not be stored: {second}")


def _index_a_piece(search: Search) -> bool:
    return search.index_pending(limit=_PIECE) == _PIECE


def _handler(behind: WriteBehind) -> Sigterm:
    from curio_persistence.buffering.sigterm import Sigterm

    return Sigterm(behind)


class BufferedStore(Store):
    """Another store, and rows that are on their way into it."""

    def __init__(self, store: Store, behind: WriteBehind) -> None:
        self._inner = store
        self._behind = behind
        self._queued = frozenset() if store.read_only else frozenset({EVENTS, USAGE})
        self._mine = _Mine()
        # Not at exit, when the queue has to be waited for: `write_behind` does that.
        finalize(self, behind.abandon).atexit = False

    def __repr__(self) -> str:
        return f"BufferedStore({self._inner!r})"

    @property
    def dialect(self) -> str:  # type: ignore[override]  # not known to the class
        return self._inner.dialect

    @property
    def place(self) -> str:
        return self._inner.place

    @property
    def identity(self) -> str:
        return self._inner.identity

    @property
    def read_only(self) -> bool:
        return self._inner.read_only

    @property
    def refuses_cheaply(self) -> bool:
        return self._inner.refuses_cheaply

    @property
    def ids_come_back(self) -> bool:
        return self._inner.ids_come_back

    @property
    def words(self) -> WordIndex:
        self._catch_up()
        return self._inner.words

    def running(self) -> frozenset[str]:
        return self._inner.running()

    def active_transactions(self, table: Table[Any]) -> frozenset[str] | None:
        return self._inner.active_transactions(table)

    def schema_version(self) -> int:
        return self._inner.schema_version()

    def initialize(self) -> None:
        self._inner.initialize()  # Without the queue, which may wait for these very tables.

    # --- appends ------------------------------------------------------------------------------

    def insert(self, table: Table[Any], row: Row) -> Any:
        """The row's id, or None where it is queued."""
        if table in self._queued and not self._mine.depth:
            try:
                return self._behind.put(table, row)
            except NotQueued:
                pass
        return self._call(self._inner.insert, table, row)

    def put_all(self, table: Table[Any], rows: Sequence[Row]) -> bool:
        """Queue rows that are to be stored all or none; whether that was possible."""
        if table not in self._queued or self._mine.depth:
            return False
        try:
            self._behind.put_all(table, rows)
        except NotQueued:
            return False
        return True

    # --- all else -----------------------------------------------------------------------------

    def flush(self) -> None:
        self._check_outside("flush()")
        self._behind.flush()

    def _check_outside(self, call: str) -> None:
        if self._mine.depth:
            raise UnsupportedError(f"A transaction is open in this thread: end it before {call}.")

    def _catch_up(self) -> None:
        """Have everything stored that was queued.

        Inside a transaction or a call it is: it went before. To wait for the writer there, as a
        signal handler might, would be to wait for oneself.
        """
        if not self._mine.depth:
            self._behind.flush()

    def _call(self, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        self._catch_up()
        return self._inside(method, *args, **kwargs)

    def _inside(self, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        mine = self._mine
        depth = mine.depth
        mine.depth = depth + 1
        try:
            return method(*args, **kwargs)
        finally:
            mine.depth = depth

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._catch_up()
        mine = self._mine
        depth = mine.depth
        mine.depth = depth + 1
        try:
            with self._inner.transaction():
                yield
        finally:
            mine.depth = min(mine.depth, depth)  # An outer one may have ended before.

    def insert_many(self, *args: Any) -> Sequence[int]:
        return self._call(self._inner.insert_many, *args)

    def insert_stream(self, *args: Any) -> int:
        return self._call(self._inner.insert_stream, *args)

    def select(self, *args: Any, **kwargs: Any) -> Columns:
        return self._call(self._inner.select, *args, **kwargs)

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[Columns]:
        return self._each(self._inner.stream, *args, **kwargs)

    def reserve_ids(self, *args: Any) -> None:
        self._call(self._inner.reserve_ids, *args)

    def advisory_lock(self, *args: Any) -> None:
        self._call(self._inner.advisory_lock, *args)

    def try_advisory_lock(self, *args: Any) -> bool:
        return self._call(self._inner.try_advisory_lock, *args)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        self._catch_up()
        with self._inner.snapshot() as snapshot:
            yield snapshot

    def stream_csv(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        return self._each(stream_csv, self._inner, *args, **kwargs)

    def _each(self, streamed: Callable[..., Any], *args: Any, **kwargs: Any) -> Iterator[Any]:
        stream = self._call(streamed, *args, **kwargs)
        with closing(stream):
            while (piece := self._inside(next, stream, None)) is not None:
                yield piece

    def select_columns(self, *args: Any, **kwargs: Any) -> list[tuple[Any, ...]]:
        return self._call(self._inner.select_columns, *args, **kwargs)

    def update(self, *args: Any, **kwargs: Any) -> list[tuple[Any, ...]]:
        return self._call(self._inner.update, *args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> int:
        return self._call(self._inner.delete, *args, **kwargs)

    def aggregate(self, *args: Any, **kwargs: Any) -> list[tuple[Any, ...]]:
        return self._call(self._inner.aggregate, *args, **kwargs)

    def create_payload_index(self) -> bool:
        return self._call(self._inner.create_payload_index)

    def compact(self) -> None:
        self._call(self._inner.compact)

    def diagnose(self, *, deep: bool = False) -> list[Finding]:
        return [*self._call(self._inner.diagnose, deep=deep), self._finding()]

    def _finding(self) -> Finding:
        lost = self._behind.lost
        if not lost:
            return Finding("buffer", "ok", "nothing was lost")
        reasons = ", ".join(f"{count} by {reason}" for reason, count in sorted(lost.items()))
        return Finding(
            "buffer",
            "warning",
            f"{sum(lost.values())} records were lost: {reasons}",
            "The log of curio_persistence says why; against overflow raise max_items.",
        )

    def close(self) -> None:
        self._check_outside("close()")
        try:
            self._behind.close()
        except PersistenceError:
            self._inner.close()
            raise
        self._inner.close()


class _Mine(local):
    """What each thread has of its own: how many transactions and calls it is inside of."""

    depth = 0


class _Queued(Appends[M]):
    """Appends of which batches, too, are queued."""

    _store: BufferedStore

    def store(
        self,
        rows: Sequence[Row],
        moments: Mapping[Any, datetime] | None = None,
        *,
        on_conflict: OnConflict = "keep",
    ) -> Stored[M]:
        if on_conflict == "keep" and self._store.put_all(self._table, rows):
            unknown: Any = [None] * len(rows)
            return Stored(unknown, {})
        with self._store.transaction():  # In which nothing is queued.
            return cast("Stored[M]", super().store(rows, moments, on_conflict=on_conflict))


class _QueuedEvents(_Queued[AgentRunEvent], Events):
    pass


class _QueuedUsage(_Queued[AgentLLMUsage], Usage):
    pass
