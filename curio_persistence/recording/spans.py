"""Record what happens inside a run: blocks that are timed, and whose exceptions are kept."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from curio_persistence.models import TOOL_CALL, Level
from curio_persistence.recording.context import Scope
from curio_persistence.recording.failures import describe, traceback_of

if TYPE_CHECKING:
    from curio_persistence.recording.recorder import RunRecorder

TOOL_CALL_STARTED = "tool_call_started"


class ToolCall(Scope):
    """One call of a tool: set `result` in the block; time and exception are recorded for it."""

    __slots__ = ("_args", "_begin", "_name", "result")

    def __init__(self, run: RunRecorder, name: str, args: Any) -> None:
        super().__init__(run)
        self.result: Any = None
        self._name = name
        self._args = args
        self._begin = 0.0

    def __repr__(self) -> str:
        return f"<ToolCall {self._name!r} in run {self._run.run_id}>"

    def __enter__(self) -> Self:
        self._log_begin()
        self._enter_context(sys._getframe(1))
        self._begin = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        seconds = time.perf_counter() - self._begin
        self._leave_context()
        self._log_end(error, seconds)

    def _log_begin(self) -> None:
        # Stored before the call as well: if it kills the process, the record shows the call.
        self._use()
        self._run.log(TOOL_CALL_STARTED, {"tool_name": self._name, "args": self._args})

    def _log_end(self, error: BaseException | None, seconds: float) -> None:
        data = {
            "tool_name": self._name,
            "args": self._args,
            "result": self.result,
            "latency_ms": round(seconds * 1000, 3),
            "error": describe(error),
        }
        if error is not None:
            data["traceback"] = traceback_of(error)
        try:
            # The agent may yet come to terms with it; if not, the run ends with an error.
            self._run.log(TOOL_CALL, data, level=Level.INFO if error is None else Level.WARNING)
        except Exception as second:
            if error is None:
                raise
            error.add_note(f"This call of {self._name} could not be recorded: {second}")

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)
