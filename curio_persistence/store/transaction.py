"""A transaction as an object: it knows its owner, its connection and its nesting depth."""

from __future__ import annotations

import sys
from threading import RLock, get_ident, local
from typing import Any

from curio_persistence.concurrency.fair_lock import Ticket
from curio_persistence.errors import UnsupportedError


class Transaction(Ticket):
    """A transaction that one thread, and one asyncio task of it, has begun.

    It is also the ticket for the permit it holds: the writer, or a pooled connection.
    """

    __slots__ = ("connection", "depth", "ended", "lock", "task")

    def __init__(self) -> None:
        super().__init__()
        self.task = current_task()
        self.depth = 0
        self.connection: Any = None
        self.ended = False
        # Held for each statement, so that another thread that ends it waits for the statement.
        self.lock = RLock()

    def leave(self, depth: int) -> None:
        """Check that the block at this depth is the innermost, and its owner leaves it."""
        if self.thread != get_ident():
            raise left_elsewhere()
        if self.ended or self.depth != depth:
            raise interleaved()


class ThreadTransaction(local):
    """The transaction of the calling thread."""

    transaction: Transaction | None = None

    def current(self) -> Transaction | None:
        """Return the open transaction of the caller, or None."""
        transaction = self.transaction
        if transaction is None or transaction.ended:
            return None
        if transaction.task is not current_task():
            raise interleaved()
        return transaction

    def required(self) -> Transaction:
        """Return the open transaction of the caller, which must have one."""
        transaction = self.current()
        if transaction is None:  # Another thread has ended it.
            raise left_elsewhere()
        return transaction


def current_task() -> object:
    """Return the running asyncio task, if any: tasks share their thread and its transaction."""
    asyncio = sys.modules.get("asyncio")  # Not imported: most programs do not use asyncio.
    if asyncio is None:
        return None
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def interleaved() -> UnsupportedError:
    """Return the error for work that would become part of another task's transaction."""
    return UnsupportedError(
        "Another task, or a generator, has a transaction open in this thread. End each transaction "
        "before the next begins: do not await or yield inside transaction()."
    )


def left_elsewhere() -> UnsupportedError:
    """Return the error for a transaction that another thread leaves than the one that began it."""
    return UnsupportedError(
        "This transaction was entered in another thread, and nothing of it is stored. Enter and "
        "leave transaction() in one function: a web framework may run the two halves of a "
        "dependency in different threads."
    )
