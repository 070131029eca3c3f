"""Brief steps: what one line of a list tells of each step of a run, made of stored rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from curio_persistence.models import Level
from curio_persistence.store.codecs import decode_money, decode_text
from curio_persistence.store.query import Position
from curio_persistence.tables import EVENTS, RUNS, USAGE
from curio_persistence.views.steps import RecordRef, of_a_failure
from curio_persistence.views.telling import BEGINS, MODEL, RUN, SPAN, TOOL, told_in_brief
from curio_persistence.views.values import compact, milliseconds, parsed, parsed_beginning

_LENGTH = 160
"""Characters that a brief step keeps of each text."""
_SHOWN, _READ = 400, 4_000
"""Characters that are read of a text, and of one whose members are to be told apart."""
_FINDING = {TOOL: ("args", "result"), SPAN: ("input", "output")}
"""The parts of a payload that the text of a step is made of; of others, all."""
_FINE = (Level.DEBUG.value, Level.INFO.value)
_SUCCESS = "success"


class BriefStep(NamedTuple):
    """One step of a run, or of a child run, as a line of a list tells it.

    `ref` names its record. `depth` is 0 for a step of the run itself, 1 for one of a child run, and
    so on. `at` is its place in the order, and `began` when it began, as far as that is known. The
    `kind` is `model`, `tool`, `span`, `run` (a child run, of the id `child_id`) or an event's type.
    `text` and `error` are the beginnings of its words, at most 160 characters. A tool call or span
    whose end is not recorded `is_open`.
    """

    ref: RecordRef
    run_id: str
    depth: int
    at: datetime
    began: datetime
    kind: str
    name: str
    text: str
    level: str
    error: str | None = None
    took_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    is_open: bool = False
    child_id: str | None = None


# --- rows -----------------------------------------------------------------------------------------


class EventRow(NamedTuple):
    """The stored values of an event that a line is made of."""

    timestamp: str
    id: int
    event_type: str
    level: str
    span_id: str | None
    tool_latency_us: int | None
    tool_error: int | None
    message: str | None
    data: str | None


class CallRow(NamedTuple):
    """The stored values of a model call that a line is made of."""

    created_at: str
    id: int
    model: str
    status: str
    error_message: str | None
    latency_ms: int | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: int | None
    response_content: str | None


class RunRow(NamedTuple):
    """The stored values of a run that a line is made of."""

    id: int
    run_id: str
    agent_id: str
    objective: str
    status: str
    error_message: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None

    @property
    def begin(self) -> str:
        return self.started_at or self.created_at


class Found(NamedTuple):
    """A step of a run: its position there, its line, and the rows that the line is made of."""

    position: Position
    line: BriefStep
    rows: tuple[EventRow, ...] | tuple[CallRow] | tuple[RunRow]


EVENT_WORDS, CALL_WORDS = EVENTS.part(*EventRow._fields), USAGE.part(*CallRow._fields)
EVENT_LINES = EVENTS.part(*EventRow._fields, beginnings={"data": _READ, "message": _SHOWN})
CALL_LINES = USAGE.part(
    *CallRow._fields, beginnings={"response_content": _SHOWN, "error_message": _SHOWN}
)
RUN_LINES = RUNS.part(*RunRow._fields, beginnings={"objective": _SHOWN, "error_message": _SHOWN})
"""The parts of tables that lines are made of: all words, or their beginnings."""


def _is_cut(row: EventRow) -> bool:
    """Return whether only the beginning of an event's payload may have been read."""
    return row.data is not None and len(row.data) == _READ


def lacks_its_error(row: EventRow) -> bool:
    """Return whether an event may have failed, and its payload not say how as far as it is read."""
    return _is_cut(row) and (bool(row.tool_error) or row.level not in _FINE)


# --- lines ----------------------------------------------------------------------------------------


def event_line(begun: EventRow, end: EventRow | None, run_id: str, depth: int) -> BriefStep:
    """Return an event in brief; a tool call or span with its end, if it has one."""
    row = end or begun
    payload = parsed_beginning(row.data or "") if _is_cut(row) else parsed(row.data)
    told = told_in_brief(row.event_type, payload, decode_text(row.message))
    at, took_ms = datetime.fromisoformat(begun.timestamp), told.took_ms
    if took_ms is None and end is not None:
        took_ms = milliseconds(at, datetime.fromisoformat(end.timestamp))
    elif took_ms is None and row.tool_latency_us is not None:
        took_ms = row.tool_latency_us / 1_000
    return BriefStep(
        RecordRef("event", row.id),
        run_id,
        depth,
        at,
        at if end else _before(at, took_ms),
        told.kind,
        _beginning(told.name),
        _beginning(_joined(told.parts, _FINDING.get(told.kind, told.parts))),
        of_a_failure(row.level) if told.error else row.level,
        None if told.error is None else _beginning(told.error),
        took_ms,
        None,
        None,
        told.cost_usd,
        row.event_type in BEGINS,
    )


def call_line(row: CallRow, run_id: str, depth: int) -> BriefStep:
    """Return a model call in brief."""
    at = datetime.fromisoformat(row.created_at)
    error = decode_text(row.error_message) or (None if row.status == _SUCCESS else row.status)
    return BriefStep(
        RecordRef("usage", row.id),
        run_id,
        depth,
        at,
        _before(at, row.latency_ms),
        MODEL,
        _beginning(row.model),
        _beginning(decode_text(row.response_content) or ""),
        Level.WARNING.value if error else Level.INFO.value,
        None if error is None else _beginning(error),
        row.latency_ms,
        row.input_tokens,
        row.output_tokens,
        decode_money(row.cost_usd),
    )


def run_line(row: RunRow, run_id: str, depth: int) -> BriefStep:
    """Return a child run in brief, as a step of its parent."""
    at, error = datetime.fromisoformat(row.begin), decode_text(row.error_message)
    finished = None if row.finished_at is None else datetime.fromisoformat(row.finished_at)
    return BriefStep(
        RecordRef(RUN, row.id),
        run_id,
        depth,
        at,
        at,
        RUN,
        _beginning(row.agent_id),
        _beginning(decode_text(row.objective) or ""),
        Level.ERROR.value if error else Level.INFO.value,
        None if error is None else _beginning(error),
        None if row.started_at is None else milliseconds(at, finished),
        child_id=row.run_id,
    )


def _before(at: datetime, took_ms: float | None) -> datetime:
    """Return the begin of what was recorded at its end."""
    try:
        return at - timedelta(milliseconds=took_ms or 0)
    except OverflowError:
        return at


def _joined(parts: Mapping[str, Any], names: Iterable[str]) -> str:
    return " ".join([compact(parts[name]) for name in names if parts.get(name) is not None])


def _beginning(text: str) -> str:
    """Return the first characters of a text, on one line."""
    line = text[: _LENGTH + 1]
    if not line.isprintable():  # It has several lines, perhaps.
        line = " ".join(text[:_SHOWN].split())
    return line if len(line) <= _LENGTH else line[: _LENGTH - 1] + "…"
