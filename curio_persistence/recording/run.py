"""Record the begin and the end of a run, and keep its records whatever becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Self, TypeVar

from curio_persistence.concurrency import forking
from curio_persistence.errors import (
    ConfigurationError,
    ConflictError,
    InvalidValueError,
    NotFoundError,
    UnsupportedError,
)
from curio_persistence.models import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    AgentRunStatus,
    EventType,
    Level,
    Score,
)
from curio_persistence.recording.arguments import OnError, Parent
from curio_persistence.recording.breaker import breaker_of
from curio_persistence.recording.context import Scope, enclosing, innermost
from curio_persistence.recording.failures import (
    describe,
    is_cancellation,
    is_orderly_exit,
    status_of,
    traceback_of,
)
from curio_persistence.recording.ids import new_run_id, span_id_of, trace_id_of
from curio_persistence.recording.repair import as_json_text, repairs
from curio_persistence.recording.switch import is_disabled
from curio_persistence.redaction import Redaction

if TYPE_CHECKING:
    from logging import Logger

    from curio_persistence.base import BasePersistence

R = TypeVar("R", AgentRun, AgentRunEvent, AgentLLMUsage, Score)

_LEVELS: Mapping[str, Level] = {
    AgentRunStatus.ERROR: Level.ERROR,
    AgentRunStatus.TIMEOUT: Level.ERROR,
    AgentRunStatus.CANCELLED: Level.WARNING,
}
"""The level of the last event of a run that ends with this status; any other did not fail."""


class RecordedRun(Scope):
    """A run that is being recorded: its begin, its end, and how its records are kept."""

    __slots__ = (
        "_awaited",
        "_breaker",
        "_clock",
        "_created",
        "_ended",
        "_is_off",
        "_on_error",
        "_parent",
        "_persistence",
        "_resume",
        "_resumed",
        "agent_run",
        "dropped",
    )

    def __init__(
        self,
        persistence: BasePersistence,
        run: AgentRun,
        *,
        parent: Scope | str | Parent | None = Parent.ENCLOSING,
        resume: bool = False,
        on_error: OnError = "log",
    ) -> None:
        if on_error not in ("log", "raise"):
            raise ConfigurationError(f"on_error is 'log' or 'raise', not {on_error!r}.")
        super().__init__(self)
        self.agent_run = run
        self.dropped = 0
        self._persistence = persistence
        self._clock = persistence.clock
        self._breaker = breaker_of(persistence)
        self._parent = parent
        self._on_error = on_error
        self._is_off = is_disabled()
        self._awaited: Any = None  # The recorder in front of this one, if it is awaited.
        self._resume = resume
        self._resumed: dict[str, Any] | None = None
        self._created = False
        self._ended = False

    def __repr__(self) -> str:
        run = self.agent_run
        return f"<{type(self).__name__} of run {run.run_id} ({run.agent_id}, {run.status})>"

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.agent_run.run_id

    @property
    def _title(self) -> str:
        """The run as messages name it."""
        return f"Run {self.run_id}"

    # --- begin and end ------------------------------------------------------------------------

    def begin(self, *, current: bool = True) -> Self:
        """Begin without a `with` block, as frameworks do that call back; `end()` ends it.

        With `current=False` it does not become the run in which the caller runs.
        """
        self._begin(current)
        return self

    def _start(self) -> None:
        self._use()
        self._inherit()
        self.agent_run.started_at = self._clock.stamp(self.run_id)
        self.agent_run.status = AgentRunStatus.RUNNING.value
        self._keep(self._create, self.agent_run)
        try:
            self._log_begin()
        except Exception as error:
            self._close(error)  # The block is not entered.
            raise

    def _log_begin(self) -> None:
        if self._resumed is not None:
            event_type, data = EventType.RUN_RESUMED, self._resumed
        else:
            event_type, data = EventType.RUN_STARTED, {"objective": self.agent_run.objective}
        self._log(event_type, data, Level.INFO, self.span_id, self.parent_span_id)

    def _inherit(self) -> None:
        """Take over from the parent what belongs to its session."""
        parent: Any = self._parent
        if parent is Parent.ENCLOSING:
            parent = enclosing(self._persistence)
        elif isinstance(parent, RecordedRun):
            parent = innermost(parent)
        run = self.agent_run
        self.span_id = span_id_of(run.run_id)
        if isinstance(parent, Scope):
            above = parent._run.agent_run
            run.session_id = run.session_id or above.session_id
            run.user_id = run.user_id or above.user_id
            run.parent_run_id = above.run_id
            self.trace_id, self.parent_span_id = parent.trace_id, parent.span_id
        else:
            run.parent_run_id = parent
            self.trace_id = trace_id_of(parent or run.run_id)
            self.parent_span_id = span_id_of(parent) if parent else None
        if run.parent_run_id == run.run_id:  # A run that is resumed in its own block.
            run.parent_run_id = None

    def _close(self, error: BaseException | None) -> None:
        if self._is_of_parent():
            return
        if error is None or is_orderly_exit(error):
            if not self._ended:
                self._end(AgentRunStatus.COMPLETED)
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
        try:
            if is_news:
                self._log_end(error)
        finally:  # A run without its last event is better than one that stays running.
            run.finished_at = self._clock.stamp(self.run_id)
            self._keep(self._update, run)

    def _log_end(self, error: BaseException | None) -> None:
        run = self.agent_run
        data = {"status": run.status, "error": run.error_message}
        if error is not None and error.__traceback__ is not None:
            data["traceback"] = traceback_of(error)
        failed = run.status in _LEVELS
        event_type = EventType.RUN_ERROR if failed else EventType.RUN_COMPLETED
        level = _LEVELS.get(run.status, Level.INFO)
        self._log(event_type, data, level, self.span_id, self.parent_span_id)

    def _create(self, run: AgentRun) -> None:
        if self._resume and self._take_up(run):
            return
        try:
            self._persistence._begin_run(run)
        except ConflictError:
            if self._on_error == "raise":
                raise
            self._take_another_id()
            self._persistence._begin_run(run)
        self._created = True

    def _take_up(self, run: AgentRun) -> bool:
        """Go on with the stored run, if there is one; what was given anew replaces what it has."""
        found = self._persistence.get_agent_run(run.run_id)
        if found is None:
            return False
        before = {"status": found.status, "error": found.error_message}
        found.status, found.finished_at, found.error_message = run.status, None, None
        given = ("agent_name", "objective", "additional_context", "metadata", "tags")
        for name in (*given, "session_id", "user_id", "parent_run_id"):
            if value := getattr(run, name):
                setattr(found, name, value)
        started = self._persistence.get_agent_run_events(run.run_id, EventType.RUN_STARTED.value)
        if started and started[0].trace_id:
            self.trace_id, self.parent_span_id = started[0].trace_id, started[0].parent_span_id
        self.agent_run = found
        self._persistence.update_agent_run(run.run_id, found)
        self._created = True
        self._resumed = before
        return True

    def _take_another_id(self) -> None:
        """Record under an id of its own, so that the run that has this one is not overwritten."""
        taken, self.agent_run.run_id = self.run_id, new_run_id(self._clock.now())
        self.span_id = span_id_of(self.run_id)
        if self.parent_span_id is None:
            self.trace_id = trace_id_of(self.run_id)
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
        if self._is_off:
            return
        if not self._generation:
            self._warn_that_it_was_not_entered()
        if self._on_error == "raise":
            write(record)
            return
        try:
            self._breaker.call(write, record)
        except InvalidValueError as error:
            self._keep_nearest(write, record, error)
        except Exception as error:
            self._lose(error)

    def _warn_that_it_was_not_entered(self) -> None:
        self._generation = forking.generation
        _logger().warning(
            "Run %s was not entered, so its begin is not recorded. Write "
            "`with persistence.record_run(…) as run:`",
            self.run_id,
        )

    def _keep_nearest(
        self, write: Callable[[R], None], record: R, refusal: InvalidValueError
    ) -> None:
        """Write the nearest record that can be stored."""
        try:
            changed = self._write_changed(write, record, refusal)
        except Exception as error:
            self._lose(error)
            return
        _logger().warning(
            "%s: %s.%s is not as it was given: %s",
            self._title,
            type(record).__name__,
            ", ".join(dict.fromkeys(changed)),
            refusal,
        )

    def _write_changed(
        self, write: Callable[[R], None], record: R, refusal: InvalidValueError
    ) -> list[str]:
        """Write a record with nearer values, and return the names of those fields."""
        redaction: Redaction = getattr(self._persistence, "redaction", None) or Redaction()
        changed: list[str] = []
        for change in repairs(redaction):
            if not (names := change(record)):
                continue
            changed += names
            try:
                self._breaker.call(write, record)
            except InvalidValueError as error:
                refusal = error
            else:
                return changed
        raise refusal

    def _score(self, score: Score) -> None:
        """Store a score of the run, or of a span of it."""
        self._keep(self._set_score, score)

    def _set_score(self, score: Score) -> None:
        scores = getattr(self._persistence, "scores", None)
        if scores is None:
            raise UnsupportedError("This persistence keeps no scores.")
        scores.set(
            score.run_id,
            score.name,
            score.value,
            label=score.label,
            comment=score.comment,
            source=score.source,
            author=score.author,
            span_id=score.span_id,
        )

    def _lose(self, error: Exception) -> None:
        if self._on_error == "raise":
            raise error
        self.dropped += 1
        if self.dropped == 1:
            _logger().error(
                "%s is only partly recorded: %s: %s (logged once for each run; "
                "RunRecorder.dropped counts)",
                self._title,
                type(error).__name__,
                error,
            )
            _logger().debug("%s is only partly recorded", self._title, exc_info=error)

    def _keep_usage(self, usage: AgentLLMUsage) -> None:
        usage.prompt = as_json_text(usage.prompt) or ""
        usage.prompt_length = len(usage.prompt)
        usage.response_content = answered = as_json_text(usage.response_content)
        usage.response_length = None if answered is None else len(answered)
        self._keep(self._persistence.log_llm_usage, usage)

    def _log(
        self,
        event_type: str,
        data: Any,
        level: str | int,
        span_id: str,
        parent_span_id: str | None = None,
        message: str | None = None,
    ) -> None:
        """Append an event of a span; that of its begin or end names its parent as well."""
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
            trace_id=self.trace_id,
            span_id=span_id,
            parent_span_id=parent_span_id,
        )
        self._keep(self._persistence.log_agent_run_event, event)


def _word(value: Any) -> Any:
    """Return a status, a level or an event type, which an Enum member spells by its value."""
    return value if type(value) is str or not isinstance(value, Enum) else value.value


def _logger() -> Logger:
    # Here, as importing it takes a tenth of the time that the package takes.
    import logging

    return logging.getLogger(__name__)
