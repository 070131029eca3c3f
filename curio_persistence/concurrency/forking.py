"""Notify stores of a fork, because no database connection survives one.

A SQLite connection that a child inherits shares its bookkeeping of file locks with connections
the child opens itself, and a PostgreSQL socket that two processes write to is useless to both.
So stores settle before the fork and open new connections on both sides of it.
"""

from __future__ import annotations

import os
from functools import partial
from threading import RLock
from weakref import WeakSet


class Forkable:
    """An object that is told of each fork, and by default begins anew in the child."""

    def before_fork(self) -> None:
        """Settle, so that no other thread is in the middle of a statement."""

    def after_fork(self, *, in_child: bool) -> None:
        """Continue, in the parent or in the child; also if `before_fork` was interrupted.

        A KeyboardInterrupt can end a call at any step. A second call follows then.
        """
        if in_child:
            self.start_again()

    def start_again(self) -> None:
        """Forget the parent's threads and connections, none of which the child has."""


_stores: WeakSet[Forkable] = WeakSet()
_settled: list[Forkable] = []
_lock = RLock()

generation = 1
"""Another number in the child of a fork; to compare it takes less time than `os.getpid()`."""


def follow(store: Forkable) -> None:
    """Notify this store of every fork, for as long as it lives."""
    with _lock:
        _stores.add(store)


def _before() -> None:
    # Python prints an error raised here, and forks all the same.
    if _settled:
        return
    _lock.acquire()
    _settled[:] = list(_stores)
    for store in _settled:
        store.before_fork()


def _after(*, in_child: bool) -> None:
    global generation
    generation += in_child
    while _settled:
        _settled[-1].after_fork(in_child=in_child)
        _settled.pop()
    while _lock._is_owned():  # type: ignore[attr-defined]  # as threading.Condition asks it
        _lock.release()


if hasattr(os, "register_at_fork"):
    for _ in range(2):  # The second call completes a first one that was interrupted.
        os.register_at_fork(
            before=_before,
            after_in_parent=partial(_after, in_child=False),
            after_in_child=partial(_after, in_child=True),
        )
