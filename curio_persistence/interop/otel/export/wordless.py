"""Spans of others without words: with numbers, and with names and ids that are known as such."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from curio_persistence.interop.otel.conventions import KINDS, NAMES
from curio_persistence.interop.otel.spans import Attributes, OtelEvent, OtelSpan

_FIGURES = ("tokens", "cost", "cost_usd")
_NO_WORDS = (
    *("run_id", "agent_name", "agent_id", "session_id", "user_id", "provider", "response_model"),
    *("request_model", "response_id", "tool_name", "tool_call_id", "error_type", "service_tier"),
    "finish_reasons",
)
"""The fields of spans whose text is a name or an id."""
_ALLOWED = frozenset(
    name.key
    for field, names in NAMES.items()
    for name in names
    if field.endswith(_FIGURES) or (field in _NO_WORDS and not name.path)
).union((kind.key for kind in KINDS), ("exception.type",))


def without_words(span: OtelSpan) -> OtelSpan:
    """Return a span without the words in it."""
    return replace(
        span,
        status_message="",
        attributes=without_text(span.attributes),
        events=tuple(_event(event) for event in span.events),
        links=tuple(replace(link, attributes=without_text(link.attributes)) for link in span.links),
    )


def _event(event: OtelEvent) -> OtelEvent:
    return replace(event, attributes=without_text(event.attributes))


def without_text(attributes: Attributes) -> Attributes:
    """Return attributes that are numbers, or known as names and ids."""
    return {name: v for name, v in attributes.items() if name in _ALLOWED or _is_figure(v)}


def _is_figure(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_figure(each) for each in value)
    return isinstance(value, int | float)
