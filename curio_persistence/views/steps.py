"""The steps of a run: its events, model calls and child runs in one shape."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent, Level
from curio_persistence.views.telling import BEGINS, ENDS, MODEL, RUN, SPAN, TOOL, told_by
from curio_persistence.views.values import (
    compact,
    milliseconds,
    parsed,
    without_nothing,
)

if TYPE_CHECKING:
    from curio_persistence.views.histories import History

Record = AgentRunEvent | AgentLLMUsage

LEVELS = tuple(level.value for level in Level)

_SPANS = frozenset((*ENDS, *BEGINS))
_TIMED = frozenset((TOOL, MODEL, SPAN, RUN))

_DEEPEST = 100
"""Spans below each other: one that is nested deeper, or in a circle, stands at the top."""

_BRIEF = 200
"""Characters that a brief step keeps of each text."""


ENDS_OF_RUNS = ("run_started", "run_completed", "run_error")
_OF_THE_RUN = {
    "objective": "objective",
    "status": "status",
    "error": "error_message",
    "output": "final_synthesis_output",
}
"""Fields of the events at a run's ends, and the fields of the run that say the same."""


class RecordRef(NamedTuple):
    """The name of an event, a model call or a child run: `event:7`, `usage:3`, `run:2`."""

    kind: str
    id: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened: `kind` and `name` say what, `parts` hold its words and numbers.

    `at` is when it began, where that was recorded, else when it was recorded. `error` is what went
    wrong; with one, the level is at least `warning`. A tool call or span without a known end
    `is_open`; a step that `is_hit` was looked for. `span_id` is the step's own, `parent_span_id`
    that of the step it happened in. `record` is the event or model call itself, and `begun` the
    event by which it began; a child run is a `child`. A brief step has neither record.
    """

    at: datetime
    kind: str
    name: str = ""
    parts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    error: str | None = None
    level: str = Level.INFO.value
    took_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    is_open: bool = False
    is_hit: bool = False
    child: History | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    ref: RecordRef | None = None
    record: Record | None = None
    begun: Record | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    """A step, and below it the steps that happened in it."""

    step: Step
    below: list[Branch]


def severity(level: str) -> int:
    """Return a level's place among the levels; an unknown word counts as `info`."""
    return LEVELS.index(level if level in LEVELS else Level.INFO.value)


def steps_of(history: History, *, complete: bool = False) -> list[Step]:
    """Return a run's steps by time.

    Events that only repeat how the run itself began or ended are left out, unless `complete`.
    """

    def marked(record: Record) -> Step:
        step = step_of(record)
        return replace(step, is_hit=True) if record is history.hit else step

    events = map(marked, history.events or ())
    steps = [
        *closed(step for step in events if complete or not is_said_by_the_run(step, history)),
        *map(marked, history.usage or ()),
        *map(step_of_run, history.children or ()),
    ]
    if history.cut_after:  # What ends an open one may be among the rest.
        steps = [replace(step, is_open=False) if step.is_open else step for step in steps]
    return sorted(steps, key=lambda step: step.at)


def tree_of(steps: Iterable[Step]) -> list[Branch]:
    """Return steps by time, each below the step it happened in, where that is among them."""
    branches = [Branch(step, []) for step in steps]
    spans = {branch.step.span_id: branch for branch in branches}
    spans.pop(None, None)
    top: list[Branch] = []
    for branch in branches:
        around = spans.get(branch.step.parent_span_id)
        is_top = around is None or around is branch or _is_too_deep(branch, spans)
        (top if is_top or around is None else around.below).append(branch)
    return top


def _is_too_deep(branch: Branch, spans: Mapping[str | None, Branch]) -> bool:
    for _ in range(_DEEPEST):
        above = spans.get(branch.step.parent_span_id)
        if above is None:
            return False
        branch = above
    return True


def outline_of(history: History) -> Branch:
    """Return a run as a tree of brief steps: only what takes time, child runs with their own."""
    return Branch(brief(step_of_run(history)), _timed(tree_of(steps_of(history))))


def _timed(branches: Iterable[Branch]) -> list[Branch]:
    found = []
    for step, below in ((branch.step, _timed(branch.below)) for branch in branches):
        if step.child is not None:
            below = [*outline_of(step.child).below, *below]
        if step.took_ms is not None or step.kind in _TIMED:
            found.append(Branch(brief(step), below))
    return found


def brief(step: Step) -> Step:
    """Return a step with the beginning of each long text, and without its records."""
    parts = {name: _shortened(value) for name, value in step.parts.items()}
    error = None if step.error is None else _shortened(step.error)
    child = step.child and replace(step.child, events=None, usage=None, scores=None, children=None)
    return replace(step, parts=parts, error=error, child=child, record=None, begun=None)


def _shortened(value: Any) -> Any:
    text = compact(value)
    return value if len(text) <= _BRIEF else text[:_BRIEF] + "…"


def time_of(record: Record) -> datetime:
    """Return when an event happened, or a model had answered."""
    moment = getattr(record, "timestamp", None) or record.created_at
    assert moment is not None, "what was read has its times"
    return moment


def begin_of(run: AgentRun) -> datetime:
    """Return when a run began, or was stored."""
    begin = run.started_at or run.created_at
    assert begin is not None, "what was read has its times"
    return begin


def ref_of(record: Record | AgentRun) -> RecordRef:
    """Return the name of a record that was read."""
    assert record.id is not None, "what was read has its id"
    kinds = {AgentRunEvent: "event", AgentLLMUsage: "usage"}
    return RecordRef(kinds.get(type(record), RUN), record.id)


def step_of(record: Record) -> Step:
    """Return an event or a model call as a step."""
    return _event(record) if isinstance(record, AgentRunEvent) else _model_call(record)


def _event(event: AgentRunEvent) -> Step:
    told = told_by(event.event_type, parsed(event.data), event.message)
    is_span = event.event_type in _SPANS
    return Step(
        time_of(event),
        told.kind,
        told.name,
        without_nothing(
            {
                "message": event.message if event.message != told.name else None,
                **told.parts,
                "artifact_uri": event.artifact_uri,
                "traceback": told.traceback,
            }
        ),
        told.error,
        of_a_failure(event.level) if told.error else event.level,
        told.took_ms,
        cost_usd=told.cost_usd,
        is_open=event.event_type in BEGINS,
        span_id=event.span_id if is_span else None,
        parent_span_id=event.parent_span_id if is_span else event.span_id,
        ref=ref_of(event),
        record=event,
    )


def _model_call(call: AgentLLMUsage) -> Step:
    error = call.error_message or (None if call.status == "success" else call.status)
    return Step(
        time_of(call),
        MODEL,
        call.model,
        without_nothing(
            {
                "provider": call.provider or None,
                "params": parsed(call.input_params),
                "prompt": parsed(call.prompt) or None,
                "response": parsed(call.response_content),
                "cache_read_tokens": call.cache_read_tokens,
                "cache_write_tokens": call.cache_write_tokens,
                "reasoning_tokens": call.reasoning_tokens,
            }
        ),
        error,
        Level.WARNING.value if error else Level.INFO.value,
        call.latency_ms,
        call.input_tokens,
        call.output_tokens,
        call.get_cost_usd(),
        span_id=call.span_id,
        parent_span_id=call.parent_span_id,
        ref=ref_of(call),
        record=call,
    )


def step_of_run(history: History) -> Step:
    """Return a run as one step, its model calls and those of its child runs added up."""
    run, totals = history.run, history.totals
    return Step(
        begin_of(run),
        RUN,
        run.agent_id,
        without_nothing(
            {
                "objective": run.objective or None,
                "context": parsed(run.additional_context),
                "status": run.status,
                "output": parsed(run.final_synthesis_output),
            }
        ),
        run.error_message,
        Level.ERROR.value if run.error_message else Level.INFO.value,
        milliseconds(run.started_at, run.finished_at),
        totals.input_tokens if totals.calls else None,
        totals.output_tokens if totals.calls else None,
        totals.cost_usd,
        child=history,
        parent_span_id=_span_around(history),
        ref=ref_of(run),
    )


def _span_around(history: History) -> str | None:
    """Return the span in which a run began, as its first event tells."""
    started = (event for event in history.events or () if event.event_type == "run_started")
    return next((event.parent_span_id for event in started), None)


def closed(steps: Iterable[Step]) -> list[Step]:
    """Return each tool call and span once: its end stands where it began.

    What ends is the one with the same span_id; without one, the last call begun of the same tool
    with the same arguments.
    """
    found: list[Step] = []
    waiting: dict[tuple[str, str], list[int]] = {}
    for step in steps:
        if step.kind in (TOOL, SPAN):
            args = step.span_id or json.dumps(step.parts.get("args"), sort_keys=True)
            begun = waiting.setdefault((step.name, args), [])
            if step.is_open:
                begun.append(len(found))
            elif begun:
                index = begun.pop()
                found[index] = ended(found[index], step)
                continue
        found.append(step)
    return found


def ended(begun: Step, end: Step) -> Step:
    """Return a tool call or span that is ended by another step, where it began."""
    took_ms = milliseconds(begun.at, end.at) if end.took_ms is None else end.took_ms
    is_hit = begun.is_hit or end.is_hit
    return replace(end, at=begun.at, took_ms=took_ms, is_hit=is_hit, begun=begun.record)


def is_said_by_the_run(step: Step, history: History) -> bool:
    """Return whether a step only repeats how the run itself began or ended."""
    if step.is_hit or step.kind not in ENDS_OF_RUNS or step.name or step.parts.keys() - {"data"}:
        return False
    data = step.parts.get("data", {})
    said = {**data, "error": step.error} if isinstance(data, dict) else {"": data}
    return all(
        value is None or value == getattr(history.run, _OF_THE_RUN.get(key, ""), None)
        for key, value in said.items()
    )


def of_a_failure(level: str) -> str:
    """At least a warning, as the recorder has it of a failed tool: the agent may have coped."""
    return max(level, Level.WARNING.value, key=severity)
