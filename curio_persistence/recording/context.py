"""Find the run or span in whose block the calling code runs, for each persistence apart.

Entered blocks form a chain in a context variable, so threads and tasks have chains of their own.
A block entered by a generator does not count while the generator is paused at a `yield`: its
consumer runs then, in the same context.
"""

from __future__ import annotations

import sys
from _thread import allocate_lock
from collections.abc import Iterator
from contextvars import ContextVar
from time import perf_counter
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from curio_persistence.concurrency import forking
from curio_persistence.errors import UnsupportedError
from curio_persistence.models import Score
from curio_persistence.recording.failures import Told

if TYPE_CHECKING:
    from curio_persistence.recording.recorder import RunRecorder
    from curio_persistence.recording.run import RecordedRun

_GENERATOR, _ITERABLE_COROUTINE, _ASYNC_GENERATOR = 0x20, 0x100, 0x200
_AFTER_YIELD = 1
"""The operand of the instruction RESUME after a `yield`; after an `await` it is 3."""

_DECORATORS = "curio_persistence.recording.decorators"
"""Its generators stand for those that they record."""

_current: ContextVar[Scope | None] = ContextVar("curio_persistence_scope", default=None)


class Scope:
    """A block that is recorded, a run or a span of it; it can be entered once."""

    __slots__ = {  # noqa: RUF023
        "trace_id": "OpenTelemetry's id of all that is below an outermost run: 32 hex digits.",
        "span_id": "OpenTelemetry's id of this block: 16 hex digits.",
        "parent_span_id": "The span_id of the block around it; None for an outermost run.",
        "_began": None,
        "_beside": None,
        "_frame": None,
        "_generation": None,
        "_is_open": None,
        "_left": None,
        "_outside": None,
        "_run": None,
        "_unused": None,
    }

    def __init__(self, run: RecordedRun) -> None:
        self.trace_id = self.span_id = ""
        self.parent_span_id: str | None = None
        self._run = run
        self._generation = 0  # The process that entered the block, by `forking`.
        self._unused = allocate_lock()
        self._is_open = False
        self._began = self._left = 0.0  # When the work in the block did, by the clock.
        self._outside: Scope | None = None
        self._beside: tuple[Scope, ...] = ()
        self._frame: FrameType | None = None

    def __enter__(self) -> Self:
        self._start()
        self._enter_context(sys._getframe(1))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave_context()
        self._close(error)

    def _begin(self, current: bool) -> None:
        self._start()
        if current:
            self._enter_context(None)

    def end(self, error: BaseException | str | None = None) -> None:
        """Record the end of a block that `begin()` began, in any thread; a second end is ignored.

        `error` is what it failed with: an exception, or its text where that is all that is known.
        """
        if not self._left:
            self._leave_context()
            self._close(Told(error) if isinstance(error, str) else error)

    def score(
        self,
        name: str,
        value: float | None = None,
        *,
        label: str | None = None,
        comment: str | None = None,
        source: str = "code",
        author: str = "",
    ) -> None:
        """Score the run, or this part of it: a number, a label, or both.

        See `persistence.scores`, which keeps the latest of each name, source and author.
        """
        span_id = None if self is self._run else self.span_id
        run = self._run
        run._score(Score(run.run_id, name, value, label, comment, source, author, span_id))

    def _start(self) -> None:
        """Record the begin of the block."""
        raise NotImplementedError

    def _close(self, error: BaseException | None) -> None:
        """Record the end of the block, which was left by this exception."""
        raise NotImplementedError

    def _use(self) -> None:
        """Claim the block for the caller; of two threads at once, one is refused."""
        if not self._unused.acquire(False):
            raise UnsupportedError(
                f"{self!r} was entered before. It records one block: make another one for each."
            )
        self._generation = forking.generation

    def _is_of_parent(self) -> bool:
        """Return whether this process was forked in the block: it leaves the block as well."""
        return self._generation != forking.generation

    def _enter_context(self, frame: FrameType | None) -> None:
        """Become the innermost block of this context; `frame` is where the block stands."""
        self._outside = outside = _first_open(_current.get())
        if outside is not None and not outside._is_plain():
            self._beside = tuple(scope for scope in _chain(outside) if scope._is_paused())
        self._frame = _generator_of(frame)
        self._is_open = True
        _current.set(self)

    def _leave_context(self) -> None:
        self._left = perf_counter()
        self._is_open = False
        self._frame = None
        if _current.get() is self:  # Else a generator is left out of turn.
            _current.set(self._outside)

    def _is_plain(self) -> bool:
        """Return whether this open block has nothing to do with generators."""
        return self._is_open and self._frame is None and not self._beside

    def _is_paused(self) -> bool:
        return self._frame is not None and _is_paused(self._frame)


def scopes() -> Iterator[Scope]:
    """Yield the blocks in which the caller runs, the innermost first."""
    for scope in _chain(_current.get()):
        for paused in scope._beside:
            if paused._is_open and not paused._is_paused():
                yield paused  # It was paused when `scope` was entered, and now runs in its block.
        if not scope._is_paused():
            yield scope


def innermost(run: RecordedRun) -> Scope:
    """Return the innermost span of this run in which the caller runs, or the run itself."""
    scope = _current.get()
    if scope is not None and scope._run is run and scope._is_plain():  # The common case.
        return scope
    return next((scope for scope in scopes() if scope._run is run), run)


def enclosing(persistence: Any) -> Scope | None:
    """Return the innermost run or span that is recorded in this persistence."""
    database = _database(persistence)
    mine = (scope for scope in scopes() if _database(scope._run._persistence) is database)
    return next(mine, None)


def current_run(persistence: Any = None) -> RunRecorder | None:
    """Return the run in whose block the caller runs, None outside of all runs.

    With a persistence, only runs recorded in it count. Threads see it where they are given the
    context (`contextvars.copy_context().run(…)`); tasks and forked processes see it by themselves.
    """
    scope = next(scopes(), None) if persistence is None else enclosing(persistence)
    return None if scope is None else cast("RunRecorder", scope._run)


def _database(persistence: Any) -> Any:
    """Return what a persistence has in common with an awaited or buffered one in front of it."""
    for wrapped in ("_sync", "_store", "_inner"):
        persistence = getattr(persistence, wrapped, persistence)
    return persistence


def _chain(scope: Scope | None) -> Iterator[Scope]:
    """Yield a block and those around it, paused ones too."""
    while (scope := _first_open(scope)) is not None:
        yield scope
        scope = scope._outside


def _first_open(scope: Scope | None) -> Scope | None:
    while scope is not None and not scope._is_open:
        scope = scope._outside
    return scope


def _generator_of(frame: FrameType | None) -> FrameType | None:
    """Return the frame of the generator that a block stands in, if it stands in one.

    A generator that `contextlib` drives is a context manager: what its caller does while it is
    paused belongs into its block.
    """
    while frame is not None:
        if not _is_machinery(frame):
            if not _is_generator(frame):
                return None
            if frame.f_back is None or not _is_machinery(frame.f_back):
                return frame
        frame = frame.f_back
    return None


def _is_machinery(frame: FrameType) -> bool:
    name: str = frame.f_globals.get("__name__", "")
    return name == "contextlib" or (name.startswith("curio_persistence.") and name != _DECORATORS)


def _is_generator(frame: FrameType) -> bool:
    flags = frame.f_code.co_flags
    return bool(flags & (_GENERATOR | _ASYNC_GENERATOR)) and not flags & _ITERABLE_COROUTINE


def _is_paused(frame: FrameType) -> bool:
    """Return whether a generator waits for its consumer, not for something that it awaits."""
    if frame.f_back is not None:
        return False
    if frame.f_code.co_flags & _GENERATOR:
        return True
    from opcode import opmap

    code, at = frame.f_code.co_code, frame.f_lasti
    if code[at] != opmap["RESUME"]:  # Up to Python 3.12 it is the instruction that comes next.
        at += 2
    return bool(code[at] == opmap["RESUME"] and code[at + 1] & 3 == _AFTER_YIELD)
