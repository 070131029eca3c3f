"""Builds Agiwo's traces from the entries of a run log, as they are committed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from curio_persistence.compat.agiwo.trace_base import BaseTraceStorage
from curio_persistence.compat.agiwo.traces import Span, SpanKind, SpanStatus, Trace, new_id
from curio_persistence.runlog.codecs import fields_of
from curio_persistence.runlog.entries import (
    AssistantStepCommitted,
    CompactionApplied,
    CompactionFailed,
    ContextRepairApplied,
    GoalMilestonesUpdated,
    HookFailed,
    IntrospectionCheckpointRecorded,
    IntrospectionOutcomeRecorded,
    IntrospectionTriggered,
    LLMCallCompleted,
    LLMCallStarted,
    RetrospectApplied,
    RunFailed,
    RunFinished,
    RunLogEntry,
    RunRolledBack,
    RunStarted,
    StepBackApplied,
    TerminationDecided,
    ToolStepCommitted,
)
from curio_persistence.runlog.values import StepMetrics, text_of

PREVIEW_LENGTH = 500
"""The length of previews, in characters."""

_RUNTIME: Mapping[type[RunLogEntry], str] = {
    CompactionApplied: "compaction",
    CompactionFailed: "compaction_failed",
    StepBackApplied: "step_back",
    ContextRepairApplied: "step_back",
    RetrospectApplied: "retrospect",
    RunRolledBack: "rollback",
    TerminationDecided: "termination",
    HookFailed: "hook_failed",
    GoalMilestonesUpdated: "review_milestones",
    IntrospectionTriggered: "review_trigger",
    IntrospectionCheckpointRecorded: "review_checkpoint",
    IntrospectionOutcomeRecorded: "review_outcome",
}
"""The names of spans for what the runtime did itself."""


class TraceBuilder:
    """A trace, and what is needed to find the parents and the beginnings of its next spans."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._runs: dict[str, Span] = {}
        self._calls: dict[str, LLMCallStarted] = {}
        self._arguments: dict[str, Any] = {}
        """The arguments of tool calls, as the model gave them, by the id of the call."""

    def take(self, entry: RunLogEntry) -> None:
        """Apply the next entry."""
        if type(entry) in _RUNTIME:
            self._add(_runtime_span(self._about(entry), entry))
        elif (take := _TAKES.get(type(entry))) is not None:
            take(self, entry)

    def _about(self, entry: RunLogEntry) -> dict[str, Any]:
        """Return what a span below the run of an entry has of it."""
        run = self._runs.get(entry.run_id)
        return {
            "trace_id": self.trace.trace_id,
            "parent_span_id": None if run is None else run.span_id,
            "depth": 1 if run is None else run.depth + 1,
            "run_id": entry.run_id,
        }

    def _add(self, span: Span) -> None:
        self.trace.add_span(span)

    def _begin_run(self, entry: RunStarted) -> None:
        trace, parent = self.trace, self._runs.get(entry.parent_run_id or "")
        is_root = trace.root_span_id is None
        depth = 0 if is_root else entry.depth
        said = text_of(entry.user_input) or None
        span = Span(
            trace_id=trace.trace_id,
            kind=SpanKind.AGENT,
            name=entry.agent_id,
            parent_span_id=None if parent is None else parent.span_id,
            start_time=entry.created_at,
            depth=depth if parent is None else parent.depth + 1,
            attributes={
                "agent_id": entry.agent_id,
                "session_id": entry.session_id,
                "nested": not is_root,
                "parent_run_id": entry.parent_run_id,
                "start_sequence": entry.sequence,
            },
            input_preview=_preview(said),
            run_id=entry.run_id,
        )
        if is_root:
            trace.root_span_id, trace.start_time = span.span_id, entry.created_at
            trace.agent_id = trace.agent_id or entry.agent_id
            trace.session_id = trace.session_id or entry.session_id
            trace.user_id = trace.user_id or entry.user_id
            trace.input_query = trace.input_query or said
        self._runs[entry.run_id] = span
        self._add(span)

    def _finish_run(self, entry: RunFinished) -> None:
        reason = entry.termination_reason
        ended = {"termination_reason": None if reason is None else str(reason)}
        self._end_run(entry, SpanStatus.OK, ended, output=entry.response)

    def _fail_run(self, entry: RunFailed) -> None:
        self._end_run(entry, SpanStatus.ERROR, {}, error=entry.error)

    def _end_run(
        self,
        entry: RunLogEntry,
        status: SpanStatus,
        ended: dict[str, Any],
        *,
        output: str | None = None,
        error: str | None = None,
    ) -> None:
        span = self._runs.get(entry.run_id)
        if span is None:
            return
        span.attributes |= {"end_sequence": entry.sequence, **ended}
        span.complete(status, error, _preview(output), at=entry.created_at)
        if span.span_id == self.trace.root_span_id:
            self.trace.complete(status, output, at=entry.created_at)

    def _begin_call(self, entry: LLMCallStarted) -> None:
        self._calls[entry.run_id] = entry

    def _end_call(self, entry: LLMCallCompleted) -> None:
        started = self._calls.pop(entry.run_id, None)
        self._add(_call_span(self._about(entry), started, entry))

    def _note_calls(self, step: AssistantStepCommitted) -> None:
        for call in step.tool_calls or ():
            self._arguments[call.get("id", "")] = (call.get("function") or {}).get("arguments")

    def _end_tool(self, step: ToolStepCommitted) -> None:
        arguments = _arguments(self._arguments.get(step.tool_call_id or ""))
        self._add(_tool_span(self._about(step), arguments, step))


_TAKES: Mapping[type[RunLogEntry], Callable[[TraceBuilder, Any], None]] = {
    RunStarted: TraceBuilder._begin_run,
    RunFinished: TraceBuilder._finish_run,
    RunFailed: TraceBuilder._fail_run,
    LLMCallStarted: TraceBuilder._begin_call,
    LLMCallCompleted: TraceBuilder._end_call,
    AssistantStepCommitted: TraceBuilder._note_calls,
    ToolStepCommitted: TraceBuilder._end_tool,
}


def _runtime_span(about: dict[str, Any], entry: RunLogEntry) -> Span:
    error = getattr(entry, "error", None)
    return Span(
        **about,
        kind=SpanKind.RUNTIME,
        name=_RUNTIME[type(entry)],
        start_time=entry.created_at,
        end_time=entry.created_at,
        duration_ms=0.0,
        status=SpanStatus.OK if error is None else SpanStatus.ERROR,
        error_message=error,
        attributes=_told(entry),
    )


def _told(entry: RunLogEntry) -> dict[str, Any]:
    """Return the fields of an entry, except those that a span has itself."""
    own = fields_of(entry)
    names = [each.name for each in fields(entry) if each.name not in _OF_SPAN]
    return {name: own[name] if name in own else getattr(entry, name) for name in names}


_OF_SPAN = frozenset({"session_id", "run_id", "created_at"})


def _call_span(
    about: dict[str, Any], started: LLMCallStarted | None, entry: LLMCallCompleted
) -> Span:
    metrics = entry.metrics or StepMetrics()
    details: dict[str, Any] = {
        "request": {},
        "messages": [] if started is None else started.messages,
        "tools": None if started is None else started.tools,
        "response_content": entry.content,
        "response_tool_calls": entry.tool_calls,
        "finish_reason": entry.finish_reason,
        "status": "completed",
    }
    if entry.metrics is not None:
        details["metrics"] = _call_metrics(metrics)
    return Span(
        **about,
        kind=SpanKind.LLM_CALL,
        name=metrics.model_name or "llm",
        **_times(metrics, entry),
        status=SpanStatus.OK,
        attributes={
            "model_name": metrics.model_name,
            "provider": metrics.provider,
            "has_tool_calls": bool(entry.tool_calls),
            "sequence": entry.sequence,
            "agent_id": entry.agent_id,
        },
        metrics={} if entry.metrics is None else _span_metrics(metrics),
        llm_details=details,
        output_preview=_preview(entry.content),
    )


def _tool_span(about: dict[str, Any], arguments: Any, step: ToolStepCommitted) -> Span:
    error = _as_text(step.content) if step.is_error else None
    duration = None if step.metrics is None else step.metrics.duration_ms
    details: dict[str, Any] = {
        "tool_name": step.name,
        "tool_call_id": step.tool_call_id,
        "input_args": arguments,
        "output": step.content,
        "content_for_user": step.content_for_user,
        "error": error,
        "status": "error" if step.is_error else "completed",
    }
    if step.metrics is not None:
        details["metrics"] = {"duration_ms": duration}
    return Span(
        **about,
        kind=SpanKind.TOOL_CALL,
        name=step.name or "tool",
        **_times(step.metrics or StepMetrics(), step),
        status=SpanStatus.ERROR if step.is_error else SpanStatus.OK,
        error_message=error,
        attributes={
            "tool_name": step.name,
            "tool_call_id": step.tool_call_id,
            "sequence": step.sequence,
            "agent_id": step.agent_id,
        },
        metrics={}
        if step.metrics is None
        else {"tool.exec_time_ms": duration, "duration_ms": duration},
        tool_details=details,
        step_id=step.step_id,
        output_preview=_preview(step.content),
    )


def _times(metrics: StepMetrics, entry: RunLogEntry) -> dict[str, Any]:
    start = _utc(metrics.start_at) or entry.created_at
    return {
        "start_time": start,
        "end_time": _utc(metrics.end_at),
        "duration_ms": metrics.duration_ms,
    }


def _call_metrics(metrics: StepMetrics) -> dict[str, Any]:
    return {
        "duration_ms": metrics.duration_ms,
        "first_token_ms": metrics.first_token_latency_ms,
        "input_tokens": metrics.input_tokens,
        "output_tokens": metrics.output_tokens,
        "total_tokens": metrics.total_tokens,
        "cache_read_tokens": metrics.cache_read_tokens,
        "cache_creation_tokens": metrics.cache_creation_tokens,
        "usage_source": metrics.usage_source,
    }


def _span_metrics(metrics: StepMetrics) -> dict[str, Any]:
    return {
        "tokens.input": metrics.input_tokens,
        "tokens.output": metrics.output_tokens,
        "tokens.total": metrics.total_tokens,
        "tokens.cache_read": metrics.cache_read_tokens,
        "tokens.cache_creation": metrics.cache_creation_tokens,
        "token_cost": metrics.token_cost,
        "first_token_ms": metrics.first_token_latency_ms,
        "duration_ms": metrics.duration_ms,
        "model": metrics.model_name,
        "provider": metrics.provider,
        "usage_source": metrics.usage_source,
    }


def _arguments(raw: Any) -> Any:
    """Return the arguments of a tool call, parsed; `{}` if they are no JSON."""
    if isinstance(raw, str):
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            return {}
    return raw if isinstance(raw, dict) else {}


def _as_text(content: Any) -> str | None:
    return content if content is None or isinstance(content, str) else json.dumps(content)


def _preview(content: Any) -> str | None:
    return content[:PREVIEW_LENGTH] if isinstance(content, str) and content else None


def _utc(time: datetime | None) -> datetime | None:
    """Return a time; Agiwo's without a zone are in UTC."""
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


class AgentTraceCollector:
    """Collects the trace of an outermost run, and saves it when entries were committed."""

    PREVIEW_LENGTH = PREVIEW_LENGTH

    def __init__(self, store: BaseTraceStorage | None = None) -> None:
        self.store = store
        self.trace: Trace | None = None
        """The trace that is collected, or was collected last."""
        self._builder: TraceBuilder | None = None

    @property
    def trace_id(self) -> str | None:
        """Return the id of the trace."""
        return None if self.trace is None else self.trace.trace_id

    def start(
        self,
        trace_id: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        input_query: str | None = None,
    ) -> None:
        """Begin a trace. What is not given is taken from the outermost run."""
        self.trace = Trace(
            trace_id=trace_id or new_id(),
            agent_id=agent_id,
            session_id=session_id,
            user_id=user_id,
            input_query=input_query,
        )
        self._builder = TraceBuilder(self.trace)

    async def on_run_log_entries(self, entries: Iterable[RunLogEntry]) -> None:
        """Add what was committed, and save the trace once; nothing before `start()`."""
        if self._builder is None:
            return
        for entry in entries:
            self._builder.take(entry)
        await self._save()

    async def stop(self) -> None:
        """End the trace, if its run has not, and save it."""
        if self._builder is None or self.trace is None:
            return
        if self.trace.end_time is None:
            self.trace.complete(self.trace.status)
        self._builder = None
        await self._save()

    def build_from_entries(self, entries: Iterable[RunLogEntry]) -> Trace:
        """Return the trace of entries, which is not saved."""
        builder = TraceBuilder(Trace())
        for entry in entries:
            builder.take(entry)
        return builder.trace

    async def _save(self) -> None:
        if self.store is not None and self.trace is not None:
            await self.store.save_trace(self.trace)
