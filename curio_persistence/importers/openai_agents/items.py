"""The items of a session, one in each row: what the user and the model said, and the tools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from curio_persistence.importers.common.sqlite_tables import Database, quoted
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.openai_agents.usage import TurnUsage
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.places import Place, text_of
from curio_persistence.importers.sessions.records import mcp_name
from curio_persistence.importers.sessions.turns import Conversation, OpenTurn

_RETURNS = {"function_call_output", "computer_call_output", "local_shell_call_output"}
_NOT_DONE = ("failed", "incomplete")
_NO_ARGUMENTS = {"id", "type", "status", "call_id", "name", "output", "error", "results"}

Item = Mapping[str, Any]


class SessionReader:
    """Reads one session."""

    def __init__(
        self,
        database: Database,
        table: str,
        session: str,
        file: SessionFile,
        context: SessionContext,
    ) -> None:
        self._database, self._table, self._session = database, table, session
        self._file, self._context = file, context
        self._usage = TurnUsage(database, session, file, context)
        self._conversation = Conversation(context, session)
        self._turn: OpenTurn | None = None
        self.is_live = False

    def records(self) -> Iterator[ImportedRecord]:
        """Yield the turns; each begins where the user says something."""
        query = f"SELECT id FROM {quoted(self._table)} WHERE session_id = ? ORDER BY id"
        place = None
        for (key,) in self._database.rows(query, self._session):
            row = self._database.row(self._table, "id", key)
            if row is None:
                continue
            place = Place(self._context, self._file.name, what=f"message {key}")
            item = place.json(row["message_data"])
            if isinstance(item, Mapping):
                yield from self._read(key, item, row, place)
            elif item is not None:
                place.problem("is no item of a conversation")
        if self._turn is not None and place is not None:
            yield from self._end(place, is_last=True)

    def _read(
        self, key: int, item: Item, row: Mapping[str, Any], place: Place
    ) -> Iterator[ImportedRecord]:
        at = place.utc(row["created_at"])
        if item.get("role") == "user":
            if self._turn is not None:
                yield from self._end(place, is_last=False)
            objective = text_of(item.get("content"))
            self._turn = OpenTurn(self._conversation, str(key), at, objective)
            self._usage.begins(key)
        elif self._turn is None:
            self._context.skip("before the first prompt")
        else:
            yield from _told(self._turn, str(key), item, at, place)

    def _end(self, place: Place, *, is_last: bool) -> Iterator[ImportedRecord]:
        turn = self._turn
        if turn is None:
            return
        is_live = is_last and self._context.is_live(self._file, turn.last_at)
        self.is_live |= is_live
        if not is_live:  # The sum of a turn that goes on still grows.
            yield from self._usage.of(turn)
        yield from turn.end(place, is_last=is_last, is_live=is_live)


def _told(turn: OpenTurn, key: str, item: Item, at: Any, place: Place) -> Iterator[ImportedRecord]:
    kind = str(item.get("type") or ("message" if "role" in item else "unknown"))
    turn.saw(at)
    if kind == "message" and item.get("role") == "assistant":
        turn.answer(text_of(item.get("content")), at)
        data = {"text": text_of(item.get("content"))}
        yield from turn.event(key, "agent_message", at, data, place)
    elif kind in _RETURNS:
        yield from turn.end_tool(str(item.get("call_id")), at, item.get("output"))
    elif kind.endswith("_call"):
        yield from _tool(turn, key, kind, item, at, place)
    elif kind == "reasoning":
        if text := text_of(item.get("summary")) or text_of(item.get("content")):
            yield from turn.event(key, "thinking", at, {"text": text}, place)
    else:
        yield from turn.event(key, kind, at, dict(item), place)


def _tool(
    turn: OpenTurn, key: str, kind: str, item: Item, at: Any, place: Place
) -> Iterator[ImportedRecord]:
    """Take a call; one that the provider ran has its result with it."""
    call_id = str(item.get("call_id") or item.get("id") or key)
    turn.begin_tool(key, call_id, _name(kind, item), _arguments(item, place), at, place)
    error = item.get("error")
    if error is None and item.get("status") in _NOT_DONE:
        error = item["status"]
    has_ended = f"{kind}_output" not in _RETURNS
    if has_ended or error is not None:
        result = item.get("output", item.get("results"))
        yield from turn.end_tool(call_id, at, result, error=None if error is None else str(error))


def _name(kind: str, item: Item) -> str:
    name = item.get("name")
    if kind == "mcp_call" and name:
        return mcp_name(item.get("server_label") or "server", name)
    return str(name or kind.removesuffix("_call"))


def _arguments(item: Item, place: Place) -> Any:
    given = item.get("arguments")
    if isinstance(given, str):
        return place.json(given) if given else None
    if given is not None:
        return given
    return {name: value for name, value in item.items() if name not in _NO_ARGUMENTS} or None
