"""Spans made of records: each of them once, whatever records tell of it.

What several records tell of one span is put together by its span_id. What is saved of a span counts
for more than what is derived; tokens and cost are always those of its model calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from curio_persistence.models import FAILED_STATUSES, AgentRunStatus, EventType
from curio_persistence.models import SpanKind as Kind
from curio_persistence.models import SpanStatus as Status
from curio_persistence.store.codecs import decode_money, decode_text
from curio_persistence.tables.events import TOOL_STEP, tool_error_in
from curio_persistence.trace_ids import span_id_of
from curio_persistence.views.traces.records import BEGINS, RUN_STARTED, CallRow, EventRow, RunRow
from curio_persistence.views.traces.trace import TraceSpan
from curio_persistence.views.values import compact, is_number, parsed

Draft = dict[str, Any]
"""The fields of a span, as far as they are known."""

RUN_STATUSES: Mapping[str, str] = {
    AgentRunStatus.PENDING.value: Status.RUNNING.value,
    AgentRunStatus.RUNNING.value: Status.RUNNING.value,
    AgentRunStatus.CANCELLED.value: Status.CANCELLED.value,
    **dict.fromkeys(FAILED_STATUSES, Status.ERROR.value),
}
"""The statuses of runs as those of spans; any other one is that of a run that did not fail."""
_NUMBERS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost_usd",
)
_COUNTS = ("model_calls", "unpriced", *_NUMBERS)
_numbers = attrgetter(*_NUMBERS)
# Each span asks for some of these, and an Enum takes its time to tell a value.
_OK, _ERROR, _RUNNING = Status.OK.value, Status.ERROR.value, Status.RUNNING.value
_CANCELLED = Status.CANCELLED.value
_LLM, _TOOL, _SPAN_EVENT = Kind.LLM.value, Kind.TOOL.value, EventType.SPAN.value
_SAID_NOTHING = {"name": "", "kind": Kind.SPAN.value, "status": Status.UNSET.value}
"""The defaults of a saved span, which do not replace what is derived."""


def status_of_run(status: str) -> str:
    """Return the status of a run as that of its span."""
    return RUN_STATUSES.get(status, Status.OK.value)


class Spans:
    """The spans of one trace, while they are put together."""

    def __init__(self, trace_id: str) -> None:
        self._trace_id = trace_id
        self._drafts: dict[str, Draft] = {}
        self._running: set[str | None] = set()
        self._began_in: dict[str, str] = {}
        """The spans in which runs began, by the spans of these."""

    def done(self) -> tuple[TraceSpan, ...]:
        """Return the spans by the times when they began."""
        self._place_children()
        spans = [self._span(span_id, **draft) for span_id, draft in self._drafts.items()]
        # Those that began together stay in the order of their records.
        return tuple(sorted(spans, key=attrgetter("started_at")))

    def brief(self) -> list[Any]:
        """Return the spans as `done` does, in no order, only to be counted."""
        self._place_children()
        return [_Brief(span_id, draft) for span_id, draft in self._drafts.items()]

    def span(self, span_id: str) -> TraceSpan | None:
        """Return one of the spans; None if it is not there."""
        draft = self._drafts.get(span_id)
        return None if draft is None else self._span(span_id, **draft)

    def _place_children(self) -> None:
        for span_id, parent_span_id in self._began_in.items():
            if parent_span_id in self._drafts:
                self._drafts[span_id]["parent_span_id"] = parent_span_id

    def _span(self, span_id: str, *, cost_usd: int | None = None, **draft: Any) -> TraceSpan:
        trace_id = draft.pop("trace_id", self._trace_id)
        return TraceSpan(trace_id, span_id, cost_usd=decode_money(cost_usd), **draft)

    def _add(self, span_id: str, draft: Draft) -> Draft:
        """Add what a record tells of a span; what another one told before stays."""
        told = {name: value for name, value in draft.items() if value is not None}
        if (known := self._drafts.setdefault(span_id, told)) is not told:
            known |= {name: value for name, value in told.items() if name not in known}
        return known

    # --- runs ---------------------------------------------------------------------------------

    def add_run(self, run: RunRow) -> None:
        """Add a run, below the one that started it."""
        status = status_of_run(run.status)
        if status == _RUNNING and run.finished_at is None:
            self._running.add(run.run_id)
        self._add(
            span_id_of(run.run_id),
            {
                "name": run.agent_name or run.agent_id,
                "kind": Kind.AGENT.value,
                "parent_span_id": run.parent_run_id and span_id_of(run.parent_run_id),
                "run_id": run.run_id,
                "status": status,
                "error_message": decode_text(run.error_message),
                "started_at": _moment(run.begin),
                "ended_at": run.finished_at and _moment(run.finished_at),
                "agent_id": run.agent_id,
                "session_id": run.session_id,
                "user_id": run.user_id,
                "input": decode_text(run.objective) or None,
                "output": decode_text(run.final_synthesis_output),
            },
        )

    # --- events -------------------------------------------------------------------------------

    def add_events(self, events: Sequence[EventRow]) -> None:
        """Add tool calls and spans, and tell in which span a run began; runs and calls are there.

        An event that names no parent may have the id of the span in which it was logged.
        """
        others = {*self._drafts, *(e.span_id for e in events if e.parent_span_id is not None)}
        begun: dict[str, EventRow] = {}
        for event in events:
            if event.event_type == RUN_STARTED:
                self._place_run(event)
                continue
            own = span_id_of(event.run_id)
            if event.span_id == own or (event.parent_span_id is None and event.span_id in others):
                event = event._replace(span_id=None, parent_span_id=event.span_id)
            if event.event_type not in BEGINS:
                self._add_ended(event, begun.pop(event.span_id or "", None))
            elif event.span_id is not None:
                begun.setdefault(event.span_id, event)
        for span_id, event in begun.items():
            self._add_open(span_id, event)

    def _place_run(self, event: EventRow) -> None:
        if event.parent_span_id is not None:
            self._began_in.setdefault(span_id_of(event.run_id), event.parent_span_id)

    def _add_ended(self, event: EventRow, begin: EventRow | None) -> None:
        is_span = event.event_type == _SPAN_EVENT
        if not is_span and event.tool_name is None:
            return  # It does not tell which tool was called.
        payload = _payload(event)
        took = _took(payload) if is_span else event.tool_latency_us
        error = tool_error_in(payload)
        if event.event_type == TOOL_STEP and event.tool_error:
            error = _value(payload, "content")
        failed = error is not None or bool(event.tool_error)
        start, end = _moment((begin or event).timestamp), _moment(event.timestamp)
        if took is not None and begin is None:
            start = _shifted(end, -took)
        elif took is not None:
            end = _shifted(start, took)
        self._add(
            event.span_id or f"event:{event.id}",
            {
                **_named(event, payload),
                "parent_span_id": event.parent_span_id,
                "run_id": event.run_id,
                "status": _ERROR if failed else _OK,
                "error_message": error,
                "started_at": start,
                "ended_at": end,
            },
        )

    def _add_open(self, span_id: str, event: EventRow) -> None:
        """Add what began and has no end: it still runs, or its end was not recorded."""
        is_running = event.run_id in self._running
        self._add(
            span_id,
            {
                **_named(event, _payload(event)),
                "parent_span_id": event.parent_span_id,
                "run_id": event.run_id,
                "status": _RUNNING if is_running else Status.UNSET.value,
                "started_at": _moment(event.timestamp),
            },
        )

    # --- model calls --------------------------------------------------------------------------

    def add_call(self, call: CallRow) -> None:
        """Add a model call; the numbers of several with one span_id are added up."""
        end = _moment(call.created_at)
        failed = call.status != "success"
        cancelled = call.status == AgentRunStatus.CANCELLED.value
        bad = _CANCELLED if cancelled else _ERROR
        known = self._add(
            call.span_id or f"usage:{call.id}",
            {
                "name": call.model or "model call",
                "kind": _LLM,
                "parent_span_id": call.parent_span_id,
                "run_id": call.run_id,
                "status": bad if failed else _OK,
                "error_message": decode_text(call.error_message),
                "started_at": _shifted(end, -1000 * (call.latency_ms or 0)),
                "ended_at": end,
                "provider": call.provider or None,
                "model": call.model or None,
                "input": decode_text(call.prompt) or None,
                "output": decode_text(call.response_content),
            },
        )
        counts = (1, int(call.cost_usd is None), *_numbers(call))
        for name, number in zip(_COUNTS, counts, strict=True):
            if number is not None:
                known[name] = known.get(name, 0) + number

    # --- saved spans --------------------------------------------------------------------------

    def add_saved(self, told: Draft) -> None:
        """Add a saved span, which knows better what it tells, but for the run of a record."""
        span_id = told.pop("span_id")
        for name, nothing in _SAID_NOTHING.items():
            if told[name] == nothing:
                del told[name]
        known = self._drafts.setdefault(span_id, told)
        if known is told:
            return
        if "started_at" in known:  # It tells both of its times, or neither.
            for name in ("ended_at", "start_nanos", "end_nanos"):
                known.pop(name, None)
        known |= told | {name: known[name] for name in ("run_id",) if name in known}


class _Brief:
    """A span as a draft tells it, made in a fifth of the time of a TraceSpan."""

    is_run = TraceSpan.is_run

    def __init__(self, span_id: str, draft: Draft) -> None:
        cost = decode_money(draft.get("cost_usd"))
        self.__dict__.update(draft, span_id=span_id, cost_usd=cost)


for _field in fields(TraceSpan):
    if _field.default is not MISSING:
        setattr(_Brief, _field.name, _field.default)


def _moment(stored: str) -> datetime:
    return datetime.fromisoformat(stored)


def _shifted(moment: datetime, microseconds: float) -> datetime:
    try:
        return moment + timedelta(microseconds=microseconds)
    except OverflowError:
        return moment


def _payload(event: EventRow) -> dict[str, Any]:
    payload = parsed(decode_text(event.data))
    return payload if isinstance(payload, dict) else {}


def _took(payload: Mapping[str, Any]) -> float | None:
    """Return the microseconds that a span took, as it tells them."""
    took = payload.get("latency_ms", payload.get("duration_ms"))
    return took * 1000 if is_number(took) else None


def _named(event: EventRow, payload: Mapping[str, Any]) -> Draft:
    """Return what was called, with what, and what came of it."""
    end = BEGINS.get(event.event_type, event.event_type)
    if end == _SPAN_EVENT:
        name, kind, given, result = "name", _text(payload, "kind"), "input", "output"
    elif end == TOOL_STEP:
        name, kind, given, result = "name", _TOOL, "args", "content"
    else:
        name, kind, given, result = "tool_name", _TOOL, "args", "result"
    return {
        "name": event.tool_name or _text(payload, name),
        "kind": kind or Kind.SPAN.value,
        "input": _value(payload, given),
        "output": _value(payload, result),
    }


def _text(payload: Mapping[str, Any], name: str) -> str:
    value = payload.get(name)
    return value if isinstance(value, str) else ""


def _value(payload: Mapping[str, Any], name: str) -> str | None:
    value = payload.get(name)
    return None if value is None else compact(value)
