"""Rows of Agiwo's own database, as entries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from curio_persistence.compat.agiwo.serialization import entry_of
from curio_persistence.errors import InvalidValueError
from curio_persistence.runlog.entries import RunLogEntry

_COLUMNS = ("session_id", "sequence", "run_id", "agent_id", "kind")


def entry_of_row(row: Mapping[str, Any]) -> RunLogEntry:
    """Return the entry of a row; InvalidValueError if the row is damaged."""
    payload = _parsed("payload", row.get("payload"))
    if not isinstance(payload, dict):
        raise InvalidValueError("its payload is no JSON object", field="payload")
    columns = {name: row.get(name) for name in _COLUMNS}
    if type(columns["sequence"]) is not int or columns["sequence"] < 1:
        raise InvalidValueError("its sequence is no number from 1", field="sequence")
    for name in _COLUMNS:
        if name != "sequence" and not isinstance(columns[name], str):
            raise InvalidValueError(f"its {name} is no text", field=name)
    return entry_of({**payload, **columns, "created_at": _time(payload.get("created_at"))})


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
        raise InvalidValueError(f"its {name} is not JSON", field=name) from error
