"""Spans of real programs, again and again with other ids, as bodies of OTLP."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.otlp_corpus import CAPTURES, bodies

_HOUR = 3_600 * 10**9
_ID_BYTES = 4
"""The bytes of each id that the number of the round replaces."""
_RESPONSE_IDS = {b"chatcmpl-": b"chat%05d", b"resp_": b"r%04d", b"msg_": b"m%03d"}
"""Beginnings of ids of calls, and others of the same length for each round."""


def spans(first: int = 1) -> Iterator[ExportTraceServiceRequest]:
    """Yield requests of one span, without end; those of each round have other ids."""
    corpus = [*_corpus()]
    for number in count(first):
        for content in corpus:
            for name, pattern in _RESPONSE_IDS.items():
                content = content.replace(name, pattern % number)
            request = ExportTraceServiceRequest.FromString(content)
            _change(request.resource_spans[0].scope_spans[0].spans[0], number)
            yield request


def body(some: Iterator[ExportTraceServiceRequest], size: int) -> bytes:
    """Return a body with so many of these spans."""
    request = ExportTraceServiceRequest()
    for _ in range(size):
        request.MergeFrom(next(some))
    return bytes(request.SerializeToString())


def _corpus() -> Iterator[bytes]:
    """Yield each span of the corpus as a request of its own."""
    for content in (each for capture in CAPTURES for each in bodies(capture)):
        for resource in ExportTraceServiceRequest.FromString(content).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    request = ExportTraceServiceRequest()
                    alone = request.resource_spans.add()
                    alone.resource.CopyFrom(resource.resource)
                    within = alone.scope_spans.add()
                    within.scope.CopyFrom(scope.scope)
                    within.spans.add().CopyFrom(span)
                    yield request.SerializeToString()


def _change(span: Any, number: int) -> None:
    """Give a span of the corpus the ids and times of a round."""
    mark = number.to_bytes(_ID_BYTES)
    for name in ("trace_id", "span_id", "parent_span_id"):
        if before := getattr(span, name):
            setattr(span, name, mark + before[_ID_BYTES:])
    span.start_time_unix_nano += number * _HOUR
    span.end_time_unix_nano += number * _HOUR
