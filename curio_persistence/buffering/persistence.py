"""A persistence whose appends return at once, and are stored a moment later by a thread."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import finalize

from curio_persistence.buffering.queue import Overflow, WriteQueue
from curio_persistence.buffering.runs import QueuedRuns
from curio_persistence.buffering.storing import Kind, Kinds
from curio_persistence.capabilities.appends import Appends, M, OnConflict, Stored
from curio_persistence.capabilities.events import Events
from curio_persistence.capabilities.search import Search
from curio_persistence.capabilities.usage import Usage
from curio_persistence.concurrency.timeouts import checked_seconds
from curio_persistence.errors import ConfigurationError, PersistenceError, UnsupportedError
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent
from curio_persistence.persistence import Persistence
from curio_persistence.results.csv import stream_csv
from curio_persistence.store.base import HealthCheck, Store
from curio_persistence.store.query import Query, ReadRows
from curio_persistence.store.search_index import SearchIndex
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import EVENTS, RUNS, USAGE

if TYPE_CHECKING:
    from curio_persistence.buffering.sigterm import Sigterm

F = TypeVar("F", bound=Callable[..., Any])

_BEGIN, _END = "begin", "end"
_INDEXED_AT_ONCE = 500
"""Records that are indexed for search before the writer looks for new rows."""
_PATIENCE = 10.0
"""Seconds for which `close()` goes on trying."""


class BufferedPersistence(Persistence):
    """Another persistence, with a queue before it and a thread that writes.

    `log_agent_run_event`, `log_llm_usage` and batches of them check the records, give them their
    times, queue a copy and return; ids stay None, and a batch counts all of it as new. So do begin
    and end of a run of `record_run`. Every other call first waits until the queue is stored, as
    `flush()` does. Stored directly are appends
    within this thread's `transaction()`, batches of more than a thousand records, and what needs
    more than half of the queue and does not fit. A batch is stored wholly or not at all.

    When `max_items` records, or `max_bytes` of them, wait, an append waits for room
    (`overflow="block"`; it raises if the database cannot be written to just then) or leaves its
    record out (`"drop"`). A record waits for at most `max_seconds`, while the database can be
    written to; otherwise until it can. If the network loses the answer to a write, the write is
    repeated: give each an `event_id` if nothing may be stored twice.

    Failures of the database that do not pass by themselves (tables or rights that are missing) are
    raised by each append until they end; with `"drop"` its record is lost instead.

    While no records come, the writer indexes those that were stored, for `search_text`.

    The queue is stored by `flush()`, by `close()` and at a normal exit, and with
    `install_sigterm=True` before SIGTERM takes its effect; from the signal on, appends are stored
    directly. If the database cannot be written to, a close and SIGTERM retry for 10 s, an exit for
    30 s. A process that is killed loses its queue, and a forked child begins with an empty
    one. Records that are never stored are logged and counted in `dropped`.

    It owns the other persistence: `close()` closes both.
    """

    _store: BufferedStore

    def __init__(
        self,
        persistence: Persistence,
        *,
        max_items: int = 10_000,
        max_bytes: int = 64 << 20,
        max_seconds: float = 1.0,
        overflow: Overflow = "block",
        install_sigterm: bool = False,
    ) -> None:
        if isinstance(persistence, BufferedPersistence):
            raise UnsupportedError("This persistence is buffered already: one queue is enough.")
        if overflow not in ("block", "drop"):
            raise ConfigurationError(f"overflow is 'block' or 'drop', not {overflow!r}.")
        inner = persistence._store
        self._queued_runs = QueuedRuns(inner, persistence.clock, persistence.redaction)
        self._queue = WriteQueue(
            inner,
            {} if inner.read_only else _kinds(persistence, self._queued_runs),
            max_items=_checked_limit("max_items", max_items),
            max_bytes=_checked_limit("max_bytes", max_bytes),
            max_seconds=checked_seconds("max_seconds", max_seconds),
            overflow=overflow,
            when_idle=partial(_index_some, persistence.search),
        )
        self._sigterm = _handler(self._queue) if install_sigterm else None
        super().__init__(
            BufferedStore(inner, self._queue),
            initialize=False,
            clock=persistence.clock,
            redaction=persistence.redaction,
            search=None if persistence.search.active else False,
            chain=persistence._chain,
            embed=persistence._embed,
        )
        self.events = _QueuedEvents(
            self._store, self.clock, self.redaction, chain=persistence._chain
        )
        self.usage = _QueuedUsage(self._store, self.clock, self.redaction)

    def _begin_run(self, run: AgentRun) -> None:
        """Queue the beginning of a recorded run: its agent does not wait for the database."""
        row = self._queued_runs.dated_row(run)
        if not self._store.put(_BEGIN, (row,)):
            self.create_agent_run(run)

    def _end_run(self, run_id: str, run: AgentRun) -> None:
        row = self._queued_runs.dated_row(run)
        if not self._store.put(_END, (row,)):
            self.update_agent_run(run_id, run)

    def flush(self) -> None:
        """Return when everything that was appended before is stored.

        Raises the error that prevents it (UnavailableError, StorageFullError). The records stay
        queued, and the writer tries again.
        """
        self._store.flush()

    @property
    def pending(self) -> int:
        """The number of records that wait to be stored."""
        return self._queue.pending

    @property
    def dropped(self) -> dict[str, int]:
        """The number of records that are not stored and never will be, by reason.

        `overflow`: the queue was full. The name of an error: the database refused the record, or
        could not be written to until the end. `exit`: it did not answer before the process ended.
        """
        return self._queue.dropped

    def close(self) -> None:
        """Store the queue, and close this persistence and the inner one.

        Records that cannot be stored within 10 s are lost, and the error is raised.
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


def _kinds(persistence: Persistence, runs: QueuedRuns) -> Kinds:
    """Return how each kind of rows is stored: runs begin before their events, and end after."""
    return {
        _BEGIN: Kind(0, RUNS, runs.create_rows),
        EVENTS: Kind(1, EVENTS, persistence.events.store),
        USAGE: Kind(2, USAGE, persistence.usage.store),
        _END: Kind(3, RUNS, runs.replace_rows),
    }


def _checked_limit(name: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ConfigurationError(f"{name} is a whole number from 1 on, not {value!r}.")
    return value


def _index_some(search: Search) -> bool:
    return search.index_pending(limit=_INDEXED_AT_ONCE) > 0


def _handler(queue: WriteQueue) -> Sigterm:
    from curio_persistence.buffering.sigterm import Sigterm

    return Sigterm(queue)


def _after_the_queue(method: F) -> F:
    """Return a method that waits until the queue is stored, then calls the inner store's."""
    name = method.__name__

    def call(self: BufferedStore, *args: Any, **kwargs: Any) -> Any:
        self._catch_up()
        return getattr(self._inner, name)(*args, **kwargs)

    return cast("F", call)


def _inner_property(name: str) -> Any:
    return property(lambda self: getattr(self._inner, name))


class BufferedStore(Store):
    """Another store, with a queue of rows in front of it."""

    def __init__(self, store: Store, queue: WriteQueue) -> None:
        self._inner = store
        self._queue = queue
        self._inside = store._is_inside
        # Not at exit, which has to wait for the queue: `queue` does that.
        finalize(self, queue.abandon).atexit = False

    def __repr__(self) -> str:
        return f"BufferedStore({getattr(self, '_inner', None)!r})"

    dialect = _inner_property("dialect")
    location = _inner_property("location")
    identity = _inner_property("identity")
    read_only = _inner_property("read_only")
    insert_first = _inner_property("insert_first")
    audit_key = _inner_property("audit_key")
    backup_ending = _inner_property("backup_ending")
    backup_name = _inner_property("backup_name")
    writers_wait = _inner_property("writers_wait")
    row_overhead = _inner_property("row_overhead")

    @property
    def search_index(self) -> SearchIndex:
        self._catch_up()
        return self._inner.search_index

    def active_transactions(self, table: Table[Any]) -> frozenset[str] | None:
        return self._inner.active_transactions(table)

    def check_feed(self) -> None:
        self._inner.check_feed()

    def engine_numbers(self) -> dict[str, int]:
        return self._inner.engine_numbers()

    def schema_version(self) -> int:
        return self._inner.schema_version()

    def initialize(self) -> bool:
        return self._inner.initialize()  # Bypasses the queue, which may wait for these very tables.

    # --- appends ------------------------------------------------------------------------------

    def insert(self, table: Table[Any], row: Row) -> Any:
        """Return the row's id, or None where it is queued."""
        if not self._inside() and self._queue.put(table, (row,)):
            return None
        return self._insert(table, row)

    def put(self, kind: Hashable, rows: Sequence[Row]) -> bool:
        """Queue rows that are stored all or none; return False if that is not possible."""
        return not self._inside() and self._queue.put(kind, rows)

    def _is_inside(self) -> bool:
        return self._inside()

    def before_commit(self, action: Callable[[], object]) -> None:
        self._inner.before_commit(action)

    # --- everything else ----------------------------------------------------------------------

    def flush(self) -> None:
        self.check_outside("flush()")
        self._queue.flush()

    def _catch_up(self) -> None:
        """Wait until the queue is stored, which it is already inside a transaction.

        The writer may have to wait for that very transaction.
        """
        if self._queue.pending and not self._is_inside():
            self._queue.flush()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._catch_up()
        with self._inner.transaction():
            yield

    @contextmanager
    def snapshot(self) -> Iterator[ReadRows]:
        self._catch_up()
        with self._inner.snapshot() as read:
            yield read

    def stream_csv(self, query: Query) -> Iterator[bytes]:
        self._catch_up()
        return stream_csv(self._inner, query)

    _insert = _after_the_queue(Store.insert)
    insert_many = _after_the_queue(Store.insert_many)
    upsert = _after_the_queue(Store.upsert)
    select_query = _after_the_queue(Store.select_query)
    stream_query = _after_the_queue(Store.stream_query)
    pages_query = _after_the_queue(Store.pages_query)
    select_columns = _after_the_queue(Store.select_columns)
    update = _after_the_queue(Store.update)
    advance = _after_the_queue(Store.advance)
    delete = _after_the_queue(Store.delete)
    aggregate = _after_the_queue(Store.aggregate)
    sql = _after_the_queue(Store.sql)
    reserve_ids = _after_the_queue(Store.reserve_ids)
    advisory_lock = _after_the_queue(Store.advisory_lock)
    try_advisory_lock = _after_the_queue(Store.try_advisory_lock)
    create_payload_index = _after_the_queue(Store.create_payload_index)
    create_vector_index = _after_the_queue(Store.create_vector_index)
    vector_index = _after_the_queue(Store.vector_index)
    checkpoint = _after_the_queue(Store.checkpoint)
    compact = _after_the_queue(Store.compact)
    back_up = _after_the_queue(Store.back_up)
    check_backup = _after_the_queue(Store.check_backup)
    restore_backup = _after_the_queue(Store.restore_backup)
    sizes = _after_the_queue(Store.sizes)
    used_bytes = _after_the_queue(Store.used_bytes)
    advice_on_space = _after_the_queue(Store.advice_on_space)
    sweep_texts = _after_the_queue(Store.sweep_texts)
    release_space = _after_the_queue(Store.release_space)
    lock_rows = _after_the_queue(Store.lock_rows)
    prepare_times = _after_the_queue(Store.prepare_times)
    partitions = _after_the_queue(Store.partitions)
    runs_of_partition = _after_the_queue(Store.runs_of_partition)
    lock_partition = _after_the_queue(Store.lock_partition)
    empty_partition = _after_the_queue(Store.empty_partition)
    drop_empty_partitions = _after_the_queue(Store.drop_empty_partitions)

    @property
    def for_reading(self) -> Store:
        self._catch_up()
        return self._inner.for_reading

    def diagnose(self, *, deep: bool = False) -> list[HealthCheck]:
        self._catch_up()
        return [*self._inner.diagnose(deep=deep), self._check()]

    def _check(self) -> HealthCheck:
        dropped = self._queue.dropped
        if not dropped:
            return HealthCheck("buffer", "ok", "nothing was dropped")
        reasons = ", ".join(f"{count} by {reason}" for reason, count in sorted(dropped.items()))
        return HealthCheck(
            "buffer",
            "warning",
            f"{sum(dropped.values())} records were dropped: {reasons}",
            "The log of curio_persistence says why; against overflow raise max_items.",
        )

    def close(self) -> None:
        self.check_outside("close()")
        try:
            self._queue.close(_PATIENCE)
        except PersistenceError:
            self._inner.close()
            raise
        self._inner.close()


class _Queued(Appends[M]):
    """Appends whose batches are queued as well."""

    _store: BufferedStore

    def store(
        self,
        rows: Sequence[Row],
        moments: Mapping[Any, datetime] | None = None,
        *,
        on_conflict: OnConflict = "keep",
    ) -> Stored[M]:
        if on_conflict == "keep" and self._store.put(self._table, rows):
            unknown: Any = [None] * len(rows)
            return Stored(unknown, {})
        with self._store.transaction():  # Inside a transaction, rows are not queued.
            return cast("Stored[M]", super().store(rows, moments, on_conflict=on_conflict))


class _QueuedEvents(_Queued[AgentRunEvent], Events):
    pass


class _QueuedUsage(_Queued[AgentLLMUsage], Usage):
    pass
