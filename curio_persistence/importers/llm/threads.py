"""The tables of llm since version 0.36: threads, their turns, and a tree of messages.

A turn of llm is one answer here. Its messages are found by following the parents of its last one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from curio_persistence.importers.common.sqlite_tables import Database
from curio_persistence.importers.llm.answers import Answer, AskedTool, ToolResult
from curio_persistence.importers.llm.tokens import tokens_of
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.places import Place, an_object, text_of
from curio_persistence.importers.sessions.turns import Conversation

_TABLES = {"threads", "turns", "messages", "parts"}
_ORDER = "SELECT id FROM turns ORDER BY coalesce(thread_id, id), datetime_utc, id"
_PARTS = "SELECT id FROM parts WHERE message_hash = ? ORDER BY position"
_PARENT = "SELECT parent_hash, role FROM messages WHERE hash = ?"
_MOST_MESSAGES = 1_000
"""Messages of one answer, and of the results before it: the tree of a broken log may be a ring."""


class _Part(NamedTuple):
    type: str
    text: str
    payload: Mapping[str, Any]


def answers_in_threads(
    database: Database, file: SessionFile, context: SessionContext
) -> Iterator[Answer]:
    """Yield the answers, thread by thread."""
    if not database.tables.keys() >= _TABLES:
        return
    reader = _Threads(database)
    for (key,) in database.rows(_ORDER):
        row = database.row("turns", "id", key)
        if row is not None:
            yield reader.answer(row, Place(context, file.name, what=f"turn {key}"))


class _Threads:
    def __init__(self, database: Database) -> None:
        self._database = database

    def answer(self, row: Mapping[str, Any], place: Place) -> Answer:
        before = row["parent_message_hash"]
        said = self._parts(self._chain(row["tip_message_hash"], until=before), place)
        returned = self._parts(self._chain(before, role="tool"), place)
        asked = () if returned else self._parts(self._chain(before, role="user"), place)
        return Answer(
            place,
            self._conversation(row, place.context),
            str(row["id"]),
            place.utc(row["datetime_utc"]),
            text_of(row.get("resolved_model")) or text_of(row["model"]),
            tokens_of(place, row),
            _text(said),
            _text(said, "reasoning"),
            _text(asked),
            {
                "latency_ms": place.count(row, "duration_ms"),
                "input_params": row.get("options_json"),
            },
            [_call(part) for part in said if part.type == "tool_call"],
            [_result(part) for part in returned if part.type == "tool_result"],
            [_result(part) for part in said if part.type == "tool_result"],
        )

    def _conversation(self, row: Mapping[str, Any], context: SessionContext) -> Conversation:
        key = row["thread_id"]
        if key is None:
            return Conversation(context, str(row["id"]))
        thread = self._database.row("threads", "id", key) or {}
        told = {"title": thread.get("name"), "forked_from": thread.get("forked_from")}
        return Conversation(context, str(key), told)

    def _chain(
        self, tip: str | None, *, until: str | None = None, role: str | None = None
    ) -> list[str]:
        """Return messages from the first to the tip: those after another, or those of a role."""
        found: list[str] = []
        while tip is not None and tip != until and len(found) < _MOST_MESSAGES:
            rows = self._database.rows(_PARENT, tip)
            if not rows or role not in (None, rows[0][1]):
                break
            found.append(tip)
            tip = rows[0][0]
        return found[::-1]

    def _parts(self, messages: list[str], place: Place) -> list[_Part]:
        keys = (key for message in messages for (key,) in self._database.rows(_PARTS, message))
        rows = (self._database.row("parts", "id", key) for key in keys)
        return [
            _Part(text_of(row["type"]), text_of(row["text"]), an_object(place.json(row["payload"])))
            for row in rows
            if row is not None
        ]


def _text(parts: Iterable[_Part], kind: str = "text") -> str:
    return "\n".join(part.text for part in parts if part.type == kind and part.text)


def _call(part: _Part) -> AskedTool:
    payload = part.payload
    name = str(payload.get("name") or "")
    return AskedTool(str(payload.get("tool_call_id") or name), name, payload.get("arguments"))


def _result(part: _Part) -> ToolResult:
    payload = part.payload
    key = payload.get("tool_call_id") or payload.get("name") or ""
    error = payload.get("exception")
    return ToolResult(str(key), payload.get("output"), None if error is None else str(error))
