"""OTLP's bodies in JSON, as values: ids are hex, 64-bit integers text or numbers.

It is read by hand: the JSON parser of protobuf is fifteen times slower, and takes hex ids for
base64.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from curio_persistence.errors import InvalidValueError
from curio_persistence.interop.otel.checking import (
    DELTA,
    DISTRIBUTIONS,
    BadRecordError,
    Rejections,
    accepted,
    end_of,
    link_id,
    not_too_many,
    optional_id,
    other_than,
    required_id,
)
from curio_persistence.interop.otel.spans import (
    Attributes,
    OtelEvent,
    OtelLink,
    OtelLog,
    OtelPoint,
    OtelSpan,
    Source,
)

_DEEP = 64
"""How deep values may nest."""
_KINDS = {
    f"SPAN_KIND_{name}": number
    for number, name in enumerate(
        ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
    )
}
_METRICS = {
    "gauge": "gauge",
    "sum": "sum",
    "histogram": "histogram",
    "exponentialHistogram": "exponential_histogram",
    "summary": "summary",
}
_TEMPORALITIES = {"AGGREGATION_TEMPORALITY_DELTA": DELTA, "AGGREGATION_TEMPORALITY_CUMULATIVE": 2}
_STATUSES = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}


def read_spans(body: bytes, rejections: Rejections) -> Iterator[OtelSpan]:
    """Yield the spans of an `ExportTraceServiceRequest`."""
    resources = parsed(body, "resourceSpans")
    return accepted(groups(resources, "scopeSpans", "spans", rejections), _span, rejections)


def read_logs(body: bytes, rejections: Rejections) -> Iterator[OtelLog]:
    """Yield the records of an `ExportLogsServiceRequest`."""
    resources = parsed(body, "resourceLogs")
    return accepted(groups(resources, "scopeLogs", "logRecords", rejections), _log, rejections)


def read_points(body: bytes, rejections: Rejections) -> Iterator[OtelPoint]:
    """Yield the data points of an `ExportMetricsServiceRequest`."""
    resources = parsed(body, "resourceMetrics")
    found = groups(resources, "scopeMetrics", "metrics", rejections)
    return chain.from_iterable(accepted(found, _points, rejections))


def parsed(body: bytes, member: str) -> list[Any]:
    """Return the list of resources of a body."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _not_otlp(f"it is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise _not_otlp("it is not an object")
    resources = request.get(member, None if request else [])
    if not isinstance(resources, list):
        raise _not_otlp(f"its member {member} is not a list")
    return resources


def _not_otlp(why: str) -> InvalidValueError:
    return InvalidValueError(f"The body is not OTLP in JSON: {why}.", field="body")


def groups(
    resources: list[Any], scopes_name: str, records_name: str, rejections: Rejections
) -> Iterator[tuple[Source, list[Any]]]:
    """Yield the records of each scope of each resource; what is no such group counts as one."""
    for resource in resources:
        try:
            for scope in _list(resource, scopes_name):
                yield _source(resource, scope), _list(scope, records_name)
        except (BadRecordError, AttributeError, KeyError, TypeError):
            rejections.add(f"a group of {records_name} has another form than in OTLP")


def _source(resource: Any, scope: Any) -> Source:
    of_resource, of_scope = _dict(resource, "resource"), _dict(scope, "scope")
    return Source(
        resource=_attributes(_list(of_resource, "attributes")),
        resource_schema_url=_text(resource, "schemaUrl"),
        resource_dropped=_count(of_resource, "droppedAttributesCount"),
        scope_name=_text(of_scope, "name"),
        scope_version=_text(of_scope, "version"),
        scope=_attributes(_list(of_scope, "attributes")),
        scope_schema_url=_text(scope, "schemaUrl"),
        scope_dropped=_count(of_scope, "droppedAttributesCount"),
    )


def _span(span: dict[str, Any], source: Source) -> OtelSpan:
    get = span.get
    span_id = required_id(get("spanId"), "span_id", 16)
    parent = optional_id(get("parentSpanId"), "parent_span_id", 16)
    start_ns = _time(span, "startTimeUnixNano")
    status = _dict(span, "status")
    not_too_many(get("events") or (), "events")
    not_too_many(get("links") or (), "links")
    return OtelSpan(
        trace_id=required_id(get("traceId"), "trace_id", 32),
        span_id=span_id,
        parent_span_id=other_than(span_id, parent),
        name=_text(span, "name"),
        start_ns=start_ns,
        end_ns=end_of(start_ns, _time(span, "endTimeUnixNano")),
        kind=_enum(get("kind"), _KINDS),
        status_code=_enum(status.get("code"), _STATUSES),
        status_message=_text(status, "message"),
        attributes=_attributes(get("attributes")),
        events=tuple(_event(event) for event in get("events") or ()),
        links=tuple(_link(link) for link in get("links") or ()),
        trace_state=_text(span, "traceState"),
        flags=_count(span, "flags"),
        dropped_attributes=_count(span, "droppedAttributesCount"),
        dropped_events=_count(span, "droppedEventsCount"),
        dropped_links=_count(span, "droppedLinksCount"),
        source=source,
    )


def _event(event: dict[str, Any]) -> OtelEvent:
    return OtelEvent(
        _text(event, "name"),
        _time(event, "timeUnixNano"),
        _attributes(event.get("attributes")),
        _count(event, "droppedAttributesCount"),
    )


def _link(link: dict[str, Any]) -> OtelLink:
    return OtelLink(
        link_id(link.get("traceId"), "trace_id"),
        link_id(link.get("spanId"), "span_id"),
        _text(link, "traceState"),
        _attributes(link.get("attributes")),
        _count(link, "droppedAttributesCount"),
        _count(link, "flags"),
    )


def _log(log: dict[str, Any], source: Source) -> OtelLog:
    get = log.get
    return OtelLog(
        _time(log, "timeUnixNano") or _time(log, "observedTimeUnixNano"),
        optional_id(get("traceId"), "trace_id", 32),
        optional_id(get("spanId"), "span_id", 16),
        _text(log, "eventName"),
        _value(_dict(log, "body"), 0),
        _attributes(get("attributes")),
        _enum(get("severityNumber"), {}),
        _text(log, "severityText"),
        _count(log, "flags"),
        _count(log, "droppedAttributesCount"),
        source,
    )


def _points(metric: dict[str, Any], source: Source) -> list[OtelPoint]:
    kind = next((kind for kind in _METRICS if metric.get(kind) is not None), None)
    if kind is None:
        return []
    data = _dict(metric, kind)
    return [
        OtelPoint(
            _text(metric, "name"),
            *_measured(_METRICS[kind], point),
            unit=_text(metric, "unit"),
            type=_METRICS[kind],
            is_delta=_enum(data.get("aggregationTemporality"), _TEMPORALITIES) == DELTA,
            time_ns=_time(point, "timeUnixNano"),
            start_ns=_time(point, "startTimeUnixNano"),
            attributes=_attributes(point.get("attributes")),
            source=source,
        )
        for point in _list(data, "dataPoints")
    ]


def _measured(kind: str, point: dict[str, Any]) -> tuple[float | None, int | None]:
    """Return the value of a data point, and of how many values it is."""
    if kind in DISTRIBUTIONS:
        total = point.get("sum", 0.0 if kind == "summary" else None)
        count = integer(point.get("count"), "count", 0, 2**64)
        return None if total is None else _double(total, 0), count
    if (value := point.get("asInt")) is not None:
        return _long(value, 0), None
    value = point.get("asDouble")
    return None if value is None else _double(value, 0), None


def _attributes(pairs: Iterable[Any] | None, depth: int = 0) -> Attributes:
    found: Attributes = {}
    for pair in pairs or ():
        key, value = pair["key"], pair.get("value") or {}
        if type(key) is not str:
            raise BadRecordError("a key of an attribute is not text")
        text = value.get("stringValue")
        found[key] = text if type(text) is str else _value(value, depth)
    return found


def _value(value: dict[str, Any] | None, depth: int) -> Any:
    for name, content in (value or {}).items():
        if content is not None and (read := _READERS.get(name)):
            return read(content, depth)
    return None


def _string(content: Any, depth: int) -> str:
    if type(content) is not str:
        raise BadRecordError("a stringValue is not text")
    return content


def _boolean(content: Any, depth: int) -> bool:
    if type(content) is not bool:
        raise BadRecordError("a boolValue is neither true nor false")
    return content


def _long(content: Any, depth: int) -> int:
    return integer(content, "an intValue", -(2**63), 2**63)


def _double(content: Any, depth: int) -> float:
    try:
        if type(content) is not bool:
            return float(content)
    except (ValueError, OverflowError, TypeError):
        pass
    raise BadRecordError("a doubleValue is not a number")


def _bytes(content: Any, depth: int) -> bytes:
    try:
        standard = content.translate({ord("-"): "+", ord("_"): "/"})
        return b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except ValueError as error:
        raise BadRecordError("a bytesValue is not base64") from error


def _array(content: Any, depth: int) -> list[Any]:
    deeper = _deeper(depth)
    return [_value(each, deeper) for each in _list(content, "values")]


def _key_values(content: Any, depth: int) -> Attributes:
    return _attributes(_list(content, "values"), _deeper(depth))


def _deeper(depth: int) -> int:
    if depth == _DEEP:
        raise BadRecordError(f"a value is nested deeper than {_DEEP} levels")
    return depth + 1


_READERS: dict[str, Callable[[Any, int], Any]] = {
    "stringValue": _string,
    "boolValue": _boolean,
    "intValue": _long,
    "doubleValue": _double,
    "bytesValue": _bytes,
    "arrayValue": _array,
    "kvlistValue": _key_values,
}


def _dict(record: dict[str, Any], name: str) -> dict[str, Any]:
    found = record.get(name) or {}
    if type(found) is not dict:
        raise BadRecordError(f"{name} is not an object")
    return found


def _list(record: dict[str, Any], name: str) -> list[Any]:
    found = record.get(name) or []
    if type(found) is not list:
        raise BadRecordError(f"{name} is not a list")
    return found


def _text(record: dict[str, Any], name: str) -> str:
    found = record.get(name)
    if found is None:
        return ""
    if type(found) is not str:
        raise BadRecordError(f"{name} is not text")
    return found


def _time(record: dict[str, Any], name: str) -> int:
    return integer(record.get(name), name, 0, 2**64)


def _count(record: dict[str, Any], name: str) -> int:
    found = record.get(name)
    return integer(found, name, 0, 2**32) if found else 0


def _enum(value: Any, names: dict[str, int]) -> int:
    """Return an enum's number. Its name is accepted too; a name that is unknown is 0."""
    if type(value) is str and not value.lstrip("-").isdecimal():
        return names.get(value, 0)
    return integer(value, "an enum", -(2**31), 2**31)


def integer(value: Any, name: str, low: int, end: int) -> int:
    """Return an integer that is a number or text; None is 0."""
    number = _whole(value)
    if number is None or not low <= number < end:
        raise BadRecordError(f"{name} is not an integer from {low} to {end - 1}")
    return number


def _whole(value: Any) -> int | None:
    kind = type(value)
    if kind is int:
        return int(value)
    if value is None:
        return 0
    try:
        if kind is str or (kind is float and value.is_integer()):
            return int(value)
    except ValueError:
        pass
    return None
