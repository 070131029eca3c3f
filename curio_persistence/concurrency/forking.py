"""Tells stores of a fork, because no database connection survives one.

A SQLite connection that a child inherits shares its bookkeeping of file locks with connections
the child opens itself, and a PostgreSQL socket that two processes write to is of use to neither.
So stores settle before the fork and open new connections on both sides of it.
"""

from __future__ import annotations

import os
from threading import Lock
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    def before_fork(self) -> None:
        """Settle: let no other thread be in the middle of something."""

    def after_fork(self, *, in_child: bool) -> None:
        """Go on, in the parent or in the child."""


_stores: WeakSet[Forkable] = WeakSet()
_settled: list[Forkable] = []
_lock = Lock()


def follow(store: Forkable) -> None:
    """Tell this store of every fork from now on, for as long as it lives."""
    with _lock:
        _stores.add(store)


def _before() -> None:
    _lock.acquire()
    _settled[:] = list(_stores)
    for store in _settled:
        store.before_fork()


def _after(*, in_child: bool) -> None:
    for store in _settled:
        store.after_fork(in_child=in_child)
    _settled.clear()
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before,
        after_in_parent=lambda: _after(in_child=False),
        after_in_child=lambda: _after(in_child=True),
    )
