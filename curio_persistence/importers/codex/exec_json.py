"""Read what `codex exec --json` prints: items and sums of turns, without times and models."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from curio_persistence.importers.codex.rollouts import SOURCE_NAME
from curio_persistence.importers.codex.usage import call
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.records import (
    LONGEST_ID,
    UNFINISHED,
    Found,
    SourceLocation,
    ToolCall,
    Turn,
    mcp_name,
    stable_id,
)
from curio_persistence.models import AgentRunStatus

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
        self._turn: Turn | None = None
        self._count = 0
        self._error: str | None = None

    def records(self) -> Found:
        """Yield the turns, each after what happened in it."""
        if not self._context.wants(None, self._at):
            return
        for number, entry in self._context.lines(self._file):
            yield from self._line(entry, SourceLocation(self._file.name, number))
        if self._turn is not None:
            self.settled = self._context.is_still(self._file)
            yield from self._end(AgentRunStatus.ERROR, self._error or UNFINISHED)

    def _line(self, entry: dict[str, Any], location: SourceLocation) -> Iterator[ImportedRecord]:
        kind, item = entry.get("type"), entry.get("item")
        if kind == "thread.started":
            self._thread_id = str(entry.get("thread_id") or self._thread_id)
        elif kind == "turn.started":
            self._begin(location)
        elif kind == "turn.completed":
            yield from self._completed(entry.get("usage"), location)
        elif kind in ("turn.failed", "error"):
            error = entry.get("error")
            said = error.get("message") if isinstance(error, dict) else entry.get("message")
            self._error = str(said or "error")
            if kind == "turn.failed":
                yield from self._end(AgentRunStatus.ERROR, self._error)
        elif kind == "item.completed" and isinstance(item, dict):
            yield from self._item(item, location)
        elif kind not in ("item.started", "item.updated"):
            self._context.skip(f"unknown: {kind!s:.80}")

    def _begin(self, location: SourceLocation) -> None:
        self._count += 1
        self._error = None
        self._turn = Turn(
            SOURCE_NAME,
            self._thread_id,
            stable_id(SOURCE_NAME, self._thread_id, f"turn-{self._count}"),
            SOURCE_NAME,
            started_at=self._at,
            location=location,
        )

    def _completed(self, usage: Any, location: SourceLocation) -> Iterator[ImportedRecord]:
        if self._turn is not None and isinstance(usage, dict):
            event_id = stable_id(SOURCE_NAME, self._thread_id, location.line)
            if self._context.is_new(event_id):
                found = call(self._turn, event_id, usage, "", self._at, location, self._context)
                yield found, location
        yield from self._end(AgentRunStatus.COMPLETED, None)

    def _end(self, status: AgentRunStatus, error: str | None) -> Iterator[ImportedRecord]:
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.status, turn.error, turn.finished_at = status.value, error, None
            yield turn.to_run(), turn.location

    def _item(self, item: dict[str, Any], location: SourceLocation) -> Iterator[ImportedRecord]:
        kind, turn = str(item.get("type")), self._turn
        if turn is None:
            self._context.skip("before the first turn")
        elif kind in _MESSAGES:
            turn.final = str(item.get("text") or "") or turn.final
        elif kind in ("reasoning", "todo_list", "error"):
            event_id = stable_id(SOURCE_NAME, self._thread_id, location.line)
            name = "thinking" if kind == "reasoning" else kind
            yield turn.event(event_id, name, self._at, item), location
        else:
            yield self._tool(kind, item, turn, location), location

    def _tool(self, kind: str, item: dict[str, Any], turn: Turn, location: SourceLocation) -> Any:
        server, tool = item.get("server"), item.get("tool")
        name = mcp_name(server, tool) if server and tool else kind
        key = f"{turn.run_id.rsplit('/', 1)[1]}/{item.get('id') or location.line}"
        called = ToolCall(
            str(item.get("id") or key)[:LONGEST_ID], name, at=self._at, location=location
        )
        called.arguments = next((item[it] for it in _ARGUMENTS if item.get(it) is not None), None)
        called.result = next((item[it] for it in _RESULTS if item.get(it) is not None), None)
        if item.get("status") == "failed" or item.get("exit_code"):
            called.error = str(item.get("error") or called.result or "failed")
        return called.to_event(turn, stable_id(SOURCE_NAME, self._thread_id, key))
