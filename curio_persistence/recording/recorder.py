"""Records an agent's run as it happens, for agents without a framework.

Needs nothing but the ten published methods, so it works on anybody's persistence.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from decimal import Decimal
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from curio_persistence.errors import ConfigurationError, ConflictError, NotFoundError
from curio_persistence.models import (
    METRIC,
    TOOL_CALL,
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    AgentRunStatus,
    EventType,
    Level,
)
from curio_persistence.recording.breaker import breaker_of
from curio_persistence.store.codecs import json_text

if TYPE_CHECKING:
    from logging import Logger

    from curio_persistence.base import BasePersistence

OnError = Literal["log", "raise"]

TOOL_CALL_STARTED = "tool_call_started"

_current: ContextVar[RunRecorder | None] = ContextVar("curio_persistence_run", default=None)
_LEVELS: Mapping[str, Level] = {
    AgentRunStatus.ERROR: Level.ERROR,
    AgentRunStatus.TIMEOUT: Level.ERROR,
    AgentRunStatus.CANCELLED: Level.WARNING,
}
"""How severe it is when a run ends so; it did not fail if it is not here."""
_CANCELLATIONS = (KeyboardInterrupt, SystemExit, GeneratorExit)


class RunRecorder:
    """One run, being recorded: enter it with `with` or `async with`.

    `agent_run` is the record as it is so far; `lost` counts the writes that failed and were
    swallowed (`on_error="log"`). It may be used from several threads.
    """

    def __init__(
        self,
        persistence: BasePersistence,
        run: AgentRun,
        *,
        parent: RunRecorder | str | None = None,
        on_error: OnError = "log",
    ) -> None:
        if on_error not in ("log", "raise"):
            raise ConfigurationError(f"on_error is 'log' or 'raise', not {on_error!r}.")
        self.agent_run = run
        self.lost = 0
        self._persistence = persistence
        self._clock = persistence.clock
        self._breaker = breaker_of(persistence)
        self._parent = parent
        self._on_error = on_error
        self._created = False
        self._ended = False
        self._outer: RunRecorder | None = None

    @property
    def run_id(self) -> str:
        """By which all that is recorded here is found again."""
        return self.agent_run.run_id

    # --- what happens in the run --------------------------------------------------------------

    def log(
        self,
        event_type: str,
        data: Any = None,
        *,
        level: str = Level.INFO,
        message: str | None = None,
    ) -> None:
        """Append an event that happened now; `data` is text or anything JSON can express."""
        self._keep(self._log_event, event_type, data, level, message)

    def metric(
        self,
        name: str,
        value: float,
        *,
        unit: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Append one measured value, as `query_metrics` adds them up."""
        self.log(METRIC, {"name": name, "value": value, "unit": unit, "tags": tags})

    def tool(self, name: str, args: Any = None) -> ToolCall:
        """`with run.tool("search", {"q": "…"}) as call: call.result = …` times and keeps a call."""
        return ToolCall(self, name, args)

    def iteration(self) -> int:
        """Begin the next round of the agent's loop; its number, from 1."""
        self.agent_run.total_iterations += 1
        number = self.agent_run.total_iterations
        self.log(EventType.ITERATION_STARTED, {"iteration": number})
        return number

    def llm_call(
        self,
        *,
        provider: str = "",
        model: str = "",
        prompt: Any = "",
        response: Any = None,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        latency_ms: float | None = None,
        cost_usd: Decimal | float | None = None,
        cache_read_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        input_params: Any = None,
        usage_metrics: Any = None,
        status: str = "success",
        error: BaseException | str | None = None,
    ) -> None:
        """Append one model call. A prompt or response that is no text is kept as JSON."""
        if error is not None and status == "success":
            status = "error"
        self._keep(
            self._log_usage,
            prompt,
            response,
            provider=provider,
            model=model,
            input_params=input_params,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            usage_metrics=usage_metrics,
            status=status,
            error_message=_describe(error),
            latency_ms=latency_ms,
            cache_read_tokens=cache_read_tokens,
            cache_write_tokens=cache_write_tokens,
            reasoning_tokens=reasoning_tokens,
            cost_usd=cost_usd,
        )

    def _log_usage(self, prompt: Any, response: Any, **rest: Any) -> None:
        asked, answered = _as_text(prompt) or "", _as_text(response)
        usage = AgentLLMUsage(
            self.agent_run.agent_id,
            self.run_id,
            prompt=asked,
            prompt_length=len(asked),
            response_content=answered,
            response_length=None if answered is None else len(answered),
            **rest,
        )
        self._persistence.log_llm_usage(usage)

    def finish(self, output: Any = None, *, status: str = AgentRunStatus.COMPLETED) -> None:
        """End the run with its result. Leaving the `with` block does it too, without a result."""
        if output is not None:
            self._keep(self._set_output, output)
        self._end(status)

    def _set_output(self, output: Any) -> None:
        self.agent_run.final_synthesis_output = _as_text(output)

    # --- begin and end ------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._begin()
        self._enter_context()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave_context()
        self._end_with(error)

    def _enter_context(self) -> None:
        """Be the run that those which begin in this context are children of."""
        _current.set(self)

    def _leave_context(self) -> None:
        if _current.get() is self:  # Else a generator is left out of turn.
            _current.set(self._outer)

    def _begin(self) -> None:
        self._outer = _enclosing_run()
        parent = self._outer if self._parent is None else self._parent
        self.agent_run.parent_run_id = parent.run_id if isinstance(parent, RunRecorder) else parent
        self.agent_run.started_at = self._clock.stamp(self.run_id)
        self.agent_run.status = AgentRunStatus.RUNNING.value
        self._keep(self._create)
        self.log(EventType.RUN_STARTED, {"objective": self.agent_run.objective})

    def _end_with(self, error: BaseException | None) -> None:
        if error is None:
            if not self._ended:
                self.finish()
            return
        try:
            self._fail(error)
        except Exception as second:  # The body's exception is the one to go on.
            error.add_note(f"The end of run {self.run_id} could not be recorded: {second}")

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def _fail(self, error: BaseException) -> None:
        status = AgentRunStatus.CANCELLED if _is_cancellation(error) else AgentRunStatus.ERROR
        self.agent_run.error_message = _describe(error)
        self._end(status)

    def _end(self, status: str) -> None:
        run = self.agent_run
        run.status = _word(status)
        event_type = EventType.RUN_ERROR if run.status in _LEVELS else EventType.RUN_COMPLETED
        data = {"status": run.status, "error": run.error_message}
        self.log(event_type, data, level=_LEVELS.get(run.status, Level.INFO))
        run.finished_at = self._clock.stamp(self.run_id)
        self._ended = True
        self._keep(self._update)

    def _create(self) -> None:
        try:
            self._persistence.create_agent_run(self.agent_run)
        except ConflictError:
            if self._on_error == "raise":
                raise
            self._take_another_id()
            self._persistence.create_agent_run(self.agent_run)
        self._created = True

    def _take_another_id(self) -> None:
        """Record under an id of its own, so that the run that has this one is not overwritten."""
        taken, self.agent_run.run_id = self.run_id, _new_id()
        _logger().warning("Run %s exists already; recording as run %s", taken, self.run_id)

    def _update(self) -> None:
        try:
            self._persistence.update_agent_run(self.run_id, self.agent_run)
        except NotFoundError:
            if self._created:
                raise
            self._create()  # The first attempt failed: the database may have come back since.

    def _log_event(
        self, event_type: str, data: Any, level: str = Level.INFO, message: str | None = None
    ) -> None:
        run = self.agent_run
        event = AgentRunEvent(
            run.agent_id,
            run.run_id,
            run.agent_name,
            event_type=_word(event_type),
            data=data,
            session_id=run.session_id,
            level=_word(level),
            message=message,
        )
        self._persistence.log_agent_run_event(event)

    def _keep(self, write: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        """Write, and by default let no failure of it reach the agent."""
        if self._on_error == "raise":
            write(*args, **kwargs)
            return
        try:
            self._breaker.call(write, *args, **kwargs)
        except Exception as error:
            self.lost += 1
            if self.lost == 1:
                _logger().error(
                    "Run %s goes on without being recorded in full: %s (logged once for each run; "
                    "RunRecorder.lost counts)",
                    self.run_id,
                    error,
                    exc_info=True,
                )


class ToolCall:
    """One call of a tool: set `result` in the block; time and exception are kept by themselves."""

    def __init__(self, run: RunRecorder, name: str, args: Any) -> None:
        self.result: Any = None
        self._run = run
        self._name = name
        self._args = args
        self._begin = 0.0

    def __enter__(self) -> Self:
        self._log_begin()
        self._begin = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._log_end(error, time.perf_counter() - self._begin)

    def _log_begin(self) -> None:
        # Stored before the call as well: if it kills the process, the record shows the call.
        self._run.log(TOOL_CALL_STARTED, {"tool_name": self._name, "args": self._args})

    def _log_end(self, error: BaseException | None, seconds: float) -> None:
        data = {
            "tool_name": self._name,
            "args": self._args,
            "result": self.result,
            "latency_ms": round(seconds * 1000, 3),
            "error": _describe(error),
        }
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


def record_run(
    persistence: BasePersistence,
    *,
    agent_id: str,
    objective: str = "",
    agent_name: str = "",
    run_id: str | None = None,
    session_id: str | None = None,
    parent: RunRecorder | str | None = None,
    additional_context: Any = None,
    metadata: Any = None,
    tags: list[str] | None = None,
    on_error: OnError = "log",
) -> RunRecorder:
    """See `BasePersistence.record_run`."""
    run = AgentRun(
        agent_id,
        run_id or _new_id(),
        agent_name,
        objective,
        additional_context,
        metadata=metadata,
        session_id=session_id,
        tags=tags,
    )
    return RunRecorder(persistence, run, parent=parent, on_error=on_error)


def _word(value: Any) -> str:
    """A status or an event type, which an Enum member spells by its value."""
    return str(value.value if isinstance(value, Enum) else value)


def _enclosing_run() -> RunRecorder | None:
    """The innermost run of this context that goes on; a generator may have left ended ones."""
    run = _current.get()
    while run is not None and run._ended:
        run = run._outer
    return run


def _new_id() -> str:
    import uuid  # Here, like logging below: each would be a tenth of the package's import time.

    return str(uuid.uuid4())


def _logger() -> Logger:
    import logging

    return logging.getLogger(__name__)


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json_text(value)


def _is_cancellation(error: BaseException) -> bool:
    # Looked up, not imported: asyncio takes almost as long to import as all of this package.
    asyncio = sys.modules.get("asyncio.exceptions")
    return isinstance(error, _CANCELLATIONS) or (
        asyncio is not None and isinstance(error, asyncio.CancelledError)
    )


def _describe(error: BaseException | str | None) -> str | None:
    """`ValueError: what it says`, even of an exception that cannot say it."""
    if error is None or isinstance(error, str):
        return error
    try:
        said = str(error)
    except Exception:
        said = "(it has no text)"
    name = type(error).__name__
    return f"{name}: {said}" if said else name
