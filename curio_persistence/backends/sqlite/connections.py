"""A SQLite file's connections: one writer behind a fair lock, one reader for each thread.

Writers wait their turn in Python, in order, instead of racing for the file lock; readers wait for
no other thread. A `:memory:` database is one connection that all threads share.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

from curio_persistence.backends.sql.statements import Params
from curio_persistence.backends.sql.store import Result
from curio_persistence.backends.sqlite.driver import Connection
from curio_persistence.backends.sqlite.file import DRIVER_ERRORS, SQLiteFile
from curio_persistence.backends.sqlite.readers import Reader
from curio_persistence.concurrency import forking
from curio_persistence.concurrency.fair_lock import FairLock, Ticket
from curio_persistence.concurrency.time_limit import in_reading_time, readings_end, within_limit
from curio_persistence.errors import BusyError, UnavailableError
from curio_persistence.store.transaction import Transaction, left_elsewhere

_STEPS = 20_000
"""The steps of SQLite's machine after which it asks for the time: a fraction of a millisecond."""


class SQLiteConnections(SQLiteFile, forking.Forkable):
    """The part of a SQLite store that owns its connections and runs statements on them."""

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        super().__init__(path, **options)
        self._lock = FairLock()
        self._writer: Connection | None = None
        self._busy_timeout: float | None = None
        """The seconds that the writer waits for other processes, once they were set."""
        self._settled = False
        self._fork = Ticket()
        forking.follow(self)

    # --- statements ---------------------------------------------------------------------------

    def _read(self, sql: str, params: Params) -> list[tuple[Any, ...]]:
        ends = readings_end()
        if ends == inf or self._is_inside():
            return self._read_until(None, sql, params)
        return in_reading_time(self._read_until, lambda: time.monotonic() > ends, sql, params)

    def _read_until(
        self, is_late: Callable[[], bool] | None, sql: str, params: Params
    ) -> list[tuple[Any, ...]]:
        """Read all rows; SQLite asks now and then whether it is too late, and then stops."""
        mine = self._mine
        if self._is_inside() or self._in_memory:
            return self._write(sql, params)[0]
        reader = mine.reader
        if reader is None:
            reader = mine.reader = self._readers.add()
        with reader.lock:
            connection = reader.connection or self._connect_reader(reader)
            try:
                if is_late is not None:
                    connection.set_progress_handler(is_late, _STEPS)
                return connection.execute(sql, params).fetchall()
            except DRIVER_ERRORS as error:
                raise self._translate(error) from error
            finally:
                if is_late is not None:
                    connection.set_progress_handler(None, 0)
                if reader.for_one_read:
                    reader.close()

    @contextmanager
    def _own_reader(self) -> Iterator[Reader]:
        """Open a reader for one stream, which may go from thread to thread."""
        reader = self._readers.add()
        try:
            yield reader
        finally:
            reader.retire()
            self._readers.close_retired()

    def _write(self, sql: str, params: Params) -> Result:
        if not self._tables_are_ours:
            self._refuse_foreign_tables()
        transaction = self._mine.current()
        if transaction is not None:
            return self._write_inside(transaction, sql, params)
        lock, ticket = self._lock, Ticket()
        try:
            cursor = self._execute(sql, params, self._acquire(ticket))
            return cursor.fetchall(), cursor.rowcount
        except DRIVER_ERRORS as error:
            raise self._translate(error) from error
        finally:
            lock.release(ticket)
            lock.wake()

    def _write_inside(self, transaction: Transaction, sql: str, params: Params) -> Result:
        """Run a statement of a transaction."""
        try:
            with transaction.lock:
                cursor = self._connection_of(transaction).execute(sql, params)
                return cursor.fetchall(), cursor.rowcount
        except DRIVER_ERRORS as error:
            raise self._translate(error) from error

    def _execute(self, sql: str, params: Params, patience: float | None = None) -> sqlite3.Cursor:
        """Run a statement that is a transaction of its own; the caller holds the lock."""
        connection = self._writer or self._open_writer()
        self._wait_at_most(patience, connection)
        cursor = connection.execute(sql, params)
        if connection.total_changes >= self._log.next_look:
            self._look_after(connection)
        return cursor

    def _wait_at_most(self, seconds: float | None, connection: Connection) -> None:
        """Have the writer's connection wait so many seconds for other processes.

        None stands for `lock_timeout`. The setting stays until another is needed.
        """
        wanted = within_limit(self._lock_timeout if seconds is None else seconds)
        if wanted != self._lock_timeout:
            wanted = round(wanted * 100) / 100  # So that most limits are the same.
        if wanted != self._busy_timeout:
            connection.execute(f"PRAGMA busy_timeout = {wanted * 1e3:.0f}")
            self._busy_timeout = wanted

    # --- transactions -------------------------------------------------------------------------

    def _enter(self, transaction: Transaction) -> None:
        patience = self._acquire(transaction)
        transaction.connection = connection = self._writer or self._open_writer()
        try:
            self._wait_at_most(patience, connection)
            connection.execute(self._begin)
        except DRIVER_ERRORS as error:
            raise self._translate(error) from error

    def _finish(self, transaction: Transaction) -> None:
        with transaction.lock:
            connection = transaction.connection
            if connection is not None and self._lock.is_held_by(transaction):
                self._roll_back(connection)
                if connection.total_changes >= self._log.next_look:
                    self._look_after(connection)
        self._lock.release(transaction)
        self._lock.wake()

    def _roll_back(self, connection: Connection) -> None:
        """End a transaction that was not committed."""
        try:
            connection.rollback()
        except sqlite3.Error:
            self._writer = None  # Nothing refers to it any more: that closes it.

    def _control(self, transaction: Transaction, sql: str) -> None:
        try:
            with transaction.lock:
                self._connection_of(transaction).execute(sql)
        except DRIVER_ERRORS as error:
            raise self._translate(error) from error

    def _connection_of(self, transaction: Transaction) -> Connection:
        """Return the connection of an open transaction.

        When the disk is full SQLite ends a transaction itself: what follows must not commit.
        Neither must a savepoint, which outside of a transaction begins one of its own.
        """
        connection: Connection | None = transaction.connection
        if transaction.ended:
            raise left_elsewhere()
        if connection is None:
            raise self._closed_error()
        if not connection.in_transaction:
            raise UnavailableError(
                f"{self.location} rolled this transaction back after an earlier error in it; "
                "nothing of it is stored."
            )
        return connection

    # --- the writer ---------------------------------------------------------------------------

    def _acquire(self, ticket: Ticket) -> float | None:
        """Wait for the writer. Whatever is raised, the caller releases the ticket.

        Return how many seconds of `lock_timeout` are left for other processes, if not nearly all.
        """
        if self._lock.acquire_at_once(ticket):
            return None
        deadline = time.monotonic() + within_limit(self._lock_timeout)
        if not self._lock.acquire(ticket, self._lock_timeout):
            raise self._held_too_long()
        return self._patience(deadline)

    def _patience(self, deadline: float) -> float | None:
        """Return the seconds until a deadline, or None if they are nearly all of `lock_timeout`."""
        left = max(deadline - time.monotonic(), 0)
        return None if left > 0.9 * self._lock_timeout else left

    def _held_too_long(self) -> BusyError:
        return BusyError(
            f"{self.location} could not be written to for as long as this call may wait: its "
            f"lock is held by {self._lock.holders()}. Shorten that transaction, or raise "
            f"lock_timeout ({self._lock_timeout:g} s)."
        )

    def _open_writer(self, *, create: bool = False) -> Connection:
        """Open the writer's connection; the caller holds the lock."""
        self._writer = self._connect_writer(create=create)
        self._busy_timeout = None
        self._log.next_look = 0
        return self._writer

    def _look_after(self, connection: Connection) -> None:
        """Keep the log short, and notice that the file is gone: once in so many changes."""
        self._log.look_after(connection)
        if self._is_replaced():
            self._writer, self._tables_are_ours = None, False

    def _prepare_file(self) -> None:
        """Make the settings that live in the file.

        auto_vacuum can only be chosen while it is empty.
        """
        deadline = time.monotonic() + self._lock_timeout
        lock, ticket = self._lock, Ticket()
        try:
            self._acquire(ticket)
            connection = self._writer or self._open_writer(create=True)
            while not self._is_prepared(connection):
                # Of several processes that create a file at once, SQLite lets one switch the mode
                # and answers the others at once, whatever the timeout.
                if time.monotonic() > deadline:
                    raise self._held_too_long()
                time.sleep(0.01)
        finally:
            lock.release(ticket)
            lock.wake()

    def _is_prepared(self, connection: Connection) -> bool:
        """Set what must be set, unless another process is about to."""
        try:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except DRIVER_ERRORS as error:
            translated = self._translate(error)
            if isinstance(translated, BusyError):
                return False
            raise translated from error
        return True

    # --- end of life, and forks ---------------------------------------------------------------

    def close(self) -> None:
        if self._closed:
            return
        self.check_outside("close()")
        lock, ticket = self._lock, Ticket()
        try:
            self._acquire(ticket)
            self._closed = "it was closed"
            # Readers first, so that the writer, the last one out, folds the WAL into the file.
            try:
                self._readers.freeze()
            finally:
                self._readers.thaw()
            self._close_writer()
        finally:
            lock.release(ticket)
            lock.wake()

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def before_fork(self) -> None:
        """Close what is open, and let no thread into SQLite until the fork is over.

        Not even to read: a mutex inside SQLite that a thread holds at that moment stays locked in
        the child for ever.
        """
        if self._closed:
            return
        self._fork = Ticket()
        inside = any(ticket.thread == self._fork.thread for ticket in self._lock.held())
        self._settled = not inside and self._lock.acquire(self._fork, self._lock_timeout)
        self._readers.freeze()
        if self._settled and not self._in_memory:
            self._close_writer()

    def after_fork(self, *, in_child: bool) -> None:
        self._readers.thaw()
        if in_child and not self._closed:
            self._start_again_in_child()
        self._lock.release(self._fork)
        self._lock.wake()
        self._settled = False

    def _start_again_in_child(self) -> None:
        if self._in_memory:
            self._closed = "a :memory: database does not survive a fork"
        elif not self._settled:
            self._closed = "the process was forked inside a transaction"
        if self._writer is not None:
            # Closing an inherited connection could undo what the parent is doing in the file, and
            # so could its destructor: it has to stay for as long as the process.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._writer))
            self._writer = None
        for ticket in self._lock.held():
            if isinstance(ticket, Transaction):
                ticket.connection = None
        self._lock.start_again()
