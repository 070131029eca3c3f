"""The table `responses`, in which llm kept its answers until version 0.35."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from curio_persistence.importers.common.sqlite_tables import Database
from curio_persistence.importers.llm.answers import Answer, AskedTool, ToolResult
from curio_persistence.importers.llm.tokens import tokens_of
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.places import Place, text_of
from curio_persistence.importers.sessions.turns import Conversation

_ORDER = "SELECT id FROM responses ORDER BY coalesce(conversation_id, id), datetime_utc, id"


def answers_in_responses(
    database: Database, file: SessionFile, context: SessionContext
) -> Iterator[Answer]:
    """Yield the answers, conversation by conversation."""
    reader = _Responses(database)
    for (key,) in database.rows(_ORDER):
        row = database.row("responses", "id", key)
        if row is not None:
            yield reader.answer(row, Place(context, file.name, what=f"response {key}"))


class _Responses:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._called = self._indexed("tool_calls")
        self._returned = self._indexed("tool_results")

    def _indexed(self, table: str) -> dict[str, list[int]]:
        """Return the rows of each response: these tables have no index."""
        found: dict[str, list[int]] = {}
        if table in self._database.tables:
            rows = self._database.rows(f"SELECT id, response_id FROM {table} ORDER BY id")
            for key, response in rows:
                found.setdefault(response, []).append(key)
        return found

    def answer(self, row: Mapping[str, Any], place: Place) -> Answer:
        key = str(row["id"])
        prompt = text_of(row.get("prompt"))
        return Answer(
            place,
            self._conversation(row, place.context),
            key,
            place.utc(row["datetime_utc"]),
            text_of(row.get("resolved_model")) or text_of(row["model"]),
            tokens_of(place, row),
            text_of(row.get("response")),
            text_of(row.get("reasoning")),
            prompt,
            {
                "latency_ms": place.count(row, "duration_ms"),
                "input_params": row.get("options_json"),
            },
            list(self._calls(key, place)),
            list(self._results(key)),
        )

    def _conversation(self, row: Mapping[str, Any], context: SessionContext) -> Conversation:
        key = row.get("conversation_id")
        if key is None:
            return Conversation(context, str(row["id"]))
        found = None
        if "conversations" in self._database.tables:
            found = self._database.row("conversations", "id", key)
        return Conversation(context, str(key), {"title": (found or {}).get("name")})

    def _calls(self, response: str, place: Place) -> Iterator[AskedTool]:
        for key in self._called.get(response, ()):
            row = self._database.row("tool_calls", "id", key)
            if row is not None:
                name, args = text_of(row["name"]), place.json(row["arguments"])
                yield AskedTool(text_of(row["tool_call_id"]) or f"call-{key}", name, args)

    def _results(self, response: str) -> Iterator[ToolResult]:
        for key in self._returned.get(response, ()):
            row = self._database.row("tool_results", "id", key)
            if row is not None:
                call = text_of(row["tool_call_id"]) or f"call-{key}"
                yield ToolResult(call, row["output"], row.get("exception"))
