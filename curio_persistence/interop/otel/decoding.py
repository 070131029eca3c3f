"""Bodies of OTLP/HTTP as values: traces, logs and metrics, in protobuf or JSON."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from curio_persistence.errors import InvalidValueError
from curio_persistence.interop.otel import json_bodies, protobuf_bodies
from curio_persistence.interop.otel.checking import Rejections
from curio_persistence.interop.otel.spans import OtelLog, OtelPoint, OtelSpan

_FORMATS = {
    "application/x-protobuf": protobuf_bodies,
    "application/protobuf": protobuf_bodies,
    "application/json": json_bodies,
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """The spans of a body, how many were rejected, and why: OTLP's partial success."""

    spans: list[OtelSpan]
    rejected: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class DecodedLogs:
    """The log records of a body, how many were rejected, and why."""

    logs: list[OtelLog]
    rejected: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class DecodedMetrics:
    """The data points of a body, how many were rejected, and why."""

    points: list[OtelPoint]
    rejected: int = 0
    message: str = ""


def decode_traces(body: bytes, content_type: str) -> Decoded:
    """Return the spans of an `ExportTraceServiceRequest`, without compression.

    A span is rejected for an id that is missing, all 0 or of a wrong length, for a number that its
    member cannot hold, and in JSON for a member of another type. Corrected are a span that is its
    own parent, which has none then, and an end before its beginning, which becomes the beginning.
    Raises InvalidValueError for a body that is not OTLP.
    """
    rejections = Rejections("span")
    spans = list(_format(content_type).read_spans(body, rejections))
    return Decoded(spans, rejections.count, rejections.message)


def decode_logs(body: bytes, content_type: str) -> DecodedLogs:
    """Return the records of an `ExportLogsServiceRequest`; see `decode_traces`."""
    rejections = Rejections("log record")
    logs = list(_format(content_type).read_logs(body, rejections))
    return DecodedLogs(logs, rejections.count, rejections.message)


def decode_metrics(body: bytes, content_type: str) -> DecodedMetrics:
    """Return the data points of an `ExportMetricsServiceRequest`; see `decode_traces`.

    A metric that is wrong counts as one data point.
    """
    rejections = Rejections("data point")
    points = list(_format(content_type).read_points(body, rejections))
    return DecodedMetrics(points, rejections.count, rejections.message)


def _format(content_type: str) -> ModuleType:
    """Return the module that reads a content type; parameters such as the charset are ignored."""
    found = _FORMATS.get(content_type.partition(";")[0].strip().lower())
    if found is None:
        raise InvalidValueError(
            f"The content type of OTLP is {' or '.join(sorted({*_FORMATS}))}, "
            f"not {content_type[:100]!r}.",
            field="content_type",
        )
    return found
