"""Log records that are messages of a model call: they become events of their span.

Older GenAI conventions send the words of a call as log records beside its span, before it or after
it. As events of the span they are read, stored, redacted and sent on with it.
"""

from __future__ import annotations

from _blake2 import blake2b  # Ten times as quick to import as hashlib.
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from curio_persistence.interop.otel.conventions import DETAIL_EVENT, LOG_MARK, MESSAGE_EVENTS
from curio_persistence.interop.otel.neighbours import Key
from curio_persistence.interop.otel.spans import Attributes, OtelEvent, OtelLog, OtelSpan, Source
from curio_persistence.interop.otel.words import as_text

AWAITED = "curio.awaited"
"""The attribute of a span of which only messages have come."""


def message_of(log: OtelLog) -> tuple[Key, OtelEvent] | None:
    """Return the span of a message, and the message as its event; None for any other record."""
    name = log.event_name or log.attributes.get("event.name")
    if log.trace_id is None or log.span_id is None or not isinstance(name, str):
        return None
    mark = {"id": _digest(log)}
    if name == DETAIL_EVENT:
        told: Attributes = {**log.attributes, LOG_MARK: mark}
    elif name in MESSAGE_EVENTS:
        body = log.body if isinstance(log.body, dict) else {"content": log.body}
        told = {**body, LOG_MARK: mark | {"attributes": log.attributes}}
    else:
        return None
    return (log.trace_id, log.span_id), OtelEvent(name, log.time_ns, told, log.dropped_attributes)


def _digest(log: OtelLog) -> str:
    """Return what tells a message from others of its time, after it was redacted too.

    It is too short to find the words by it.
    """
    told = as_text([log.body, sorted(log.attributes.items())])
    return blake2b(told.encode(errors="surrogatepass"), digest_size=3).hexdigest()


class Messages(NamedTuple):
    """The messages of one span, and their sender."""

    source: Source
    events: list[OtelEvent]


def messages_by_span(logs: Iterable[OtelLog]) -> dict[Key, Messages]:
    """Return the messages among log records, by their spans."""
    found: dict[Key, Messages] = {}
    for log in logs:
        if (message := message_of(log)) is not None:
            key, event = message
            found.setdefault(key, Messages(log.source, [])).events.append(event)
    return found


def messages_in(span: OtelSpan) -> list[OtelEvent]:
    """Return the events of a span that came as log records."""
    return [event for event in span.events if LOG_MARK in event.attributes]


def with_messages(span: OtelSpan, messages: Iterable[OtelEvent]) -> OtelSpan:
    """Return a span with messages among its events, each once, in whatever order they come."""
    known = {_identity(event) for event in span.events}
    new = {_identity(event): event for event in messages}
    if new.keys() <= known:
        return span
    events = (*span.events, *(event for name, event in new.items() if name not in known))
    return replace(
        span, events=tuple(sorted(events, key=lambda each: (each.time_ns, _identity(each))))
    )


def awaited(key: Key, messages: Messages) -> OtelSpan:
    """Return what stands for a span, with its messages, until it comes."""
    source, events = messages
    begin = min(event.time_ns for event in events)
    told = {AWAITED: True}
    span = OtelSpan(*key, None, events[0].name, begin, 0, attributes=told, source=source)
    return with_messages(span, events)


def _identity(event: OtelEvent) -> str:
    mark = event.attributes.get(LOG_MARK)
    told = mark["id"] if isinstance(mark, dict) and "id" in mark else event.attributes
    return as_text([event.name, event.time_ns, told])
