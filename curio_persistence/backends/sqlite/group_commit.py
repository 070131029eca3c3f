"""Rows of several threads that share one commit.

A group is stored by one statement, not by a transaction of several: SQLite keeps all of it or
nothing, and a signal handler that writes finds it done or not begun.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from threading import Lock
from typing import Any

from curio_persistence.concurrency.fair_lock import Waiter
from curio_persistence.store.table import Row, Table

_MOST = 32


class Insertion(Waiter):
    """A row that waits to be stored, by its own thread or along with the row of another.

    What stores it is a cursor, handed over beforehand. A cursor comes to know its last id within
    the very call that commits: whatever interrupts whichever thread, nothing is stored twice.
    """

    __slots__ = ("_behind", "_claim", "_cursor", "alone", "row", "table")

    def __init__(self, table: Table[Any], row: Row) -> None:
        super().__init__()
        self.table = table
        self.row = row
        self.alone = False
        self._claim = Lock()  # Held by the leader of a group, or by whoever has given up.
        self._cursor: sqlite3.Cursor | None = None
        self._behind = 0

    @property
    def ident(self) -> int | None:
        """The row's id, as soon as it is stored in a group."""
        last = None if self._cursor is None else self._cursor.lastrowid
        return None if last is None else last - self._behind

    def is_served(self) -> bool:
        return self.ident is not None

    def withdraw(self) -> bool:
        return self._claim.acquire(blocking=False)

    def take(self) -> bool:
        """Promise to store it; False if somebody else has, or it is wanted no more."""
        return not self.alone and self._claim.acquire(blocking=False)

    def let_go(self) -> None:
        """Leave it to its own thread: the group came to nothing, perhaps for this row's sake."""
        self.alone = True
        with suppress(RuntimeError):  # It was about to be taken.
            self._claim.release()

    def be_stored_by(self, cursor: sqlite3.Cursor, *, behind: int) -> None:
        """By the statement that this cursor will run, with so many rows behind this one."""
        self._behind = behind
        self._cursor = cursor


class Group:
    """The insertion of whoever has the turn, and those he takes along."""

    def __init__(self, first: Insertion) -> None:
        self.members = [first]

    def gather(self, waiting: Iterable[Waiter]) -> None:
        """Take along who wants the same table, in the order of the queue."""
        table = self.members[0].table
        for waiter in waiting:
            if len(self.members) == _MOST:
                return
            if isinstance(waiter, Insertion) and waiter.table is table:
                self.members.append(waiter)  # First: what is taken must be let go, come what may.
                if not waiter.take():
                    self.members.pop()

    def dissolve(self) -> None:
        """Tell all how it went."""
        for member in self.members[1:]:
            if not member.is_served():
                member.let_go()
            member.call()
