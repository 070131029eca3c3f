"""Record what happens inside a run: blocks that are timed, and whose exceptions are kept."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Self

from curio_persistence.models import EventType, Level
from curio_persistence.recording.context import Scope, innermost
from curio_persistence.recording.failures import describe, traceback_of
from curio_persistence.recording.ids import new_span_id

if TYPE_CHECKING:
    from curio_persistence.recording.run import RecordedRun

_INFO, _WARNING = Level.INFO.value, Level.WARNING.value


class Block(Scope):
    """A part of a run: enter it with `with`, once."""

    __slots__ = ("_inside",)

    def __init__(self, run: RecordedRun) -> None:
        super().__init__(run)
        self._inside: Scope | None = None

    def begin(self, *, inside: Scope | None = None, current: bool = True) -> Self:
        """Begin without a `with` block, as frameworks do that call back; `end()` ends it.

        `inside` is the run or the block of it that it belongs to, by default the innermost in which
        the caller runs. With `current=False` it does not become that of what the caller does next.
        """
        self._inside = inside
        self._begin(current)
        return self

    def _start(self) -> None:
        """Take ids, record the begin, and start the clock."""
        self._use()
        around = innermost(self._run) if self._inside is None else self._inside
        self.trace_id, self.parent_span_id = around.trace_id, around.span_id
        self.span_id = new_span_id()
        self._record_begin()
        self._began = perf_counter()

    def _milliseconds(self, until: float) -> float:
        return round((until - self._began) * 1e6) / 1000

    def _close(self, error: BaseException | None) -> None:
        if self._is_of_parent():
            return
        try:
            self._record_end(error, self._milliseconds(self._left))
        except Exception as second:
            if error is None:
                raise
            error.add_note(f"{self!r} could not be recorded: {second}")

    def _record_begin(self) -> None:
        raise NotImplementedError

    def _record_end(self, error: BaseException | None, milliseconds: float) -> None:
        raise NotImplementedError


class Work(Block):
    """A block that two events record: one at its begin, and one at its end with the outcome."""

    __slots__ = ("_given",)

    _started: ClassVar[str]
    _ended: ClassVar[str]
    """The types of its events."""
    _outcome: ClassVar[str]
    """The attribute that the caller sets in the block, by its name in the event."""

    def __init__(self, run: RecordedRun, given: dict[str, Any]) -> None:
        super().__init__(run)
        self._given = given
        setattr(self, self._outcome, None)

    def __repr__(self) -> str:
        name = next(iter(self._given.values()))
        return f"<{type(self).__name__} {name!r} in run {self._run.run_id}>"

    def _record_begin(self) -> None:
        # Stored before the work as well: if it kills the process, the record shows it.
        self._run._log(self._started, self._given, _INFO, self.span_id, self.parent_span_id)

    def _record_end(self, error: BaseException | None, milliseconds: float) -> None:
        data = {
            **self._given,
            self._outcome: getattr(self, self._outcome),
            "latency_ms": milliseconds,
            "error": describe(error),
        }
        level = _INFO
        if error is not None:
            if error.__traceback__ is not None:
                data["traceback"] = traceback_of(error)
            level = _WARNING  # The agent may yet come to terms with it; if not, the run fails.
        self._run._log(self._ended, data, level, self.span_id, self.parent_span_id)


class Span(Work):
    """A part of a run that has a name: `output` is what came of it, kept as JSON.

    What is recorded in its block belongs to it: events, tools, model calls and child runs.
    """

    __slots__ = {"output": "What came of it: any value."}

    _started, _ended = EventType.SPAN_STARTED.value, EventType.SPAN.value
    _outcome = "output"

    output: Any


class ToolCall(Work):
    """One call of a tool: set `result` in the block; time and exception are recorded for it."""

    __slots__ = {"result": "What the tool returned: any value."}

    _started, _ended = EventType.TOOL_CALL_STARTED.value, EventType.TOOL_CALL.value
    _outcome = "result"

    result: Any

    @property
    def args(self) -> Any:
        """The tool's arguments; what is set in the block is recorded at its end."""
        return self._given["args"]

    @args.setter
    def args(self, args: Any) -> None:
        self._given = {**self._given, "args": args}
