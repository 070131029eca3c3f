"""Traces as records of our tables: a trace is a run, and its steps are calls and events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from curio_persistence.importers.sessions.files import STILL_AFTER
from curio_persistence.importers.sessions.places import as_text
from curio_persistence.importers.sessions.records import (
    LONGEST_ID,
    UNFINISHED,
    Found,
    SourceLocation,
    ToolCall,
    Turn,
    milliseconds_between,
    stable_id,
)
from curio_persistence.importers.traces.calls import counted_calls, first_step
from curio_persistence.importers.traces.steps import TOOL, Judgement, ModelCall, Step, Trace
from curio_persistence.importers.traces.words import answered_in, asked_in
from curio_persistence.models import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    AgentRunStatus,
    EventType,
    Level,
    Score,
)

if TYPE_CHECKING:
    from curio_persistence.importers.sessions.context import SessionContext

_SCORERS = {
    **dict.fromkeys(("HUMAN", "ANNOTATION"), "human"),
    **dict.fromkeys(("LLM", "LLM_JUDGE", "AI_JUDGE", "EVAL"), "model"),
}
"""The kinds of judges, by the exporters' words; all others are code."""
_EMPTY: tuple[Any, ...] = (None, "", {}, [])
NOT_ENDED = "steps that had not ended yet"


def records_of(
    context: SessionContext,
    trace: Trace,
    steps: Sequence[Step],
    scores: Sequence[Judgement] = (),
    *,
    outermost: bool = False,
) -> Found:
    """Yield the calls and events of a trace, then its run, and what is thought of it.

    Of a step that is told twice, the last telling counts. `outermost` is that of `counted_calls`.
    """
    last = [*{step.step_id: step for step in steps}.values()]
    first = first_step(last)
    turn = _turn_of(context, trace, last, first)
    if turn.started_at is None:
        context.skip("scores without their trace", len(scores))
        return
    if not context.wants(trace.project, turn.started_at):
        return
    calls = counted_calls(last, outermost=outermost)
    for step in last:
        if step.is_record and _is_going_on(context, step):
            context.skip(NOT_ENDED)
        elif step.step_id in calls and step.call is not None:
            usage = _usage(turn, trace, step, step.call)
            if context.is_new(str(usage.event_id)):  # Else another form of the export told it.
                yield usage, step.location
        elif step.kind == TOOL:
            yield _tool_call(turn, trace, step), step.location
        elif step is not first:
            yield _event(turn, trace, step), step.location
    yield _run(turn, trace), turn.location
    for score in scores:
        yield _score(turn, score), score.location


# --- the run --------------------------------------------------------------------------------------


def _turn_of(
    context: SessionContext, trace: Trace, steps: Sequence[Step], first: Step | None
) -> Turn:
    """Return the turn that a trace is."""
    source = context.source.name
    asked = trace.input if first is None or trace.input is not None else first.input
    answered = trace.output if first is None or trace.output is not None else first.output
    status, error = _outcome(context, trace, first)
    turn = Turn(
        source,
        trace.session_id,
        stable_id(source, trace.trace_id),
        (trace.name or (first.name if first else "") or source)[:LONGEST_ID],
        asked_in(asked) or "",
        final=answered_in(answered),
        status=status,
        error=error,
        location=trace.location or (first.location if first else SourceLocation("")),
        metadata=_metadata(trace, first),
    )
    for step in steps:
        turn.saw(step.started_at)
        turn.saw(step.ended_at)
    for told in (trace.started_at, trace.ended_at):
        if not steps:
            turn.saw(told)
    return turn


def _outcome(context: SessionContext, trace: Trace, first: Step | None) -> tuple[str, str | None]:
    if first is None:
        return AgentRunStatus.COMPLETED.value, None
    if first.is_cancelled:
        return AgentRunStatus.CANCELLED.value, first.error
    if first.error is not None:
        return AgentRunStatus.ERROR.value, first.error
    if first.ended_at is None and trace.ended_at is None:
        if _is_going_on(context, first):
            return AgentRunStatus.RUNNING.value, None
        return AgentRunStatus.ERROR.value, UNFINISHED
    return AgentRunStatus.COMPLETED.value, None


def _is_going_on(context: SessionContext, step: Step) -> bool:
    """Return whether a step has no end and may get one: what is stored is not corrected later."""
    age = context.now - step.started_at.timestamp()
    return step.ended_at is None and 0 <= age < STILL_AFTER


def _metadata(trace: Trace, first: Step | None) -> dict[str, Any]:
    details = dict(first.details) if first is not None else {}
    told = {"project": trace.project, "version": trace.version, "trace_id": trace.trace_id}
    every = (details, trace.details, told)
    return {n: value for each in every for n, value in each.items() if value not in _EMPTY}


def _run(turn: Turn, trace: Trace) -> AgentRun:
    return replace(turn.to_run(), tags=[*trace.tags] or None, user_id=trace.user_id)


def _score(turn: Turn, told: Judgement) -> Score:
    source = _SCORERS.get(told.source.upper(), "code")
    return Score(
        turn.run_id,
        told.name,
        told.value,
        told.label,
        told.comment,
        source,
        told.author,
        None if told.step_id is None else stable_id(told.step_id),
        created_at=told.at,
        updated_at=told.at,
    )


# --- its calls and events -------------------------------------------------------------------------


def _usage(turn: Turn, trace: Trace, step: Step, call: ModelCall) -> AgentLLMUsage:
    prompt, response = as_text(step.input), answered_in(step.output)
    metrics = {**call.metrics, **({} if step.ended_at else {"status": "pending"})}
    return AgentLLMUsage(
        turn.agent_id,
        turn.run_id,
        call.provider,
        call.model,
        prompt,
        len(prompt),
        call.params or None,
        call.input_tokens,
        call.output_tokens,
        response,
        None if response is None else len(response),
        metrics or None,
        "success" if step.error is None else "error",
        step.error,
        latency_ms=milliseconds_between(step.started_at, step.ended_at),  # type: ignore[arg-type]  # The column rounds it.
        created_at=step.ended_at or step.started_at,
        span_id=stable_id(step.step_id),
        cache_read_tokens=call.cache_read_tokens,
        cache_write_tokens=call.cache_write_tokens,
        reasoning_tokens=call.reasoning_tokens,
        cost_usd=call.cost,
        event_id=stable_id(turn.source, trace.trace_id, step.step_id),
        parent_span_id=_parent_of(step),
    )


def _tool_call(turn: Turn, trace: Trace, step: Step) -> AgentRunEvent:
    call = ToolCall(
        step.step_id,
        step.tool_name or step.name,
        step.input,
        step.started_at,
        parent_span_id=_parent_of(step),
        result=step.output,
        error=step.error,
        unfinished=step.ended_at is None and step.error is None,
    )
    call.end(step.ended_at)
    return call.to_event(turn, stable_id(turn.source, trace.trace_id, step.step_id))


def _event(turn: Turn, trace: Trace, step: Step) -> AgentRunEvent:
    """Return a span, or what has no end as an event of its own type."""
    told = {
        "name": step.name,
        "kind": step.kind,
        "latency_ms": milliseconds_between(step.started_at, step.ended_at),
        "input": step.input,
        "output": step.output,
        "error": step.error,
        **step.details,
    }
    return turn.event(
        stable_id(turn.source, trace.trace_id, step.step_id),
        step.kind if step.is_moment else EventType.SPAN.value,
        step.started_at,
        {name: value for name, value in told.items() if value is not None},
        level=Level.INFO.value if step.error is None else Level.ERROR.value,
        message=step.error,
        span_id=stable_id(step.step_id),
        parent_span_id=_parent_of(step),
    )


def _parent_of(step: Step) -> str | None:
    return None if step.parent_id is None else stable_id(step.parent_id)
