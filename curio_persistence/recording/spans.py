"""Record what happens inside a run: blocks that are timed, and whose exceptions are kept."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from curio_persistence.models import EventType, Level
from curio_persistence.recording.context import Scope, innermost
from curio_persistence.recording.failures import describe, traceback_of
from curio_persistence.recording.ids import new_span_id

if TYPE_CHECKING:
    from curio_persistence.recording.run import RecordedRun

_SPAN_STARTED, _SPAN = EventType.SPAN_STARTED.value, EventType.SPAN.value
_TOOL_CALL_STARTED, _TOOL_CALL = EventType.TOOL_CALL_STARTED.value, EventType.TOOL_CALL.value
_INFO, _WARNING = Level.INFO.value, Level.WARNING.value


class Block(Scope):
    """A part of a run: enter it with `with`, once."""

    __slots__ = ("_begin", "_milliseconds")

    def __init__(self, run: RecordedRun) -> None:
        super().__init__(run)
        self._begin = self._milliseconds = 0.0

    def _start(self) -> None:
        """Take ids, record the begin, and start the clock."""
        self._use()
        around = innermost(self._run)
        self.trace_id, self.parent_span_id = around.trace_id, around.span_id
        self.span_id = new_span_id()
        self._record_begin()
        self._begin = time.perf_counter()

    def _elapsed_ms(self) -> float:
        return round((time.perf_counter() - self._begin) * 1000, 3)

    def _leave_context(self) -> None:
        self._milliseconds = self._elapsed_ms()
        super()._leave_context()

    def _close(self, error: BaseException | None) -> None:
        if self._is_of_parent():
            return
        try:
            self._record_end(error, self._milliseconds)
        except Exception as second:
            if error is None:
                raise
            error.add_note(f"{self!r} could not be recorded: {second}")

    def _record_begin(self) -> None:
        raise NotImplementedError

    def _record_end(self, error: BaseException | None, milliseconds: float) -> None:
        raise NotImplementedError


class Span(Block):
    """A part of a run that has a name: `output` is what came of it, kept as JSON.

    What is recorded in its block belongs to it: events, tools, model calls and child runs.
    """

    __slots__ = {  # noqa: RUF023
        "output": "What came of it: any value.",
        "_input": None,
        "_kind": None,
        "_name": None,
    }

    def __init__(self, run: RecordedRun, name: str, kind: str, value: Any) -> None:
        super().__init__(run)
        self.output: Any = None
        self._name = name
        self._kind = kind
        self._input = value

    def __repr__(self) -> str:
        return f"<Span {self._name!r} in run {self._run.run_id}>"

    def _record_begin(self) -> None:
        data = {"name": self._name, "kind": self._kind, "input": self._input}
        self._run._log_span(self, _SPAN_STARTED, data, _INFO)

    def _record_end(self, error: BaseException | None, milliseconds: float) -> None:
        data = {
            "name": self._name,
            "kind": self._kind,
            "input": self._input,
            "output": self.output,
            "latency_ms": milliseconds,
        }
        self._run._log_span(self, _SPAN, data | _failure(error), _level(error))


class ToolCall(Block):
    """One call of a tool: set `result` in the block; time and exception are recorded for it."""

    __slots__ = {  # noqa: RUF023
        "result": "What the tool returned: any value.",
        "_args": None,
        "_name": None,
    }

    def __init__(self, run: RecordedRun, name: str, args: Any) -> None:
        super().__init__(run)
        self.result: Any = None
        self._name = name
        self._args = args

    def __repr__(self) -> str:
        return f"<ToolCall {self._name!r} in run {self._run.run_id}>"

    def _record_begin(self) -> None:
        # Stored before the call as well: if it kills the process, the record shows the call.
        data = {"tool_name": self._name, "args": self._args}
        self._run._log_span(self, _TOOL_CALL_STARTED, data, _INFO)

    def _record_end(self, error: BaseException | None, milliseconds: float) -> None:
        data = {
            "tool_name": self._name,
            "args": self._args,
            "result": self.result,
            "latency_ms": milliseconds,
        }
        self._run._log_span(self, _TOOL_CALL, data | _failure(error), _level(error))


def _failure(error: BaseException | None) -> dict[str, str | None]:
    said: dict[str, str | None] = {"error": describe(error)}
    return said if error is None else said | {"traceback": traceback_of(error)}


def _level(error: BaseException | None) -> str:
    # The agent may yet come to terms with a failure; if not, the run ends with an error.
    return _INFO if error is None else _WARNING
