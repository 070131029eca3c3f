"""Read what `codex exec --json` prints: items and sums of turns, without times and models."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from curio_persistence.importers.codex.rollouts import SOURCE_NAME
from curio_persistence.importers.codex.usage import tokens_of
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.places import Place, member
from curio_persistence.importers.sessions.records import UNFINISHED, Found, mcp_name
from curio_persistence.importers.sessions.turns import Conversation, OpenTurn

_MESSAGES = {"agent_message", "assistant_message"}
_ARGUMENTS = ("command", "arguments", "query", "changes", "prompt")
_RESULTS = ("aggregated_output", "result")


class ExecReader:
    """Reads the lines of one call of `codex exec`, whose turns are dated by the file."""

    def __init__(self, file: SessionFile, context: SessionContext) -> None:
        self.settled = True
        self._file = file
        self._context = context
        self._at = datetime.fromtimestamp(file.changed, UTC)
        self._thread_id = file.path.stem
        self._turn: OpenTurn | None = None
        self._count = 0

    def records(self) -> Found:
        """Yield the turns, each after what happened in it."""
        place = Place(self._context, self._file.name)
        for number, entry in self._context.lines(self._file):
            place = Place(self._context, self._file.name, number)
            yield from self._line(entry, place)
        if self._turn is not None:
            self.settled = self._context.is_still(self._file)
            yield from self._end(place, self._turn.turn.error or UNFINISHED)

    def _line(self, entry: dict[str, Any], place: Place) -> Iterator[ImportedRecord]:
        kind, item = entry.get("type"), entry.get("item")
        if kind == "thread.started":
            self._thread_id = str(entry.get("thread_id") or self._thread_id)
        elif kind == "turn.started":
            self._begin()
        elif kind == "turn.completed":
            yield from self._completed(entry.get("usage"), place)
        elif kind in ("turn.failed", "error"):
            said = member(entry, "error", "message") or entry.get("message")
            if self._turn is not None:
                self._turn.fail(str(said or "error"))
            if kind == "turn.failed":
                yield from self._end(place, str(said or "error"))
        elif kind == "item.completed" and isinstance(item, dict):
            yield from self._item(item, place)
        elif kind not in ("item.started", "item.updated"):
            self._context.skip(f"unknown: {kind!s:.80}")

    def _begin(self) -> None:
        self._count += 1
        conversation = Conversation(self._context, self._thread_id)
        self._turn = OpenTurn(conversation, f"turn-{self._count}", self._at)

    def _completed(self, usage: Any, place: Place) -> Iterator[ImportedRecord]:
        if self._turn is not None and isinstance(usage, dict):
            yield from self._turn.call(
                str(place.line),
                self._at,
                tokens_of(usage, place),
                place,
                provider="openai",
                usage_metrics={"source": SOURCE_NAME},
                span_id=None,
            )
        yield from self._end(place, None)

    def _end(self, place: Place, error: str | None) -> Iterator[ImportedRecord]:
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.turn.error, turn.turn.finished_at = error, None
            yield from turn.end(place, is_last=False, is_live=False)

    def _item(self, item: dict[str, Any], place: Place) -> Iterator[ImportedRecord]:
        kind, turn = str(item.get("type")), self._turn
        if turn is None:
            self._context.skip("before the first turn")
        elif kind in _MESSAGES:
            turn.turn.final = str(item.get("text") or "") or turn.turn.final
        elif kind in ("reasoning", "todo_list", "error"):
            name = "thinking" if kind == "reasoning" else kind
            yield from turn.event(str(place.line), name, self._at, item, place)
        else:
            yield from self._tool(kind, item, turn, place)

    def _tool(
        self, kind: str, item: dict[str, Any], turn: OpenTurn, place: Place
    ) -> Iterator[ImportedRecord]:
        server, tool = item.get("server"), item.get("tool")
        name = mcp_name(server, tool) if server and tool else kind
        key = f"turn-{self._count}/{item.get('id') or place.line}"
        args = next((item[it] for it in _ARGUMENTS if item.get(it) is not None), None)
        result = next((item[it] for it in _RESULTS if item.get(it) is not None), None)
        has_failed = item.get("status") == "failed" or item.get("exit_code")
        error = str(item.get("error") or result or "failed") if has_failed else None
        call_id = str(item.get("id") or key)
        turn.begin_tool(key, call_id, name, args, self._at, place)
        yield from turn.end_tool(call_id, None, result, error=error)
