"""OTLP's bodies in protobuf, as values. Needs the extra `otlp`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from itertools import chain
from typing import Any, NamedTuple

from curio_persistence.errors import ConfigurationError, InvalidValueError
from curio_persistence.interop.otel.checking import (
    DELTA,
    DISTRIBUTIONS,
    Rejections,
    accepted,
    end_of,
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

_MAKERS, _SHORT = 256, 4096
"""How many makers of spans are remembered, and the most bytes of one."""


def read_spans(body: bytes, rejections: Rejections) -> Iterator[OtelSpan]:
    """Yield the spans of an `ExportTraceServiceRequest`."""
    request = _parsed(messages().traces, body)
    groups = (
        (_source(resource, scope), scope.spans)
        for resource in request.resource_spans
        for scope in resource.scope_spans
    )
    return accepted(groups, _span, rejections)


def read_logs(body: bytes, rejections: Rejections) -> Iterator[OtelLog]:
    """Yield the records of an `ExportLogsServiceRequest`."""
    request = _parsed(messages().logs, body)
    groups = (
        (_source(resource, scope), scope.log_records)
        for resource in request.resource_logs
        for scope in resource.scope_logs
    )
    return accepted(groups, _log, rejections)


def read_points(body: bytes, rejections: Rejections) -> Iterator[OtelPoint]:
    """Yield the data points of an `ExportMetricsServiceRequest`."""
    request = _parsed(messages().metrics, body)
    groups = (
        (_source(resource, scope), scope.metrics)
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
    )
    return chain.from_iterable(accepted(groups, _points, rejections))


class Messages(NamedTuple):
    """The messages of requests, and the error for a body that is none of them."""

    traces: Any
    logs: Any
    metrics: Any
    resource: Any
    scope: Any
    error: type[Exception]


@cache
def messages() -> Messages:
    """Import opentelemetry-proto; raises ConfigurationError where it is not installed."""
    try:
        from google.protobuf.message import DecodeError
        from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
        from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
        from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
        from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    except ImportError as error:
        raise ConfigurationError(
            f"OTLP in protobuf needs opentelemetry-proto ({error}): "
            "pip install 'curio-persistence[otlp]'"
        ) from error
    return Messages(
        traces.ExportTraceServiceRequest,
        logs.ExportLogsServiceRequest,
        metrics.ExportMetricsServiceRequest,
        Resource,
        InstrumentationScope,
        DecodeError,
    )


def _parsed(kind: Any, body: bytes) -> Any:
    try:
        return kind.FromString(body)
    except messages().error as error:
        raise InvalidValueError(
            f"The body is not OTLP in protobuf ({error}). Send an {kind.DESCRIPTOR.name}, "
            "or JSON with the content type application/json.",
            field="body",
        ) from error


def _source(resource: Any, scope: Any) -> Source:
    """Return the maker of some spans; the same maker is the same object in each body."""
    told = resource.resource.SerializeToString(), scope.scope.SerializeToString()
    is_short = sum(map(len, told)) <= _SHORT
    make = _source_told if is_short else _source_told.__wrapped__
    return make(*told, resource.schema_url, scope.schema_url)


@lru_cache(_MAKERS)
def _source_told(resource: bytes, scope: bytes, resource_url: str, scope_url: str) -> Source:
    of_resource = messages().resource.FromString(resource)
    of_scope = messages().scope.FromString(scope)
    return Source(
        resource=_attributes(of_resource.attributes),
        resource_schema_url=resource_url,
        resource_dropped=of_resource.dropped_attributes_count,
        scope_name=of_scope.name,
        scope_version=of_scope.version,
        scope=_attributes(of_scope.attributes),
        scope_schema_url=scope_url,
        scope_dropped=of_scope.dropped_attributes_count,
    )


def _span(span: Any, source: Source) -> OtelSpan:
    span_id = _required(span.span_id, "span_id", 8)
    parent = span.parent_span_id
    start_ns = span.start_time_unix_nano
    status = span.status
    not_too_many(span.events, "events")
    not_too_many(span.links, "links")
    return OtelSpan(
        trace_id=_required(span.trace_id, "trace_id", 16),
        span_id=span_id,
        parent_span_id=other_than(span_id, _optional(parent)) if parent else None,
        name=span.name,
        start_ns=start_ns,
        end_ns=end_of(start_ns, span.end_time_unix_nano),
        kind=span.kind,
        status_code=status.code,
        status_message=status.message,
        attributes=_attributes(span.attributes),
        events=tuple(map(_event, span.events)),
        links=tuple(map(_link, span.links)),
        trace_state=span.trace_state,
        flags=span.flags,
        dropped_attributes=span.dropped_attributes_count,
        dropped_events=span.dropped_events_count,
        dropped_links=span.dropped_links_count,
        source=source,
    )


def _required(raw: bytes, name: str, size: int) -> str:
    if len(raw) == size and any(raw):
        return raw.hex()
    return required_id(raw.hex(), name, 2 * size)


def _optional(raw: bytes) -> str | None:
    return optional_id(raw.hex(), "parent_span_id", 16)


def _event(event: Any) -> OtelEvent:
    return OtelEvent(
        event.name,
        event.time_unix_nano,
        _attributes(event.attributes),
        event.dropped_attributes_count,
    )


def _link(link: Any) -> OtelLink:
    return OtelLink(
        link.trace_id.hex(),
        link.span_id.hex(),
        link.trace_state,
        _attributes(link.attributes),
        link.dropped_attributes_count,
        link.flags,
    )


def _log(log: Any, source: Source) -> OtelLog:
    return OtelLog(
        log.time_unix_nano or log.observed_time_unix_nano,
        optional_id(log.trace_id.hex(), "trace_id", 32),
        optional_id(log.span_id.hex(), "span_id", 16),
        # Protocols before 1.5 have no such member.
        getattr(log, "event_name", ""),
        _value(log.body),
        _attributes(log.attributes),
        log.severity_number,
        log.severity_text,
        log.flags,
        log.dropped_attributes_count,
        source,
    )


def _points(metric: Any, source: Source) -> list[OtelPoint]:
    kind = metric.WhichOneof("data")
    if kind is None:
        return []
    data = getattr(metric, kind)
    is_delta = getattr(data, "aggregation_temporality", 0) == DELTA
    return [
        OtelPoint(
            metric.name,
            *_measured(kind, point),
            unit=metric.unit,
            type=kind,
            is_delta=is_delta,
            time_ns=point.time_unix_nano,
            start_ns=point.start_time_unix_nano,
            attributes=_attributes(point.attributes),
            source=source,
        )
        for point in data.data_points
    ]


def _measured(kind: str, point: Any) -> tuple[float | None, int | None]:
    """Return the value of a data point, and of how many values it is."""
    if kind in DISTRIBUTIONS:
        is_told = kind == "summary" or point.HasField("sum")
        return point.sum if is_told else None, point.count
    which = point.WhichOneof("value")
    return None if which is None else getattr(point, which), None


def _attributes(pairs: Iterable[Any]) -> Attributes:
    # Most values are text. To ask for it is quicker than to ask which of them is set.
    return {pair.key: (value := pair.value).string_value or _value(value) for pair in pairs}


def _value(value: Any) -> Any:
    which = value.WhichOneof("value")
    if which == "array_value":
        return [_value(each) for each in value.array_value.values]
    if which == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return None if which is None else getattr(value, which)
