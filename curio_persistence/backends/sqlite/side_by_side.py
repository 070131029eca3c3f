"""Calls that two threads make side by side.

Worth it where the calls leave the interpreter's lock to others while they work, as SQLite's do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread
from typing import Generic, TypeVar

T = TypeVar("T")


def side_by_side(
    calls: Sequence[Callable[[], T]], *, finish: Callable[[], object] = lambda: None
) -> list[T]:
    """What each call returns.

    This thread and another take the next one whenever they are free, so the longest should come
    first. What one of them raises is raised here, and those not yet begun are left. The other
    thread does `finish` at its end, and has ended when this returns or raises.
    """
    work = _Work(calls, finish)
    other = Thread(target=work.help, name="curio-side-by-side")
    with suppress(RuntimeError):  # There is no thread to be had: this one does it all.
        other.start()
    try:
        work.do()
    finally:
        work.waiting.clear()
        if other.ident is not None:
            other.join()
    return work.results()


class _Work(Generic[T]):
    def __init__(self, calls: Sequence[Callable[[], T]], finish: Callable[[], object]) -> None:
        self.waiting = deque(enumerate(calls))
        self._finish = finish
        self._done: dict[int, T] = {}
        self._failed: list[BaseException] = []

    def do(self) -> None:
        """Make calls until none is waiting."""
        while True:
            try:
                number, call = self.waiting.popleft()
            except IndexError:  # The other thread took the last one.
                return
            self._done[number] = call()

    def help(self) -> None:
        """As the other thread: `do`, with what it raises kept for the first one."""
        try:
            self.do()
        except BaseException as error:
            self.waiting.clear()
            self._failed.append(error)
        finally:
            self._finish()

    def results(self) -> list[T]:
        """In the order of the calls; raises what the other thread could not."""
        if self._failed:
            raise self._failed.pop()  # Not kept: it knows the frames that know this.
        return [self._done[number] for number in range(len(self._done))]
