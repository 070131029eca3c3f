"""Spans of Phoenix as records, in the shapes of its REST API and of its data frames."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from curio_persistence.importers.sessions.records import Found, SourceLocation
from curio_persistence.importers.traces.attributes import AttributeSpan, Told, flat, trace_of
from curio_persistence.importers.traces.records import records_of
from curio_persistence.importers.traces.rows import Placed, Row
from curio_persistence.importers.traces.steps import Judgement
from curio_persistence.importers.traces.values import Values, exception_in, text
from curio_persistence.importers.traces.words import object_in

if TYPE_CHECKING:
    from curio_persistence.importers.sessions.context import SessionContext

LISTS = ("data", "spans")
"""The names of the list of spans, in a page of the REST API and in a trace of the command line."""
_COLUMN = "attributes."


def is_span(names: Collection[str]) -> bool:
    """Return whether a row with columns of these names is a span of Phoenix."""
    there = {*names}
    return {"span_kind", "start_time", "name"} <= there and bool(
        {"context", "context.trace_id"} & there
    )


def split(row: Row) -> Iterator[tuple[str, Row]]:
    """Yield the spans in a row, each with the id of its trace."""
    lists = (row[name] for name in LISTS if isinstance(row.get(name), list))
    for each in next(lists, [row]):
        if isinstance(each, dict) and is_span(each):
            span = _in_one_shape(each)
            if isinstance(span["context"].get("trace_id"), str):
                yield span["context"]["trace_id"], span


def records(context: SessionContext, trace_id: str, rows: list[Placed]) -> Found:
    """Yield the records of a trace."""
    told = [
        span.told(Values(context, location))
        for row, location in rows
        if (span := span_of(row, Values(context, location), location)) is not None
    ]
    yield from records_of_spans(context, trace_id, told, rows[0][1])


def records_of_spans(
    context: SessionContext,
    trace_id: str,
    told: Sequence[Told],
    location: SourceLocation,
    scores: Sequence[Judgement] = (),
    **others: Any,
) -> Found:
    """Yield the records of a trace by what its spans tell."""
    trace = trace_of(trace_id, told, location, **others)
    yield from records_of(context, trace, [each.step for each in told], scores)


def _in_one_shape(row: Row) -> Row:
    """Return a span as the REST API writes it: a data frame has a column for each attribute."""
    if "context" in row:
        told = {name: object_in(row.get(name)) for name in ("context", "attributes")}
        return {**row, **told}
    attributes = {
        name.removeprefix(_COLUMN): value for name, value in row.items() if name.startswith(_COLUMN)
    }
    context = {
        "trace_id": row["context.trace_id"],
        "span_id": row.get("context.span_id"),
    }
    return {**row, "context": context, "attributes": attributes}


def span_of(row: Row, values: Values, location: SourceLocation) -> AttributeSpan | None:
    """Return a span by a row of the REST API; None, and a problem, without a time or an id."""
    started_at, span_id = values.utc(row["start_time"]), text(row["context"].get("span_id"))
    if started_at is None or span_id is None:
        return None
    kind = {"openinference.span.kind": row.get("span_kind")}
    return AttributeSpan(
        span_id,
        text(row.get("parent_id")),
        text(row.get("name")) or "span",
        started_at,
        values.utc(row.get("end_time")),
        kind | flat(row["attributes"]),
        location,
        _error(row),
    )


def _error(row: Row) -> str | None:
    if row.get("status_code") != "ERROR":
        return None
    return text(row.get("status_message")) or exception_in(row.get("events")) or "error"
