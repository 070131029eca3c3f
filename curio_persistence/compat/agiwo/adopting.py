"""Rows of Agiwo's own database, as entries and traces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from curio_persistence.compat.agiwo.serialization import entry_of
from curio_persistence.compat.agiwo.traces import Span, SpanKind, SpanStatus, Trace
from curio_persistence.errors import InvalidValueError
from curio_persistence.runlog.entries import RunLogEntry, UnknownEntry

_COLUMNS = ("session_id", "sequence", "run_id", "agent_id", "kind")


def entry_of_row(row: Mapping[str, Any]) -> tuple[RunLogEntry, int]:
    """Return the entry of a row, and how many of its fields are not known here.

    InvalidValueError if the row is damaged.
    """
    payload = _parsed("payload", row.get("payload"))
    if not isinstance(payload, dict):
        raise InvalidValueError("payload is no JSON object", field="payload")
    columns = {name: row.get(name) for name in _COLUMNS}
    if type(columns["sequence"]) is not int or columns["sequence"] < 1:
        raise InvalidValueError("sequence is no number from 1", field="sequence")
    for name in _COLUMNS:
        if name != "sequence" and not isinstance(columns[name], str):
            raise InvalidValueError(f"{name} is no text", field=name)
    entry = entry_of({**payload, **columns, "created_at": _time(payload.get("created_at"))})
    if isinstance(entry, UnknownEntry):
        return entry, 0
    return entry, len(payload.keys() - {"kind", *(each.name for each in fields(entry))})


def trace_of_row(row: Mapping[str, Any]) -> Trace:
    """Return the trace of a row; ValueError if the row is damaged."""
    trace = Trace(**_given(Trace, row))
    stored = _parsed("spans", row.get("spans") or "[]")
    trace.spans = [Span(**_given(Span, each), kind=SpanKind(each["kind"])) for each in stored]
    return trace


def _given(cls: type[Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a class that are stored, and not None."""
    names = {each.name for each in fields(cls)} - {"spans", "kind"}
    given = {name: stored[name] for name in names if stored.get(name) is not None}
    for name in ("start_time", "end_time"):
        if name in given:
            given[name] = _time(given[name])
    return {**given, "status": SpanStatus(given.get("status", "unset"))}


def _time(text: Any) -> datetime:
    """Return a time; one without a zone is in UTC, as all of Agiwo's are."""
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{text!r:.80} is not a time", field="created_at") from error
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _parsed(name: str, text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValueError(f"{name} is not JSON", field=name) from error
