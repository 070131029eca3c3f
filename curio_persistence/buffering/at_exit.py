"""Close queues at a normal exit of the process."""

from __future__ import annotations

import atexit
import os
import sys
import time
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakSet

from curio_persistence.errors import PersistenceError

_PATIENCE = 30.0


class Closable(Protocol):
    def close(self, patience: float) -> None: ...


_queues: WeakSet[Closable] = WeakSet()
_registered_in = 0


def follow(queue: Closable) -> None:
    """Close this queue at the exit, if it lives until then."""
    _queues.add(queue)
    register()


def register() -> None:
    """Close every queue at a normal exit of this process, and at that of a worker of
    multiprocessing, which runs no exit handlers but those registered with `Finalize`."""
    global _registered_in
    if _registered_in == os.getpid():
        return
    _registered_in = os.getpid()
    atexit.register(_close_all)
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _close_all, exitpriority=0)


def _close_all() -> None:
    deadline = time.monotonic() + _PATIENCE
    for queue in list(_queues):
        with suppress(PersistenceError):  # The queue has counted and logged it.
            queue.close(max(deadline - time.monotonic(), 0))
