"""A transaction as an object: it knows its owner, its connection and its nesting depth."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock, get_ident, local
from typing import Any

from curio_persistence.concurrency.fair_lock import Ticket
from curio_persistence.errors import UnsupportedError
from curio_persistence.store.base import Store


class Transaction(Ticket):
    """A transaction that one thread, and one asyncio task of it, has begun.

    It is also the ticket for the permit it holds: the writer, or a pooled connection.
    """

    __slots__ = ("connection", "depth", "ended", "last_steps", "lock", "task")

    def __init__(self) -> None:
        super().__init__()
        self.task = current_task()
        self.depth = 0
        self.connection: Any = None
        self.ended = False
        self.last_steps: list[Callable[[], object]] = []
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


class TransactionalStore(Store):
    """A store whose threads have a transaction each, with savepoints inside it."""

    def __init__(self, mine: ThreadTransaction) -> None:
        super().__init__()
        self._mine = mine

    @abstractmethod
    def _enter(self, transaction: Transaction) -> None:
        """Wait for a permit and a connection, assign it to the transaction, and begin."""

    @abstractmethod
    def _commit(self, transaction: Transaction) -> None:
        """Make the changes of the outermost transaction permanent."""

    @abstractmethod
    def _finish(self, transaction: Transaction) -> None:
        """Roll back what was not committed, and release the permit and the connection.

        It is called twice, because a KeyboardInterrupt may end the first call at any step.
        """

    @abstractmethod
    def _set_savepoint(self, transaction: Transaction, depth: int) -> Any:
        """Set a savepoint, and return what identifies it."""

    @abstractmethod
    def _release_savepoint(self, transaction: Transaction, savepoint: Any) -> None:
        """Forget a savepoint, and keep the changes behind it."""

    @abstractmethod
    def _return_to_savepoint(self, transaction: Transaction, savepoint: Any) -> None:
        """Undo the changes behind a savepoint, and forget it."""

    def _is_inside(self) -> bool:
        return self._mine.current() is not None

    def before_commit(self, action: Callable[[], object]) -> None:
        transaction = self._mine.current()
        if transaction is None:
            action()
        else:
            transaction.last_steps.append(action)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        transaction = self._mine.current()
        yield from self._outermost() if transaction is None else self._savepoint(transaction)

    def _outermost(self) -> Iterator[None]:
        transaction = Transaction()
        try:
            self._enter(transaction)
            self._mine.transaction, transaction.depth = transaction, 1
            yield
            transaction.leave(1)
            for step in transaction.last_steps:
                step()
            self._commit(transaction)
        finally:
            transaction.ended, transaction.depth = True, 0  # A call could be interrupted.
            try:
                self._finish(transaction)
            finally:
                self._finish(transaction)

    def _savepoint(self, transaction: Transaction) -> Iterator[None]:
        depth, steps = transaction.depth, len(transaction.last_steps)
        savepoint = self._set_savepoint(transaction, depth)
        try:
            transaction.depth = depth + 1
            yield
            transaction.leave(depth + 1)
            transaction.depth = depth
            self._release_savepoint(transaction, savepoint)
        except BaseException:
            del transaction.last_steps[steps:]
            if transaction.depth >= depth:  # Otherwise an outer block has undone it.
                transaction.depth = depth
                self._return_to_savepoint(transaction, savepoint)
            raise


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
