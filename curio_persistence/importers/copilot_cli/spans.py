"""The files that Copilot's OpenTelemetry exporter writes: a span in each line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from curio_persistence.importers.common.json_lines import read_objects
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.copilot_cli.calls import PROVIDER
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.places import Place, an_object, member, text_of
from curio_persistence.importers.sessions.records import milliseconds_between, stable_id
from curio_persistence.importers.sessions.turns import Conversation, OpenTurn, Tokens
from curio_persistence.models import EventType, Level

_CALLS = ("chat", "text_completion", "generate_content", "embeddings")
_CONVERSATION = "gen_ai.conversation.id"
_ERROR = 2

Span = Mapping[str, Any]


class _Known(NamedTuple):
    """Facts about a span from the first reading."""

    trace: str
    parent: str | None
    conversation: str | None


class SpanReader:
    """Reads one file; each trace is a turn, and one with two conversations is two."""

    def __init__(self, file: SessionFile, context: SessionContext) -> None:
        self._file, self._context = file, context
        self._known: dict[str, _Known] = {}
        self._of_trace: dict[str, list[str]] = {}
        self._turns: dict[tuple[str, str], OpenTurn] = {}
        self.is_live = False

    def records(self) -> Iterator[ImportedRecord]:
        """Yield the spans, and then the runs: a span is written before the one around it."""
        for _, span in read_objects(self._file.path, "", ReportBuilder()):
            if span.get("type") == "span":
                self._learn(span)
        place = Place(self._context, self._file.name)
        for line, span in self._context.lines(self._file):
            place = Place(self._context, self._file.name, line)
            if span.get("type") == "span" and str(span.get("spanId")) in self._known:
                yield from self._read(span, place)
            else:
                self._context.skip(f"no span: {span.get('type')}"[:80])
        for turn in self._turns.values():
            yield from turn.end(place, is_last=False, is_live=False)

    def _learn(self, span: Span) -> None:
        trace, conversation = str(span.get("traceId")), member(span, "attributes", _CONVERSATION)
        conversation = conversation if isinstance(conversation, str) else None
        parent = span.get("parentSpanId")
        known = _Known(trace, parent if isinstance(parent, str) else None, conversation)
        self._known[str(span.get("spanId"))] = known
        found = self._of_trace.setdefault(trace, [])
        if conversation is not None and conversation not in found:
            found.append(conversation)

    def _conversation(self, ident: str) -> str:
        """Return the conversation of a span: its own, else that of the spans around it."""
        known = self._known[ident]
        at: _Known | None = known
        for _ in range(len(self._known)):
            if at is None or at.conversation is not None:
                break
            at = None if at.parent is None else self._known.get(at.parent)
        if at is not None and at.conversation is not None:
            return at.conversation
        return next(iter(self._of_trace[known.trace]), known.trace)

    def _turn_of(self, span: Span, at: datetime | None) -> OpenTurn:
        ident = str(span["spanId"])
        trace, session = self._known[ident].trace, self._conversation(ident)
        if (trace, session) not in self._turns:
            conversation = Conversation(self._context, session)
            is_first = self._of_trace[trace][:1] in ([], [session])
            key = trace if is_first else f"{trace}/{session}"
            run_id = stable_id(self._context.source.name, key)
            self._turns[trace, session] = OpenTurn(conversation, key, at, run_id=run_id)
        return self._turns[trace, session]

    def _read(self, span: Span, place: Place) -> Iterator[ImportedRecord]:
        began, ended = (_time(span.get(name), place) for name in ("startTime", "endTime"))
        turn = self._turn_of(span, began)
        turn.saw(ended)
        attributes = an_object(span.get("attributes"))
        operation = member(attributes, "gen_ai.operation.name")
        if operation in _CALLS:
            yield from _call(turn, span, attributes, began, ended, place)
        elif operation == "execute_tool":
            yield from _tool(turn, span, attributes, began, ended, place)
        else:
            yield from _other(turn, span, began, ended, place)


def _call(
    turn: OpenTurn,
    span: Span,
    attributes: Any,
    began: datetime | None,
    ended: datetime | None,
    place: Place,
) -> Iterator[ImportedRecord]:
    names = ("response.model", "request.model")
    model = next((m for name in names if (m := member(attributes, f"gen_ai.{name}"))), "")
    error = _error(span)
    return turn.call(
        str(span["spanId"]),
        began,
        Tokens(
            place.count(attributes, "gen_ai.usage.input_tokens"),
            place.count(attributes, "gen_ai.usage.output_tokens"),
            place.count(attributes, "gen_ai.usage.cache_read.input_tokens"),
            place.count(attributes, "gen_ai.usage.cache_creation.input_tokens"),
            place.count(attributes, "gen_ai.usage.reasoning.output_tokens"),
        ),
        place,
        model=str(model),
        provider=PROVIDER,
        status="success" if error is None else "error",
        error_message=error,
        latency_ms=milliseconds_between(began, ended),
        prompt=text_of(attributes.get("gen_ai.input.messages")),
        text=text_of(attributes.get("gen_ai.output.messages")),
        usage_metrics=_numbers(attributes),
        span_id=str(span["spanId"]),
        parent_span_id=span.get("parentSpanId"),
        trace_id=str(span.get("traceId")),
    )


def _tool(
    turn: OpenTurn,
    span: Span,
    attributes: Any,
    began: datetime | None,
    ended: datetime | None,
    place: Place,
) -> Iterator[ImportedRecord]:
    call_id = str(member(attributes, "gen_ai.tool.call.id") or span["spanId"])
    name = str(member(attributes, "gen_ai.tool.name") or span.get("name") or "")
    args = member(attributes, "gen_ai.tool.call.arguments")
    turn.begin_tool(str(span["spanId"]), call_id, name, args, began, place)
    result = member(attributes, "gen_ai.tool.call.result")
    return turn.end_tool(
        call_id, ended, result, error=_error(span), latency_ms=milliseconds_between(began, ended)
    )


def _other(
    turn: OpenTurn, span: Span, began: datetime | None, ended: datetime | None, place: Place
) -> Iterator[ImportedRecord]:
    error = _error(span)
    if error is not None and span.get("parentSpanId") is None:
        turn.fail(error)
    data = {
        "name": str(span.get("name") or ""),
        "latency_ms": milliseconds_between(began, ended),
        "attributes": span.get("attributes"),
        "error": error,
    }
    return turn.event(
        str(span["spanId"]),
        EventType.SPAN.value,
        began,
        {name: value for name, value in data.items() if value is not None},
        place,
        level=(Level.INFO if error is None else Level.ERROR).value,
        span_id=str(span["spanId"]),
        parent_span_id=span.get("parentSpanId"),
    )


def _numbers(attributes: Any) -> dict[str, Any]:
    """Return the attributes that are no words."""
    told = attributes if isinstance(attributes, Mapping) else {}
    return {name: value for name, value in told.items() if isinstance(value, int | float)}


def _error(span: Span) -> str | None:
    if member(span, "status", "code") != _ERROR:
        return None
    return str(member(span, "status", "message") or "error")


def _time(value: Any, place: Place) -> datetime | None:
    """Return a time: seconds and nanoseconds, as OpenTelemetry for JavaScript writes it."""
    match value:
        case [int() as seconds, int() as nanoseconds]:
            return place.time(seconds + nanoseconds / 1e9)
    return place.time(value)
