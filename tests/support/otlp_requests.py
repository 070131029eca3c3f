"""Bodies of OTLP made for tests, and requests that are right or wrong."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.otlp_corpus import PROTOBUF
from tests.support.served import Answer, Served

TRACE = bytes.fromhex("0af7651916cd43dd8448eb211c80319c")
BEGIN = 1_795_946_321_427_000_000


def span(number: int = 1, **fields: Any) -> Span:
    """Return a span of a chat; `fields` replace its own."""
    made = Span(
        trace_id=fields.pop("trace_id", TRACE),
        span_id=fields.pop("span_id", number.to_bytes(8)),
        name=fields.pop("name", f"chat {number}"),
        start_time_unix_nano=fields.pop("start_time_unix_nano", BEGIN + number),
        end_time_unix_nano=fields.pop("end_time_unix_nano", BEGIN + number + 1_000_000),
    )
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "acme-1"}
    for key, value in (attributes | fields.pop("attributes", {})).items():
        made.attributes.add(key=key).value.string_value = value
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def body(*spans: Span) -> bytes:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.extend(spans)
    return bytes(request.SerializeToString())


def post(server: Served, content: Any, path: str = "/v1/traces", **headers: str) -> Answer:
    return server.post(path, content, **{"Content_Type": PROTOBUF} | headers)


def partial(answer: Answer) -> tuple[int, str]:
    """Return how many spans were rejected, and why."""
    assert answer.status == 200, answer
    assert answer.headers["Content-Type"] == PROTOBUF
    told = ExportTraceServiceResponse.FromString(answer.body).partial_success
    return told.rejected_spans, told.error_message


def gzipped(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(content) + packer.flush()


def in_chunks(content: bytes, size: int = 1000) -> Iterator[bytes]:
    """Yield a body in parts, which http.client sends chunked."""
    for start in range(0, len(content), size):
        yield content[start : start + size]
