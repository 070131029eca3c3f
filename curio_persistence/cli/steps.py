"""What happened in a run, as steps: events, model calls and child runs in one shape."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Union

if TYPE_CHECKING:
    from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent
    from curio_persistence.cli.histories import History

Record = Union["AgentRunEvent", "AgentLLMUsage"]

LEVELS = ("debug", "info", "warning", "error", "critical")

TOOL, MODEL, RUN, SPAN = "tool", "model", "run", "span"
"""The kinds of steps that are not named as an event's type."""

_DEEPEST = 100
"""Levels of JSON: what is nested deeper is taken as the text it is kept as."""

_STARTED = ("tool_call_started", "span_started")
_MOST = 10**15
_SPANS = frozenset(("tool_call", "span", *_STARTED))
_KINDS = {"tool_call": TOOL, "tool_call_started": TOOL, "span": SPAN, "span_started": SPAN}


class _Known(NamedTuple):
    """Which fields of a payload name the step, and which ones say what about it."""

    name: tuple[str, ...]
    parts: tuple[str, ...]


_KNOWN = {
    TOOL: _Known(("tool_name",), ("args", "result")),
    SPAN: _Known(("name",), ("kind", "input", "output")),
    "mcp.call": _Known(("server", "tool"), ("args", "result", "token_count")),
    "metric": _Known(("name",), ("value", "unit", "tags")),
    "log": _Known(("message",), ("logger", "extra")),
    "delegation": _Known(("target_agent",), ("status", "task_id", "target_run_id")),
    "artifact": _Known(("name",), ("type", "size_bytes", "mime_type", "checksum", "metadata")),
    "iteration_started": _Known((), ("iteration",)),
}
_UNKNOWN = _Known((), ())

_ENDS = ("run_started", "run_completed", "run_error")
_OF_THE_RUN = {
    "objective": "objective",
    "status": "status",
    "error": "error_message",
    "output": "final_synthesis_output",
}
"""What the events at a run's ends may say, and where the run says the same."""


class Step(NamedTuple):
    """One thing that happened: `kind` and `name` say what, `parts` hold its words and numbers.

    `at` is when it began, where that was recorded, else when it was recorded. `error` is what went
    wrong; with one, the level is at least `warning`. A tool call or span without a known end
    `is_open`; a step that `is_hit` was looked for. `span_id` is the step's own, `parent_span_id`
    that of the step it happened in.
    """

    at: datetime
    kind: str
    name: str = ""
    parts: Mapping[str, Any] = MappingProxyType({})
    error: str | None = None
    level: str = "info"
    took_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    is_open: bool = False
    is_hit: bool = False
    child: History | None = None
    span_id: str | None = None
    parent_span_id: str | None = None


class Branch(NamedTuple):
    """A step, and below it the steps that happened in it."""

    step: Step
    below: list[Branch]


def severity(level: str) -> int:
    """A level's place among the levels; a word that nobody knows is as `info`."""
    return LEVELS.index(level if level in LEVELS else "info")


def steps_of(history: History) -> list[Step]:
    """A run's steps by time, but for those that only say again how the run began or ended."""

    def marked(record: Record) -> Step:
        return step_of(record)._replace(is_hit=record is history.hit)

    events = map(marked, history.events or ())
    steps = [
        *_closed(step for step in events if not _is_said_by_the_run(step, history)),
        *map(marked, history.usage or ()),
        *map(step_of_run, history.children or ()),
    ]
    if history.cut_after:  # What ends an open one may be among the rest.
        steps = [step._replace(is_open=False) for step in steps]
    return sorted(steps, key=lambda step: step.at)


def tree_of(steps: Iterable[Step]) -> list[Branch]:
    """Steps by time, each below the step it happened in, where that is among them."""
    branches = [Branch(step, []) for step in steps]
    spans = {branch.step.span_id: branch for branch in branches if branch.step.span_id}
    top: list[Branch] = []
    for branch in branches:
        around = spans.get(branch.step.parent_span_id or "")
        (top if around is None or around is branch else around.below).append(branch)
    return top


def time_of(record: Record) -> datetime:
    """When an event happened, or a model had answered."""
    moment = getattr(record, "timestamp", None) or record.created_at
    assert moment is not None, "what was read has its times"
    return moment


def begin_of(run: AgentRun) -> datetime:
    begin = run.started_at or run.created_at
    assert begin is not None, "what was read has its times"
    return begin


def step_of(record: Record) -> Step:
    from curio_persistence import AgentRunEvent

    return _event(record) if isinstance(record, AgentRunEvent) else _model_call(record)


def _event(event: AgentRunEvent) -> Step:
    is_span = event.event_type in _SPANS
    payload = _parsed(event.data)
    left = dict(payload) if isinstance(payload, dict) else {}
    kind = _KINDS.get(event.event_type, event.event_type)
    took_ms = _number(left, "latency_ms", "duration_ms")
    error = None if kind == "metric" else _error(left)
    cost = _number(left, "cost_usd") if kind == "mcp.call" else None
    known = _KNOWN.get(kind, _UNKNOWN)
    name = "/".join(str(left.pop(key)) for key in known.name if left.get(key) is not None)
    parts = {key: left.pop(key) for key in known.parts if key in left}
    return Step(
        time_of(event),
        kind,
        name or event.message or "",
        _without_nothing(
            {
                "message": event.message if name and name != event.message else None,
                **parts,
                "data": left or None if isinstance(payload, dict) else payload,
                "artifact_uri": event.artifact_uri,
            }
        ),
        error,
        _of_a_failure(event.level) if error else event.level,
        took_ms,
        cost_usd=None if cost is None else Decimal(str(cost)),
        is_open=event.event_type in _STARTED,
        span_id=event.span_id if is_span else None,
        parent_span_id=event.parent_span_id if is_span else event.span_id,
    )


def _model_call(call: AgentLLMUsage) -> Step:
    error = call.error_message or (None if call.status == "success" else call.status)
    return Step(
        time_of(call),
        MODEL,
        call.model,
        _without_nothing(
            {
                "provider": call.provider or None,
                "params": _parsed(call.input_params),
                "prompt": _parsed(call.prompt) or None,
                "response": _parsed(call.response_content),
                "cache_read_tokens": call.cache_read_tokens,
                "cache_write_tokens": call.cache_write_tokens,
                "reasoning_tokens": call.reasoning_tokens,
            }
        ),
        error,
        "warning" if error else "info",
        call.latency_ms,
        call.input_tokens,
        call.output_tokens,
        call.get_cost_usd(),
        span_id=call.span_id,
        parent_span_id=call.parent_span_id,
    )


def step_of_run(history: History) -> Step:
    """A run as one step, its model calls and those of its child runs added up."""
    run, totals = history.run, history.totals
    return Step(
        begin_of(run),
        RUN,
        run.agent_id,
        _without_nothing(
            {
                "objective": run.objective or None,
                "context": _parsed(run.additional_context),
                "status": run.status,
                "output": _parsed(run.final_synthesis_output),
            }
        ),
        run.error_message,
        "error" if run.error_message else "info",
        _milliseconds(run.started_at, run.finished_at),
        totals.input_tokens if totals.calls else None,
        totals.output_tokens if totals.calls else None,
        totals.cost_usd,
        child=history,
        parent_span_id=_span_around(history),
    )


def _span_around(history: History) -> str | None:
    """The span in which a run began, as its first event tells."""
    started = (event for event in history.events or () if event.event_type == "run_started")
    return next((event.parent_span_id for event in started), None)


def compact(value: Any) -> str:
    """A parsed value on one line: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _closed(steps: Iterable[Step]) -> list[Step]:
    """Each tool call and span once: its end stands where it began.

    What ends is the one with the same span_id; without one, the last call begun of the same tool
    with the same arguments.
    """
    closed: list[Step] = []
    waiting: dict[tuple[str, str], list[int]] = {}
    for step in steps:
        if step.kind in (TOOL, SPAN):
            args = step.span_id or json.dumps(step.parts.get("args"), sort_keys=True)
            begun = waiting.setdefault((step.name, args), [])
            if step.is_open:
                begun.append(len(closed))
            elif begun:
                index = begun.pop()
                closed[index] = _ended(closed[index], step)
                continue
        closed.append(step)
    return closed


def _ended(begun: Step, end: Step) -> Step:
    took_ms = _milliseconds(begun.at, end.at) if end.took_ms is None else end.took_ms
    return end._replace(at=begun.at, took_ms=took_ms, is_hit=begun.is_hit or end.is_hit)


def _is_said_by_the_run(step: Step, history: History) -> bool:
    if step.is_hit or step.kind not in _ENDS or step.name or step.parts.keys() - {"data"}:
        return False
    data = step.parts.get("data", {})
    said = {**data, "error": step.error} if isinstance(data, dict) else {"": data}
    return all(
        value is None or value == getattr(history.run, _OF_THE_RUN.get(key, ""), None)
        for key, value in said.items()
    )


def _parsed(text: str | None) -> Any:
    """Return what JSON text holds, with text for NaN and infinities; other text as it is."""
    if text is None:
        return None
    try:
        value = json.loads(text, parse_constant=str, parse_float=_finite)
    except (ValueError, RecursionError):
        return text
    return text if _is_too_deep(value) else value


def _finite(text: str) -> float | str:
    """Return a number; its text where that is beyond a float."""
    value = float(text)
    return value if isfinite(value) else text


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True


def is_number(value: Any) -> bool:
    """Whether it can be calculated with; what JSON calls numbers may be without any bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return False
    return -_MOST < value < _MOST


def _number(fields: dict[str, Any], *keys: str) -> float | None:
    """Take out the first number of these that is there."""
    key = next((key for key in keys if is_number(fields.get(key))), None)
    return None if key is None else fields.pop(key)


def _error(fields: dict[str, Any]) -> str | None:
    """Take out what went wrong. A number is something else: how far a guess was off, say."""
    value = fields.get("error")
    if not isinstance(value, bool | None) and isinstance(value, int | float):
        return None
    fields.pop("error", None)
    if not value:
        return None
    return compact(value)


def _of_a_failure(level: str) -> str:
    """At least a warning, as the recorder has it of a failed tool: the agent may have coped."""
    return max(level, "warning", key=severity)


def _without_nothing(parts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parts.items() if value is not None}


def _milliseconds(begin: datetime | None, end: datetime | None) -> float | None:
    if begin is None or end is None:
        return None
    return (end - begin) / timedelta(milliseconds=1)
