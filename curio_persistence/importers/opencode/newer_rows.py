"""The tables of OpenCode 2: a row has a whole message, of any of several types.

Messages are read as those of OpenCode 1, whose tables may have the same once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from curio_persistence.importers.common.sqlite_tables import Database
from curio_persistence.importers.opencode.library import Item, Json, Session, Shelf
from curio_persistence.importers.opencode.messages import ABORTED
from curio_persistence.importers.opencode.rows import session_in
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.places import Place, member, text_of

_TABLE = "session_message"
_READ = "type IN ('user', 'synthetic', 'assistant', 'compaction')"
_SESSIONS = f"""
SELECT session_id, count(*), max(CAST(time_updated AS INTEGER)) FROM {_TABLE}
WHERE session_id IN (SELECT session_id FROM {_TABLE} WHERE type IN ('user', 'assistant'))
GROUP BY session_id
"""
_MESSAGES = (
    f"SELECT CAST(time_created AS INTEGER), id FROM {_TABLE} WHERE session_id = ? AND {_READ}"
)
_ABORTS = ("abort", "interrupt", "cancel")


class NewerRows(Shelf):
    """One database."""

    def __init__(self, database: Database, file: SessionFile, context: SessionContext) -> None:
        self._database, self._file, self._context = database, file, context

    @staticmethod
    def are_in(database: Database) -> bool:
        """Return whether a database has these tables."""
        columns = database.tables.get(_TABLE, set())
        return {"type", "data", "time_updated"} <= columns and "session" in database.tables

    def sessions(self) -> Iterator[Session]:
        tables = [name for name in ("session_v2", "session") if name in self._database.tables]
        for ident, count, updated in self._database.rows(_SESSIONS):
            rows = (self._database.row(table, "id", ident) for table in tables)
            if row := next(filter(None, rows), None):
                yield session_in(row, self._file, count, updated or 0)

    def messages(self, session: str) -> Iterable[tuple[int, str]]:
        return [(at or 0, ident) for at, ident in self._database.rows(_MESSAGES, session)]

    def message(self, session: str, ident: str) -> Item | None:
        found = self._row(ident)
        if found is None:
            return None
        kind, data, place = found
        value = _answer(data) if kind == "assistant" else {"role": "user"}
        return Item(ident, {"time": data.get("time"), **value}, place)

    def parts(self, message: str, besides: set[str]) -> Iterator[Item]:
        found = self._row(message)
        if found is not None:
            kind, data, place = found
            for number, part in enumerate(_parts(kind, data), start=1):
                yield Item(f"{message}-{part.get('id') or number}", part, place)

    def _row(self, ident: str) -> tuple[str, Json, Place] | None:
        row = self._database.row(_TABLE, "id", ident)
        place = Place(self._context, self._file.name, what=f"message {ident}")
        data = None if row is None else place.json(row["data"])
        return (row["type"], data, place) if row and isinstance(data, dict) else None


def _answer(data: Json) -> Json:
    tokens, error = data.get("tokens"), data.get("error")
    if isinstance(tokens, dict):
        tokens = {**tokens, "total": _total(tokens)}
    return {
        "role": "assistant",
        "modelID": member(data, "model", "id"),
        "providerID": member(data, "model", "providerID"),
        "tokens": tokens,
        "cost": data.get("cost"),
        "error": None if error is None else _error(error),
    }


def _total(tokens: Mapping[str, Any]) -> int:
    """Return the sum with reasoning, which stands beside the output."""
    cache = tokens.get("cache")
    counts = [tokens.get(name) for name in ("input", "output", "reasoning")]
    counts += [member(cache, name) for name in ("read", "write")]
    return sum(count for count in counts if isinstance(count, int))


def _error(error: Any) -> Json:
    kind = str(member(error, "type") or member(error, "name") or "error")
    message = error if isinstance(error, str) else member(error, "message") or kind
    is_aborted = any(word in kind.lower() for word in _ABORTS)
    return {"name": ABORTED if is_aborted else kind, "data": {"message": message}}


def _parts(kind: str, data: Json) -> Iterator[Json]:
    if kind == "assistant":
        content = data.get("content")
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict):
                yield _tool(part) if part.get("type") == "tool" else part
    elif kind == "compaction":
        yield {"type": "compaction", "synthetic": True, "summary": data.get("summary")}
    else:
        yield {"type": "text", "text": data.get("text"), "synthetic": kind == "synthetic"}


def _tool(part: Json) -> Json:
    state, structured = part.get("state"), member(part, "state", "structured")
    child = member(structured, "sessionID") or member(structured, "sessionId")
    error = member(state, "error")
    return {
        "id": part.get("id"),
        "type": "tool",
        "tool": part.get("name"),
        "callID": part.get("id") or part.get("callID"),
        "state": {
            "status": member(state, "status"),
            "input": member(state, "input"),
            "output": text_of(member(state, "content")),
            "error": error if isinstance(error, str) else member(error, "message"),
            "metadata": {"sessionId": child},
            "time": {
                "start": member(part, "time", "ran") or member(part, "time", "created"),
                "end": member(part, "time", "completed"),
            },
        },
    }
