"""Spans put together to requests of a bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from curio_persistence.interop.otel.spans import Attributes, OtelEvent, OtelLink, OtelSpan

MOST_SPANS = 512
MOST_BYTES = 4 << 20
"""About how many bytes a request has before it is compressed, unless one span has more."""
_OF_A_SPAN, _OF_A_VALUE = 150, 15
"""About how many bytes they have without text."""


def in_pieces(spans: Iterable[OtelSpan]) -> Iterator[list[OtelSpan]]:
    """Yield the spans in lists, each for one request."""
    piece: list[OtelSpan] = []
    size = 0
    for span in spans:
        weight = _weight(span)
        if piece and (len(piece) == MOST_SPANS or size + weight > MOST_BYTES):
            yield piece
            piece, size = [], 0
        piece.append(span)
        size += weight
    if piece:
        yield piece


def _weight(span: OtelSpan) -> int:
    """Return about how many bytes a span takes in a request."""
    parts: tuple[OtelSpan | OtelEvent | OtelLink, ...] = (span, *span.events, *span.links)
    texts = len(span.name) + len(span.status_message)
    return _OF_A_SPAN + texts + sum(_of(part.attributes) for part in parts)


def _of(attributes: Attributes) -> int:
    return sum(_OF_A_VALUE + len(name) + _of_value(each) for name, each in attributes.items())


def _of_value(value: Any) -> int:
    match value:
        case str() | bytes():
            return len(value)
        case dict():
            return _of(value)
        case list():
            return sum(_OF_A_VALUE + _of_value(each) for each in value)
    return 0
