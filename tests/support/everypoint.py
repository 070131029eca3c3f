"""KeyboardInterrupts at every point at which CPython can raise one, one after another.

These are where a Python function starts or resumes, and where a C function has returned
(CPython 3.11; later versions check at fewer). Jumps backwards are the only others.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from types import FrameType

from curio_persistence import AgentRun, AgentRunEvent, Persistence
from tests.support import soak

Action = Callable[[Persistence, str], object]
"""Acts on the existing run of this id, which has three events."""

EVENTS = 3
_EACH = 40
"""A short run tries this number of first points as well."""

_NOT_OURS = (__file__, logging.__file__)
"""Modules whose points are skipped: logging has hooks of its own in each fork."""


class Point:
    """A point at which an action is interrupted; the first is 0."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.passed = 0
        self.place = ""

    @property
    def reached(self) -> bool:
        return self.passed > self.number

    def interrupt(self, action: Callable[[], object]) -> None:
        """Run the action up to this point."""
        unraisable = sys.unraisablehook
        sys.unraisablehook = _all_but_interrupts  # It may be a finalizer that is interrupted.
        try:
            sys.setprofile(self._look)
            # In its own context: an interrupt can come before the recorder resets the current run.
            copy_context().run(action)
        except KeyboardInterrupt:
            pass
        finally:
            sys.setprofile(None)
            sys.unraisablehook = unraisable

    def _look(self, frame: FrameType, event: str, argument: object) -> None:
        if event not in ("call", "c_return") or frame.f_code.co_filename in _NOT_OURS:
            return
        self.passed += 1
        if self.reached:
            sys.setprofile(None)
            name = getattr(argument, "__name__", "") if event == "c_return" else "its beginning"
            self.place = f"{frame.f_code.co_filename}:{frame.f_lineno} after {name}"
            raise KeyboardInterrupt


def _all_but_interrupts(unraisable: sys.UnraisableHookArgs) -> None:
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        raise AssertionError(f"a finalizer raised {unraisable.exc_value!r}")


def interrupted_everywhere(
    persistence: Persistence, action: Action
) -> Iterator[tuple[Point, Persistence, str]]:
    """Interrupt an action at its first point, its second, and so on until it completes.

    After each, this thread and another must be able to write, and to see each other's writes.
    """
    with ThreadPoolExecutor(1) as other:
        for number in soak.points(_EACH, 5):
            point, run_id = Point(number), f"run {number}"
            prepare(persistence, run_id)
            point.interrupt(lambda run_id=run_id: action(persistence, run_id))  # type: ignore[misc]
            if not point.reached:
                return
            check_that_threads_go_on(persistence, other, run_id, point)
            yield point, persistence, run_id


def prepare(persistence: Persistence, run_id: str) -> None:
    persistence.create_agent_run(AgentRun("agent", run_id))
    persistence.log_agent_run_events([event(run_id, str(number)) for number in range(EVENTS)])


def event(run_id: str, data: str) -> AgentRunEvent:
    return AgentRunEvent("agent", run_id, event_type="custom", data=data)


def check_that_threads_go_on(
    persistence: Persistence, other: ThreadPoolExecutor, run_id: str, point: Point
) -> None:
    """Write in both threads, and let each read the other's write."""

    def write(data: str) -> None:
        persistence.log_agent_run_event(event(f"after {run_id}", data))

    def written() -> list[str]:
        return [each.data for each in persistence.get_agent_run_events(f"after {run_id}")]

    try:
        other.submit(write, "by the other").result(timeout=20)
        write("by the interrupted")
        assert other.submit(written).result(timeout=20) == ["by the other", "by the interrupted"]
        assert written() == ["by the other", "by the interrupted"]
    except BaseException as error:
        error.add_note(f"Interrupted at point {point.number}, {point.place}")
        raise
