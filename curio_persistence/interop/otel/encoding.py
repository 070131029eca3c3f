"""Spans as a body of OTLP/HTTP, in protobuf or JSON: what `decode_traces` reads."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Iterable
from typing import Any

from curio_persistence.errors import InvalidValueError
from curio_persistence.interop.otel.protobuf_bodies import messages
from curio_persistence.interop.otel.spans import (
    Attributes,
    OtelEvent,
    OtelLink,
    OtelSpan,
    Source,
)

_LONGS = frozenset({"int_value", "start_time_unix_nano", "end_time_unix_nano", "time_unix_nano"})
"""Members with 64 bits, which are text in JSON."""


def encode_traces(spans: Iterable[OtelSpan]) -> bytes:
    """Return an `ExportTraceServiceRequest` in protobuf; needs the extra `otlp`.

    Spans with one `Source` are put together. A surrogate, which UTF-8 lacks, becomes `?`.
    """
    build, members = messages().traces, _request(spans)
    try:
        request = build(**members)
    except UnicodeEncodeError:
        request = build(**_replaced(members))
    body: bytes = request.SerializeToString()
    return body


def encode_traces_as_json(spans: Iterable[OtelSpan]) -> bytes:
    """Return an `ExportTraceServiceRequest` in JSON."""
    return json.dumps(_jsonable("", _request(spans)), separators=(",", ":")).encode("ascii")


def _request(spans: Iterable[OtelSpan]) -> dict[str, Any]:
    """Return the members of the request by their names in protobuf."""
    by_source: dict[int, tuple[Source, list[OtelSpan]]] = {}
    for span in spans:
        by_source.setdefault(id(span.source), (span.source, []))[1].append(span)
    return {"resource_spans": [_resource(*group) for group in by_source.values()]}


def _resource(source: Source, spans: list[OtelSpan]) -> dict[str, Any]:
    return {
        "resource": {
            "attributes": _attributes(source.resource),
            "dropped_attributes_count": source.resource_dropped,
        },
        "schema_url": source.resource_schema_url,
        "scope_spans": [
            {
                "scope": {
                    "name": source.scope_name,
                    "version": source.scope_version,
                    "attributes": _attributes(source.scope),
                    "dropped_attributes_count": source.scope_dropped,
                },
                "schema_url": source.scope_schema_url,
                "spans": [_span(span) for span in spans],
            }
        ],
    }


def _span(span: OtelSpan) -> dict[str, Any]:
    return {
        "trace_id": bytes.fromhex(span.trace_id),
        "span_id": bytes.fromhex(span.span_id),
        "parent_span_id": bytes.fromhex(span.parent_span_id or ""),
        "name": span.name,
        "kind": span.kind,
        "start_time_unix_nano": span.start_ns,
        "end_time_unix_nano": span.end_ns,
        "status": {"code": span.status_code, "message": span.status_message},
        "attributes": _attributes(span.attributes),
        "events": [_event(event) for event in span.events],
        "links": [_link(link) for link in span.links],
        "trace_state": span.trace_state,
        "flags": span.flags,
        "dropped_attributes_count": span.dropped_attributes,
        "dropped_events_count": span.dropped_events,
        "dropped_links_count": span.dropped_links,
    }


def _event(event: OtelEvent) -> dict[str, Any]:
    return {
        "name": event.name,
        "time_unix_nano": event.time_ns,
        "attributes": _attributes(event.attributes),
        "dropped_attributes_count": event.dropped,
    }


def _link(link: OtelLink) -> dict[str, Any]:
    return {
        "trace_id": bytes.fromhex(link.trace_id),
        "span_id": bytes.fromhex(link.span_id),
        "trace_state": link.trace_state,
        "attributes": _attributes(link.attributes),
        "dropped_attributes_count": link.dropped,
        "flags": link.flags,
    }


def _attributes(attributes: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {}
        case str():
            return {"string_value": value}
        case bool():
            return {"bool_value": value}
        case int():
            return {"int_value": value} if -(2**63) <= value < 2**63 else _value(str(value))
        case float():
            return {"double_value": value}
        case bytes():
            return {"bytes_value": value}
        case list() | tuple():
            return {"array_value": {"values": [_value(each) for each in value]}}
        case dict():
            return {"kvlist_value": {"values": _attributes(value)}}
    raise InvalidValueError(
        f"An attribute of a span cannot be of type {type(value).__name__}.",
        field="OtelSpan.attributes",
    )


def _replaced(value: Any) -> Any:
    """Return a member of the request with `?` for each surrogate."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {name: _replaced(each) for name, each in value.items()}
        case list():
            return [_replaced(each) for each in value]
    return value


def _jsonable(name: str, value: Any) -> Any:
    """Return a member of the request as OTLP's JSON has it."""
    match value:
        case dict():
            return {_camel_case(key): _jsonable(key, each) for key, each in value.items()}
        case list():
            return [_jsonable(name, each) for each in value]
        case bytes():
            return value.hex() if name.endswith("_id") else b64encode(value).decode("ascii")
        case float() if not math.isfinite(value):
            return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
        case int() if name in _LONGS:
            return str(value)
    return value


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
