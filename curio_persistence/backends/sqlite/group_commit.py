"""Rows of several threads that share one commit.

The thread that gets the writer leads: it takes the rows of the same table that wait behind it, and
stores them all by one statement. The others follow: they wait for the outcome.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from curio_persistence.concurrency.fair_lock import FairLock, Ticket

if TYPE_CHECKING:
    from curio_persistence.store.table import Row, Table

_MOST = 32


class PendingInsert(Ticket):
    """A row that waits to be stored, by its own thread or by a leader.

    The cursor that will run the statement is handed over beforehand, and learns its last id within
    the very call that commits: an interrupt of the leader never makes a follower store a row twice.
    """

    __slots__ = ("_behind", "_cursor", "alone", "leader", "row", "table")

    def __init__(self, table: Table[Any], row: Row) -> None:
        super().__init__()
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
        """Take along the rows of the same table that wait, in the order of the queue."""
        lock.take(self._may_follow, followers, _MOST - 1)

    def _may_follow(self, other: Ticket) -> bool:
        if not isinstance(other, PendingInsert) or other.table is not self.table or other.alone:
            return False
        other.leader = self
        return True

    def follow(self, lock: FairLock) -> None:
        """Wait until the leader, if there is one, has given the writer back."""
        while self.leader is not None and self.ident is None and lock.is_held_by(self.leader):
            self.wait(1)
        self.alone = self.leader is not None  # If there is no id, this row may be the reason.
        self.leader = None
