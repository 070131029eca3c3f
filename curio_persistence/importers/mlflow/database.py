"""The database of MLflow: what it tells of each trace, and the spans as JSON."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from curio_persistence.importers.common.sqlite_tables import Database
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.mlflow.traces import records_of_trace
from curio_persistence.importers.sessions.records import SourceLocation
from curio_persistence.importers.traces.words import parsed

if TYPE_CHECKING:
    from curio_persistence.importers.sessions.context import SessionContext
    from curio_persistence.importers.sessions.files import SessionFile

_AT_ONCE = 1_000
_TRACES = """
SELECT t.request_id, t.timestamp_ms, e.name
  FROM trace_info t LEFT JOIN experiments e ON e.experiment_id = t.experiment_id
 WHERE t.request_id > ? ORDER BY t.request_id LIMIT ?
"""
_SPANS = "SELECT content FROM spans WHERE trace_id = ? ORDER BY start_time_unix_nano, span_id"
_METADATA = 'SELECT "key", value FROM trace_request_metadata WHERE request_id = ?'
_TAGS = 'SELECT "key", value FROM trace_tags WHERE request_id = ?'
_ASSESSMENTS = """
SELECT name, value, source_type, source_id, span_id, rationale, last_updated_timestamp
  FROM assessments WHERE trace_id = ? AND assessment_type = 'feedback'
 ORDER BY last_updated_timestamp
"""


def is_mlflow(database: Database) -> bool:
    """Return whether a database is one of MLflow with traces."""
    tables = database.tables
    return "request_id" in tables.get("trace_info", ()) and "experiments" in tables


def read_database(
    database: Database, file: SessionFile, context: SessionContext
) -> Generator[ImportedRecord, None, bool]:
    """Yield the records of all traces; those whose spans lie elsewhere are counted."""
    location = SourceLocation(file.name)
    for trace_id, milliseconds, experiment in _traces(database):
        spans = [*_spans(database, trace_id)]
        if not spans:
            context.skip("traces without spans in the database")
            continue
        info = {
            "timestamp_ms": milliseconds,
            "experiment_id": experiment,
            "trace_metadata": dict(database.rows(_METADATA, trace_id)),
            "tags": dict(database.rows(_TAGS, trace_id)),
            "assessments": [*_assessments(database, trace_id)],
        }
        yield from records_of_trace(context, trace_id, info, spans, location)
    return context.is_still(file)


def _traces(database: Database) -> Iterator[tuple[Any, ...]]:
    last = ""
    while some := database.rows(_TRACES, last, _AT_ONCE):
        yield from some
        last = some[-1][0]


def _spans(database: Database, trace_id: str) -> Iterator[dict[str, Any]]:
    if "content" in database.tables.get("spans", ()):
        for (content,) in database.rows(_SPANS, trace_id):
            if isinstance(span := parsed(content), dict):
                yield span


def _assessments(database: Database, trace_id: str) -> Iterator[dict[str, Any]]:
    """Yield the feedback on a trace as the API tells it."""
    if "last_updated_timestamp" in database.tables.get("assessments", ()):
        for name, value, kind, source_id, span_id, rationale, at in database.rows(
            _ASSESSMENTS, trace_id
        ):
            yield {
                "assessment_name": name,
                "feedback": {"value": _from_json(value)},
                "source": {"source_type": kind, "source_id": source_id},
                "span_id": span_id,
                "rationale": rationale,
                "last_update_time": at / 1000 if isinstance(at, int) else at,
            }


def _from_json(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return text
