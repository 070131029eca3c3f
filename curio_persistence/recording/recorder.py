"""Record an agent's run as it happens, for agents without a framework.

Only the ten published methods are needed, so it works on every class that has them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any

from curio_persistence.concurrency import forking
from curio_persistence.errors import InvalidValueError
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunStatus, EventType, Level
from curio_persistence.recording.arguments import OnError, Parent
from curio_persistence.recording.context import Scope, innermost
from curio_persistence.recording.failures import describe
from curio_persistence.recording.ids import new_run_id, new_span_id, new_trace_id
from curio_persistence.recording.model_calls import LLMCall
from curio_persistence.recording.repair import (
    as_id,
    as_json_text,
    as_tags,
    as_text,
)
from curio_persistence.recording.run import RecordedRun
from curio_persistence.recording.spans import Span, ToolCall
from curio_persistence.store.json_text import as_object
from curio_persistence.tables import RUNS

if TYPE_CHECKING:
    from curio_persistence.base import BasePersistence


class RunRecorder(RecordedRun):
    """One run, being recorded: enter it with `with`, once.

    `agent_run` is the record as it is so far; `dropped` counts the writes that failed and were
    swallowed (`on_error="log"`). It may be used from several threads.
    """

    __slots__ = ()

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
        self._log(event_type, data, level, innermost(self).span_id, message=message)

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
            self.log(EventType.METRIC, {"name": name, "value": number, "unit": unit, "tags": tags})

    def tool(self, name: str, args: Any = None) -> ToolCall:
        """`with run.tool("search", {"q": "…"}) as call: call.result = …` times and keeps a call."""
        return ToolCall(self, {"tool_name": name, "args": args})

    def span(self, name: str, *, kind: str = "", input: Any = None) -> Span:
        """`with run.span("retrieve", kind="retriever") as span: span.output = …` keeps a part."""
        return Span(self, {"name": name, "kind": kind, "input": input})

    def llm(
        self,
        *,
        provider: str = "",
        model: str = "",
        messages: Any = None,
        prompt: Any = None,
        params: Any = None,
    ) -> LLMCall:
        """`with run.llm(model="…", messages=…) as call: call.response = …` times and keeps a call.

        Tokens, model, text and finish reason are read from the response: see `LLMCall`.
        """
        asked = as_json_text(messages if prompt is None else prompt) or ""
        record = AgentLLMUsage(
            self.agent_run.agent_id,
            self.run_id,
            provider=provider,
            model=model,
            prompt=asked,
            input_params=params,
        )
        return LLMCall(self, record)

    def iteration(self) -> int:
        """Begin the next round of the agent's loop; its number, from 1."""
        self.agent_run.total_iterations += 1
        number = self.agent_run.total_iterations
        self.log(EventType.ITERATION_STARTED, {"iteration": number})
        if self._ended:  # Otherwise the end of the run stores it.
            self._keep(self._update, self.agent_run)
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
        around = innermost(self)
        usage = AgentLLMUsage(
            self.agent_run.agent_id,
            self.run_id,
            provider=provider,
            model=model,
            prompt=as_json_text(prompt) or "",
            input_params=input_params,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            response_content=as_json_text(response),
            usage_metrics=usage_metrics,
            status=status,
            error_message=describe(error),
            latency_ms=latency_ms,  # type: ignore[arg-type]  # The column rounds it.
            cache_read_tokens=cache_read_tokens,
            cache_write_tokens=cache_write_tokens,
            reasoning_tokens=reasoning_tokens,
            cost_usd=cost_usd,  # type: ignore[arg-type]  # The column takes any number.
            span_id=new_span_id(),
            trace_id=self.trace_id,
            parent_span_id=around.span_id,
        )
        self._keep_usage(usage)

    def update(
        self,
        *,
        tags: str | Collection[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Add tags and metadata to the run; a key that is there is replaced. Stored at once.

        Raise InvalidValueError for tags or metadata of another type.
        """
        run = self.agent_run
        run.tags = list(dict.fromkeys([*(run.tags or ()), *(_checked_tags(tags) or ())])) or None
        if metadata:
            run.metadata = {**as_object(run.metadata), **_checked_mapping(metadata)}
        self._keep(self._update, run)

    def finish(self, output: Any = None, *, status: str = AgentRunStatus.COMPLETED) -> None:
        """End the run with its result. Leaving the `with` block does it too, without a result.

        A second call replaces the result and the status, but is not an event.
        """
        if output is not None:
            self.agent_run.final_synthesis_output = as_json_text(output)
        self._end(status)


class NoRun(RunRecorder):
    """Records one model call that belongs to no run: `NoRun(persistence).llm(…)`."""

    __slots__ = ()

    def __init__(self, persistence: BasePersistence, agent_id: str | None = None) -> None:
        nothing: Any = None
        super().__init__(persistence, AgentRun(agent_id or nothing, nothing))
        self.trace_id, self.span_id = new_trace_id(), nothing
        self._generation = forking.generation  # There is no begin to miss.

    @property
    def _title(self) -> str:
        return "A model call of no run"


def record_run(
    persistence: BasePersistence,
    *,
    agent_id: str,
    objective: Any = "",
    agent_name: str = "",
    run_id: str | None = None,
    session_id: str | None = None,
    user_id: str | None = None,
    parent: RunRecorder | str | Parent | None = Parent.ENCLOSING,
    additional_context: Any = None,
    metadata: Any = None,
    tags: str | Collection[str] | None = None,
    resume: bool = False,
    on_error: OnError = "log",
) -> RunRecorder:
    """See `BasePersistence.record_run`."""
    if not isinstance(parent, Scope | Parent):
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
        user_id=_checked_id("user_id", user_id),
    )
    return RunRecorder(persistence, run, parent=parent, resume=resume, on_error=on_error)


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


def _checked_mapping(metadata: Any) -> Mapping[str, Any]:
    if isinstance(metadata, Mapping):
        return metadata
    field = "AgentRun.metadata"
    raise InvalidValueError(
        f"{field} is added to by a mapping, not by {type(metadata).__name__}.", field=field
    )


def _finite(value: Any) -> float:
    """Return a number as a float; raise InvalidValueError for what is not a finite number."""
    is_number = not isinstance(value, str | bytes | bool) and hasattr(type(value), "__float__")
    try:
        if is_number and isfinite(number := float(value)):
            return number if type(value) is not int else value
    except (ValueError, TypeError, OverflowError):
        pass
    raise InvalidValueError(f"A metric is a finite number, not {value!r:.80}.", field="value")
