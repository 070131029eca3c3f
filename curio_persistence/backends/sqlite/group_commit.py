"""Rows of several threads that share one commit.

The thread that gets the writer leads: it takes the rows of the same table that wait behind it, and
stores them all by one statement. The other threads follow: they wait for the outcome.
"""

from __future__ import annotations

import sqlite3
import time
from itertools import chain
from typing import Any

from curio_persistence.backends.sqlite.connections import SQLiteConnections
from curio_persistence.backends.sqlite.file import DRIVER_ERRORS
from curio_persistence.concurrency.fair_lock import FairLock, Ticket
from curio_persistence.concurrency.time_limit import within_limit
from curio_persistence.errors import BusyError
from curio_persistence.store.base import conflict, missing_reference
from curio_persistence.store.table import Row, Table

_TAKEN = (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)

_MOST = 32


class PendingInsert(Ticket):
    """A row that waits to be stored, by its own thread or by a leader.

    The cursor that will run the statement is handed over beforehand, and learns its last id within
    the very call that commits: an interrupt of the leader never makes a follower store a row twice.
    """

    __slots__ = ("_behind", "_cursor", "alone", "deadline", "leader", "row", "table")

    def __init__(self, table: Table[Any], row: Row, deadline: float) -> None:
        super().__init__()
        self.deadline = deadline
        self.table = table
        self.row = row
        self.alone = False
        self.leader: Ticket | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._behind = 0

    @property
    def ident(self) -> int | None:
        """The row's id, as soon as a group has stored it."""
        last = None if self._cursor is None else self._cursor.lastrowid
        return None if last is None else last - self._behind

    def be_stored_by(self, cursor: sqlite3.Cursor, *, behind: int) -> None:
        """Note the cursor that is about to store this row, with so many rows behind it."""
        self._behind = behind
        self._cursor = cursor

    def lead(self, lock: FairLock, followers: list[PendingInsert]) -> None:
        """Collect the waiting rows of the same table, in the order of the queue."""
        lock.take(self._may_follow, followers, _MOST - 1)

    def _may_follow(self, other: Ticket) -> bool:
        if not isinstance(other, PendingInsert) or other.table is not self.table or other.alone:
            return False
        other.leader = self
        return True

    def follow(self, lock: FairLock) -> None:
        """Wait until the leader, if there is one, has released the writer."""
        while self.leader is not None and self.ident is None and lock.is_held_by(self.leader):
            self.wait(1)
        self.alone = self.leader is not None  # Without an id, this row may be the reason.
        self.leader = None


class SQLiteInserts(SQLiteConnections):
    """Insert single rows: at once where no thread waits, else in groups."""

    def insert(self, table: Table[Any], row: Row) -> int:
        columns = tuple(row)
        sql = self._text(self._insert_text, table, columns)
        if not self._tables_are_ours:
            self._refuse_foreign_tables()
        # The hottest path: what `_write` and `_execute` do, without the function calls.
        transaction, lock, ticket = self._mine.current(), self._lock, Ticket()
        try:
            if transaction is not None:
                with transaction.lock:
                    cursor = self._connection_of(transaction).execute(sql, tuple(row.values()))
            elif lock.acquire_at_once(ticket):
                connection = self._writer or self._open_writer()
                self._wait_at_most(None, connection)
                cursor = connection.execute(sql, tuple(row.values()))
                if connection.total_changes >= self._log.next_look:
                    self._look_after(connection)
            else:
                deadline = time.monotonic() + within_limit(self._lock_timeout)
                return self._insert_in_turn(PendingInsert(table, row, deadline), sql)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
                raise missing_reference(table, row) from error
            if error.sqlite_errorcode in _TAKEN:
                raise conflict(table, row) from error
            raise self._translate(error) from error
        except DRIVER_ERRORS as error:
            raise self._translate(error) from error
        finally:
            if transaction is None:
                lock.release(ticket)
                lock.wake()
        return cursor.lastrowid or 0

    def _insert_in_turn(self, mine: PendingInsert, sql: str) -> int:
        """Wait for the writer, and lead a group; or follow the thread that has it before."""
        lock, followers = self._lock, list[PendingInsert]()
        try:
            self._lead_or_follow(mine, followers)
            if mine.ident is None:
                cursor = self._execute(sql, tuple(mine.row.values()), self._patience(mine.deadline))
                return cursor.lastrowid or 0
        except BusyError:
            if mine.ident is None:
                raise
        finally:
            lock.release(mine)
            # The next thread first, so that the disk works while the threads of this group wake up.
            lock.wake()
            for follower in followers:
                follower.signal()
        return mine.ident or 0

    def _lead_or_follow(self, mine: PendingInsert, followers: list[PendingInsert]) -> None:
        """Return when the row is stored, or when it must be stored alone and holds the lock."""
        lock = self._lock
        while not lock.acquire(mine, mine.deadline - time.monotonic()):
            if mine.leader is not None:
                mine.follow(lock)
            if mine.ident is not None:
                return
            if time.monotonic() >= mine.deadline:
                raise self._held_too_long()
        if not mine.alone:
            mine.lead(lock, followers)
            members = [mine, *followers]
            patience = self._patience(max(member.deadline for member in members))
            self._insert_together(members, patience)

    def _insert_together(self, members: list[PendingInsert], patience: float | None) -> None:
        """Store rows by one statement; if SQLite refuses one of them, each half by one.

        Single rows are left to their threads, which store them or raise.
        """
        if len(members) < 2:
            return
        table = members[0].table
        columns, lines = table.align([member.row for member in members])
        connection = self._writer or self._open_writer()
        try:
            cursor = connection.lasting_cursor()
            for behind, member in enumerate(reversed(members)):
                member.be_stored_by(cursor, behind=behind)
            sql = self._lines_text(table, columns, len(lines))
            self._wait_at_most(patience, connection)
            cursor.execute(sql, tuple(chain.from_iterable(lines)))
            if connection.total_changes >= self._log.next_look:
                self._look_after(connection)
        except sqlite3.IntegrityError:
            half = len(members) // 2
            self._insert_together(members[:half], patience)
            self._insert_together(members[half:], patience)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise self._translate(error) from error
        except Exception:  # Not raised here: the row's own thread tries it alone, and gets it.
            return

    def _lines_text(self, table: Table[Any], columns: tuple[str, ...], count: int) -> str:
        return self._text(self._insert_text, table, columns, count)
