"""Records an agent's run as it happens, for agents without a framework.

Needs nothing but the ten published methods, so it works on anybody's persistence.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from enum import Enum
from math import isfinite
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from curio_persistence.errors import (
    ConfigurationError,
    ConflictError,
    InvalidValueError,
    NotFoundError,
)
from curio_persistence.models import (
    METRIC,
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    AgentRunStatus,
    EventType,
    Level,
)
from curio_persistence.recording.breaker import breaker_of
from curio_persistence.recording.context import Scope, enclosing
from curio_persistence.recording.failures import (
    describe,
    is_cancellation,
    is_orderly_exit,
    status_of,
    traceback_of,
)
from curio_persistence.recording.ids import new_run_id
from curio_persistence.recording.repair import as_id, as_json_text, as_tags, as_text, repair
from curio_persistence.recording.spans import ToolCall
from curio_persistence.tables import RUNS

if TYPE_CHECKING:
    from logging import Logger

    from curio_persistence.base import BasePersistence

OnError = Literal["log", "raise"]
R = TypeVar("R", AgentRun, AgentRunEvent, AgentLLMUsage)

_LEVELS: Mapping[str, Level] = {
    AgentRunStatus.ERROR: Level.ERROR,
    AgentRunStatus.TIMEOUT: Level.ERROR,
    AgentRunStatus.CANCELLED: Level.WARNING,
}
"""The level of the last event of a run that ends with this status; any other did not fail."""


class Parent(Enum):
    """The parent of a run where none is named."""

    ENCLOSING = "enclosing"
    """The run in whose block the new one begins, if there is one."""


class RunRecorder(Scope):
    """One run, being recorded: enter it with `with` or `async with`, once.

    `agent_run` is the record as it is so far; `lost` counts the writes that failed and were
    swallowed (`on_error="log"`). It may be used from several threads.
    """

    __slots__ = (
        "_breaker",
        "_clock",
        "_created",
        "_ended",
        "_on_error",
        "_parent",
        "_persistence",
        "_process",
        "agent_run",
        "lost",
    )

    def __init__(
        self,
        persistence: BasePersistence,
        run: AgentRun,
        *,
        parent: RunRecorder | str | Parent | None = Parent.ENCLOSING,
        on_error: OnError = "log",
    ) -> None:
        if on_error not in ("log", "raise"):
            raise ConfigurationError(f"on_error is 'log' or 'raise', not {on_error!r}.")
        super().__init__(self)
        self.agent_run = run
        self.lost = 0
        self._persistence = persistence
        self._clock = persistence.clock
        self._breaker = breaker_of(persistence)
        self._parent = parent
        self._on_error = on_error
        self._process = 0
        self._created = False
        self._ended = False

    def __repr__(self) -> str:
        run = self.agent_run
        return f"<RunRecorder of run {run.run_id} ({run.agent_id}, {run.status})>"

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.agent_run.run_id

    # --- what happens in the run --------------------------------------------------------------

    def log(
        self,
        event_type: str,
        data: Any = None,
        *,
        level: str | int = Level.INFO,
        message: str | None = None,
    ) -> None:
        """Append an event that happened now; `data` is text or any value, kept as JSON.

        `level` is one of `Level`, a word of your own, or a number of Python's `logging`.
        """
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
        self._keep(self._persistence.log_agent_run_event, event)

    def metric(
        self,
        name: str,
        value: float | Decimal,
        *,
        unit: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Append one measured value, a finite number, as `query_metrics` adds them up."""
        try:
            number = _finite(value)
        except InvalidValueError as error:
            self._lose(error)
        else:
            self.log(METRIC, {"name": name, "value": number, "unit": unit, "tags": tags})

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
        """Append one model call. A prompt or response that is not text is kept as JSON."""
        if error is not None and status == "success":
            status = "error"
        asked, answered = as_json_text(prompt) or "", as_json_text(response)
        usage = AgentLLMUsage(
            self.agent_run.agent_id,
            self.run_id,
            provider=provider,
            model=model,
            prompt=asked,
            prompt_length=len(asked),
            input_params=input_params,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            response_content=answered,
            response_length=None if answered is None else len(answered),
            usage_metrics=usage_metrics,
            status=status,
            error_message=describe(error),
            latency_ms=latency_ms,  # type: ignore[arg-type]  # The column rounds it.
            cache_read_tokens=cache_read_tokens,
            cache_write_tokens=cache_write_tokens,
            reasoning_tokens=reasoning_tokens,
            cost_usd=cost_usd,  # type: ignore[arg-type]  # The column takes any number.
        )
        self._keep(self._persistence.log_llm_usage, usage)

    def finish(self, output: Any = None, *, status: str = AgentRunStatus.COMPLETED) -> None:
        """End the run with its result. Leaving the `with` block does it too, without a result.

        A second call replaces the result and the status, but is not an event.
        """
        if output is not None:
            self.agent_run.final_synthesis_output = as_json_text(output)
        self._end(status)

    # --- begin and end ------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._begin()
        self._enter_context(sys._getframe(1))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave_context()
        self._end_with(error)

    async def __aenter__(self) -> Self:
        self._begin()
        self._enter_context(sys._getframe(1))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def _begin(self) -> None:
        self._use()
        self._process = os.getpid()
        self._inherit()
        self.agent_run.started_at = self._clock.stamp(self.run_id)
        self.agent_run.status = AgentRunStatus.RUNNING.value
        self._keep(self._create, self.agent_run)
        try:
            self.log(EventType.RUN_STARTED, {"objective": self.agent_run.objective})
        except Exception as error:
            self._end_with(error)  # The block is not entered.
            raise

    def _inherit(self) -> None:
        """Take over from the parent what belongs to its session."""
        parent: Any = self._parent
        if parent is Parent.ENCLOSING:
            scope = enclosing(self._persistence)
            parent = None if scope is None else scope._run
        run = self.agent_run
        if isinstance(parent, RunRecorder):
            run.session_id = run.session_id or parent.agent_run.session_id
            parent = parent.run_id
        run.parent_run_id = parent

    def _end_with(self, error: BaseException | None) -> None:
        if os.getpid() != self._process:  # A forked child leaves the block too.
            return
        if error is None or is_orderly_exit(error):
            if not self._ended:
                self.finish()
            return
        if self._ended and is_cancellation(error):
            return  # The result was there before.
        self.agent_run.error_message = describe(error)
        try:
            self._end(status_of(error), error)
        except Exception as second:  # The body's exception is the one to go on.
            error.add_note(f"The end of run {self.run_id} could not be recorded: {second}")

    def _end(self, status: str, error: BaseException | None = None) -> None:
        run = self.agent_run
        run.status = _word(status)
        is_news = not self._ended or error is not None
        self._ended, self._is_open = True, False
        if is_news:
            self._log_end(error)
        run.finished_at = self._clock.stamp(self.run_id)
        self._keep(self._update, run)

    def _log_end(self, error: BaseException | None) -> None:
        run = self.agent_run
        data = {"status": run.status, "error": run.error_message}
        if error is not None:
            data["traceback"] = traceback_of(error)
        failed = run.status in _LEVELS
        event_type = EventType.RUN_ERROR if failed else EventType.RUN_COMPLETED
        self.log(event_type, data, level=_LEVELS.get(run.status, Level.INFO))

    def _create(self, run: AgentRun) -> None:
        try:
            self._persistence._begin_run(run)
        except ConflictError:
            if self._on_error == "raise":
                raise
            self._take_another_id()
            self._persistence._begin_run(run)
        self._created = True

    def _take_another_id(self) -> None:
        """Record under an id of its own, so that the run that has this one is not overwritten."""
        taken, self.agent_run.run_id = self.run_id, new_run_id(self._clock.now())
        _logger().warning("Run %s exists already; recording as run %s", taken, self.run_id)

    def _update(self, run: AgentRun) -> None:
        try:
            self._persistence._end_run(self.run_id, run)
        except NotFoundError:
            if self._created:
                raise
            self._create(run)  # The first attempt failed: the database may have come back since.

    # --- failures to record -------------------------------------------------------------------

    def _keep(self, write: Callable[[R], None], record: R) -> None:
        """Write a record, and by default let no failure of it reach the agent."""
        if self._on_error == "raise":
            write(record)
            return
        try:
            self._keep_nearest(write, record)
        except Exception as error:
            self._lose(error)

    def _keep_nearest(self, write: Callable[[R], None], record: R) -> None:
        """Write a record, or the nearest one that can be stored."""
        try:
            self._breaker.call(write, record)
        except InvalidValueError as error:
            if not (refused := repair(record)):
                raise
            self._breaker.call(write, record)
            _logger().warning(
                "Run %s: %s.%s is not as it was given: %s",
                self.run_id,
                type(record).__name__,
                ", ".join(refused),
                error,
            )

    def _lose(self, error: Exception) -> None:
        if self._on_error == "raise":
            raise error
        self.lost += 1
        if self.lost == 1:
            _logger().error(
                "Run %s is only partly recorded: %s: %s (logged once for each run; "
                "RunRecorder.lost counts)",
                self.run_id,
                type(error).__name__,
                error,
            )
            _logger().debug("Run %s is only partly recorded", self.run_id, exc_info=error)


def record_run(
    persistence: BasePersistence,
    *,
    agent_id: str,
    objective: Any = "",
    agent_name: str = "",
    run_id: str | None = None,
    session_id: str | None = None,
    parent: RunRecorder | str | Parent | None = Parent.ENCLOSING,
    additional_context: Any = None,
    metadata: Any = None,
    tags: str | Collection[str] | None = None,
    on_error: OnError = "log",
) -> RunRecorder:
    """See `BasePersistence.record_run`."""
    if not isinstance(parent, RunRecorder | Parent):
        parent = _checked_id("parent_run_id", parent)
    run = AgentRun(
        _checked_id("agent_id", agent_id),
        new_run_id(persistence.clock.now()) if run_id is None else _checked_id("run_id", run_id),
        as_text(agent_name),
        as_json_text(objective) or "",
        additional_context,
        metadata=metadata,
        session_id=_checked_id("session_id", session_id),
        tags=_checked_tags(tags),
    )
    return RunRecorder(persistence, run, parent=parent, on_error=on_error)


def _checked_id(name: str, value: Any) -> Any:
    """Return an id as text; raise InvalidValueError for what cannot be one."""
    text = as_id(value)
    RUNS.encode_value(name, text)
    return text


def _checked_tags(tags: Any) -> list[str] | None:
    if tags is None or isinstance(tags, str | Collection):
        return as_tags(tags)
    field = "AgentRun.tags"
    raise InvalidValueError(f"{field} is text or texts, not {type(tags).__name__}.", field=field)


def _finite(value: Any) -> float:
    """Return a number as a float; raise InvalidValueError for what is not a finite number."""
    is_number = not isinstance(value, str | bytes | bool) and hasattr(type(value), "__float__")
    try:
        if is_number and isfinite(number := float(value)):
            return number if type(value) is not int else value
    except (ValueError, TypeError, OverflowError):
        pass
    raise InvalidValueError(f"A metric is a finite number, not {value!r:.80}.", field="value")


def _word(value: Any) -> Any:
    """Return a status, a level or an event type, which an Enum member spells by its value."""
    return value.value if isinstance(value, Enum) else value


def _logger() -> Logger:
    # Here, as importing it takes a tenth of the time that the package takes.
    import logging

    return logging.getLogger(__name__)
