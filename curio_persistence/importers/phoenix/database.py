"""The database of Phoenix: spans with their traces, sessions, projects and costs."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.importers.common.sqlite_tables import Database
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.phoenix.spans import records_of_spans, span_of
from curio_persistence.importers.sessions.records import Found, SourceLocation
from curio_persistence.importers.traces.steps import Judgement
from curio_persistence.importers.traces.values import Values, judged, text
from curio_persistence.importers.traces.words import parsed

if TYPE_CHECKING:
    from curio_persistence.importers.sessions.context import SessionContext
    from curio_persistence.importers.sessions.files import SessionFile

_AT_ONCE = 1_000
_TRACES = """
SELECT t.id, t.trace_id, p.name, {session}
  FROM traces t LEFT JOIN projects p ON p.id = t.project_rowid {joins}
 WHERE t.id > ? ORDER BY t.id LIMIT ?
"""
_SESSIONS = "LEFT JOIN project_sessions r ON r.id = t.project_session_rowid"
_COLUMNS = (
    *("span_id", "parent_id", "name", "span_kind", "start_time", "end_time"),
    *("attributes", "events", "status_code", "status_message"),
)
_SPANS = f"SELECT id, {', '.join(_COLUMNS)} FROM spans WHERE trace_rowid = ? ORDER BY id"
_COSTS = """
SELECT span_rowid, sum(total_cost) FROM span_costs
 WHERE span_rowid IN (SELECT id FROM spans WHERE trace_rowid = ?) GROUP BY span_rowid
"""
_SCORES = """
SELECT s.span_id, a.name, a.score, a.label, a.explanation, a.annotator_kind, a.updated_at, {author}
  FROM span_annotations a JOIN spans s ON s.id = a.span_rowid WHERE s.trace_rowid = ?
 ORDER BY a.id
"""


class _Trace(NamedTuple):
    row_id: int
    trace_id: str
    project: str | None
    session_id: str | None


def is_phoenix(database: Database) -> bool:
    """Return whether a database is one of Phoenix."""
    return {"trace_rowid", "span_kind", *_COLUMNS} <= database.tables.get("spans", set())


def read_database(
    database: Database, file: SessionFile, context: SessionContext
) -> Generator[ImportedRecord, None, bool]:
    """Yield the records of all traces."""
    location = SourceLocation(file.name)
    for trace in _traces(database):
        yield from _records(database, trace, location, context)
    return context.is_still(file)


def _traces(database: Database) -> Iterator[_Trace]:
    has_sessions = "project_sessions" in database.tables
    session, joins = ("r.session_id", _SESSIONS) if has_sessions else ("NULL", "")
    statement, last = _TRACES.format(session=session, joins=joins), -1
    while some := database.rows(statement, last, _AT_ONCE):
        yield from map(_Trace._make, some)
        last = some[-1][0]


def _records(
    database: Database, trace: _Trace, location: SourceLocation, context: SessionContext
) -> Found:
    has_costs = "span_costs" in database.tables
    costs = dict(database.rows(_COSTS, trace.row_id)) if has_costs else {}
    values, told = Values(context, location), []
    for row_id, *columns in database.rows(_SPANS, trace.row_id):
        row = _in_one_shape(dict(zip(_COLUMNS, columns, strict=True)), costs.get(row_id))
        if (span := span_of(row, values, location)) is not None:
            told.append(span.told(values))
    scores = [*_scores(database, trace, values, location)]
    others = {"session_id": trace.session_id, "project": trace.project}
    yield from records_of_spans(context, trace.trace_id, told, location, scores, **others)


def _scores(
    database: Database, trace: _Trace, values: Values, location: SourceLocation
) -> Iterator[Judgement]:
    columns = database.tables.get("span_annotations")
    if columns is None:
        return
    author = "a.identifier" if "identifier" in columns else "NULL"
    for row in database.rows(_SCORES.format(author=author), trace.row_id):
        span_id, name, score, label, explanation, kind, told_at, author = row
        value, _ = judged(score)
        at, word = values.utc(told_at), text(label)
        if at is not None and (value is not None or word is not None):
            told = (value, word, text(explanation), text(author) or "", text(span_id))
            yield Judgement(str(name), str(kind), at, location, *told)


def _in_one_shape(row: dict[str, Any], cost: float | None) -> dict[str, Any]:
    """Return a row as the REST API writes a span."""
    attributes = parsed(row["attributes"])
    attributes = dict(attributes) if isinstance(attributes, dict) else {}
    if cost is not None:
        attributes["llm.cost.total"] = cost
    return {**row, "context": {"span_id": row["span_id"]}, "attributes": attributes}
