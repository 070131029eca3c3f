"""The rows of Langfuse's exports: whole traces, observations, and scores, in either spelling."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from curio_persistence.importers.sessions.places import objects_in
from curio_persistence.importers.traces.rows import Row

OBSERVATION, SCORE, TRACE = "observation", "score", "trace"
_UNDERSCORE = re.compile("_([a-z])")
_LISTS = ("data", "traces")
_COLUMNS = (
    {"traceId", "parentObservationId", "type", "startTime"},
    {"traceId", "observationId", "dataType", "value"},
)


def kind_of(row: Row) -> str | None:
    """Return what a row is; None if it is nothing of Langfuse's."""
    names = row.keys()
    if {"traceId", "startTime"} <= names and str(row.get("type")).isupper():
        return OBSERVATION  # OpenTelemetry's files have types in small letters.
    if "traceId" in names and "name" in names and names & {"value", "stringValue"}:
        return SCORE
    return TRACE if {"id", "timestamp", "name"} <= names and names & _OF_TRACE else None


_OF_TRACE = {"observations", "sessionId", "userId", "bookmarked", "public"}


def is_part(row: Row) -> bool:
    """Return whether a row is Langfuse's; of Parquet only the names of the columns are known."""
    names = _camel(row).keys()
    return any(True for _ in split(row)) or any(each <= names for each in _COLUMNS)


def split(row: Row) -> Iterator[tuple[str, Row]]:
    """Yield the parts of a row, each with the id of its trace."""
    row = _camel(row)
    for name in _LISTS:
        if isinstance(row.get(name), list):
            for each in objects_in(row[name]):
                yield from split(each)
            return
    kind = kind_of(row)
    if kind == TRACE and isinstance(row["id"], str):
        trace_id = row["id"]
        parts = {name: objects_in(row.pop(name, None)) for name in ("observations", "scores")}
        yield trace_id, row
        for each in (*parts["observations"], *parts["scores"]):
            yield from split({"traceId": trace_id, **each})
    elif kind is not None and isinstance(row.get("traceId"), str):
        yield row["traceId"], row


def _camel(row: Row) -> Row:
    """Return a row with the names of the API: a blob export writes them with underscores."""
    return {_camel_name(name): value for name, value in row.items()}


@lru_cache(1_024)
def _camel_name(name: str) -> str:
    return _UNDERSCORE.sub(lambda found: found[1].upper(), name)
