"""Traces of MLflow as records, in the shapes of version 3 and of those before."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from curio_persistence.importers.sessions.places import objects_in
from curio_persistence.importers.sessions.records import Found, SourceLocation
from curio_persistence.importers.traces.attributes import AttributeSpan, Told, trace_of
from curio_persistence.importers.traces.records import records_of
from curio_persistence.importers.traces.rows import Placed, Row
from curio_persistence.importers.traces.steps import Judgement
from curio_persistence.importers.traces.values import Values, exception_in, judged, text
from curio_persistence.importers.traces.words import object_in, parsed

if TYPE_CHECKING:
    from curio_persistence.importers.sessions.context import SessionContext

_SPAN_ID_BYTES = 8
_SESSION, _USER = "mlflow.trace.session", "mlflow.trace.user"
_NAME, _REQUEST_ID = "mlflow.traceName", "mlflow.traceRequestId"


def is_trace(row: Row) -> bool:
    """Return whether a row is a trace, or the file of one in `mlruns`."""
    return any(True for _ in split(row))


def split(row: Row) -> Iterator[tuple[str, Row]]:
    """Yield the traces in a row, each with its id."""
    traces = row.get("traces")
    for each in traces if isinstance(traces, list) else [row]:
        if isinstance(each, dict) and (trace_id := _trace_id(each)) is not None:
            yield trace_id, each


def _trace_id(row: Row) -> str | None:
    info, spans = object_in(row.get("info")), spans_in(row)
    if (told := text(info.get("trace_id")) or text(info.get("request_id"))) is not None:
        return told
    attributes = (object_in(span.get("attributes")) for span in spans)
    found = (text(parsed(each.get(_REQUEST_ID))) for each in attributes)
    return next(filter(None, found), None)


def records(context: SessionContext, trace_id: str, rows: list[Placed]) -> Found:
    """Yield the records of a trace; of one that is there twice, what was written last."""
    row, location = rows[-1]
    yield from records_of_trace(
        context, trace_id, object_in(row.get("info")), spans_in(row), location
    )


def records_of_trace(
    context: SessionContext,
    trace_id: str,
    info: Mapping[str, Any],
    spans: list[Row],
    location: SourceLocation,
) -> Found:
    """Yield the records of a trace by what is told of it, its `assessments` too, and its spans."""
    values = Values(context, location)
    told: list[Told] = []
    for row in spans:
        if (span := _span(row, values, location)) is not None:
            told.append(span.told(values))
    metadata = object_in(info.get("trace_metadata")) or object_in(info.get("request_metadata"))
    tags = object_in(info.get("tags"))
    experiment = object_in(object_in(info.get("trace_location")).get("mlflow_experiment"))
    trace = trace_of(
        trace_id,
        told,
        location,
        name=text(tags.get(_NAME)),
        started_at=values.utc(info.get("request_time")) or _milliseconds(info, values),
        session_id=text(metadata.get(_SESSION)),
        user_id=text(metadata.get(_USER)),
        tags=tuple(_own(tags)),
        project=text(experiment.get("experiment_id")) or text(info.get("experiment_id")),
    )
    # Of spans of models within one another the topmost has the tokens.
    steps = [each.step for each in told]
    scores = [*_scores(info.get("assessments"), values, location)]
    yield from records_of(context, trace, steps, scores, outermost=True)


def _scores(told: Any, values: Values, location: SourceLocation) -> Iterator[Judgement]:
    """Yield what is thought of a trace; what replaces another comes behind it."""
    for row in told if isinstance(told, list) else ():
        each = object_in(row)
        answer, source = object_in(each.get("feedback")), object_in(each.get("source"))
        value, label = judged(answer.get("value"))
        at = values.utc(each.get("last_update_time") or each.get("create_time"))
        if at is not None and (value is not None or label is not None):
            yield Judgement(
                text(each.get("assessment_name")) or "feedback",
                str(source.get("source_type")),
                at,
                location,
                value,
                label,
                text(each.get("rationale")),
                text(source.get("source_id")) or "",
                _id(each.get("span_id")),
            )


def _own(tags: Mapping[str, Any]) -> Iterator[str]:
    """Yield the tags that people gave."""
    for name, value in tags.items():
        if not name.startswith("mlflow."):
            yield f"{name}={value}" if value not in (None, "") else name


def _milliseconds(info: Mapping[str, Any], values: Values) -> Any:
    told = info.get("timestamp_ms")
    return values.nanoseconds(told * 1_000_000) if type(told) is int else None


def _span(row: Row, values: Values, location: SourceLocation) -> AttributeSpan | None:
    context = object_in(row.get("context"))
    span_id = _id(row.get("span_id") or context.get("span_id"))
    started_at = values.nanoseconds(row.get("start_time_unix_nano") or row.get("start_time"))
    if span_id is None or started_at is None:
        return None
    attributes = {n: parsed(v) for n, v in object_in(row.get("attributes")).items()}
    return AttributeSpan(
        span_id,
        _id(row.get("parent_span_id") or row.get("parent_id")),
        text(row.get("name")) or "span",
        started_at,
        values.nanoseconds(row.get("end_time_unix_nano") or row.get("end_time")),
        attributes,
        location,
        _error(row),
    )


def _error(row: Row) -> str | None:
    """Return the message of a span that failed, where an exception says more than the status."""
    status = object_in(row.get("status"))
    code = text(status.get("code")) or text(row.get("status_code")) or ""
    if not code.endswith("ERROR"):
        return None
    message = exception_in(row.get("events")) or text(status.get("message"))
    return message or text(row.get("status_message")) or "error"


def _id(value: Any) -> str | None:
    """Return a span's id as hex: version 3 writes base64, those before `0x` and hex."""
    told = text(value)
    if told is None:
        return None
    if told.startswith("0x"):
        return told[2:].lower()
    try:
        raw = base64.b64decode(told, validate=True)
    except (binascii.Error, ValueError):
        return told.lower()
    return raw.hex() if len(raw) == _SPAN_ID_BYTES else told.lower()


def spans_in(row: Row) -> list[Row]:
    """Return the spans of a trace; the file in `mlruns` has them at its top."""
    data = object_in(row.get("data"))
    return objects_in(data.get("spans") or row.get("spans"))
