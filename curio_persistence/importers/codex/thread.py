"""Read one thread: its turns, or as an agent's, one run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from curio_persistence.importers.codex.items import (
    Line,
    arguments_of,
    duration_ms,
    is_injected,
    is_user_message,
    line_of,
    message_text,
    output_of,
)
from curio_persistence.importers.codex.rollouts import SOURCE_NAME, Rollouts
from curio_persistence.importers.codex.usage import Counted, call, usage_id
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.places import an_object, member
from curio_persistence.importers.sessions.records import (
    LONGEST_ID,
    UNFINISHED,
    Found,
    SourceLocation,
    ToolCall,
    Turn,
    as_text,
    stable_id,
)
from curio_persistence.models import AgentRunStatus

_CALLS = {
    "function_call": None,
    "custom_tool_call": None,
    "local_shell_call": "local_shell",
    "web_search_call": "web_search",
    "tool_search_call": "tool_search",
    "image_generation_call": "image_generation",
}
"""Items that begin a call of a tool; those that do not name the tool, with its name."""

_REPEATS = frozenset(
    {
        *("user_message", "agent_message", "agent_reasoning", "agent_reasoning_raw_content"),
        *("agent_reasoning_section_break", "task_started", "context_compacted", "turn_diff"),
        *("exec_command_begin", "exec_command_output_delta", "patch_apply_begin"),
        *("mcp_tool_call_begin", "web_search_begin", "web_search_end", "raw_response_item"),
        *("item_started", "agent_message_delta", "agent_message_content_delta"),
        *("turn_started", "thread_name_updated", "session_configured"),
    }
)
"""Events that tell again what items tell."""

_ENDS = ("exec_command_end", "mcp_tool_call_end", "patch_apply_end")
_KNOWN = frozenset(
    {
        *("inter_agent_communication", "inter_agent_communication_metadata"),
        *("thread_settings", "ghost_snapshot"),
    }
)
"""Kinds of lines that become events of their own type."""


class ThreadReader:
    """Reads a rollout. Of a turn it holds its calls until the turn's end."""

    def __init__(self, file: SessionFile, rollouts: Rollouts, context: SessionContext) -> None:
        self.settled = True
        self._file = file
        self._rollouts = rollouts
        self._context = context
        self._counted = Counted(context)
        self._thread_id = self._session_id = ""
        self._agent: str | None = None
        self._parent: str | None = None
        self._metadata: dict[str, Any] = {}
        self._model, self._effort, self._provider = "", None, "openai"
        self._turn: Turn | None = None
        self._wanted = True
        self._count = 0
        self._tools: dict[str, ToolCall] = {}
        self._told: dict[str, tuple[float | None, str | None]] = {}
        """Durations and errors of calls, by the events that told of them."""
        self._starts_at: int | None = None
        self._copied: set[int] = set()
        self._error: str | None = None
        self._is_cancelled = self._is_complete = self._is_answered = False
        self._last: datetime | None = None

    def records(self) -> Found:
        """Yield the turns, each after what happened in it."""
        for number, entry in self._rollouts.lines(self._file):
            line = line_of(number, entry)
            if line is None:
                self._context.skip("state line")
                continue
            location = SourceLocation(self._file.name, number)
            self._last = self._context.moment(line.time, *location) or self._last
            if self._thread_id and self._is_copied(line):
                self._context.skip("copied record")
                if line.payload.get("type") == "token_count":
                    self._counted.copied(line.payload.get("info"))
            else:
                yield from self._line(line, location)
        yield from self._end(is_last=True)

    def _is_copied(self, line: Line) -> bool:
        """Return whether a record belongs to the thread that this one goes on from."""
        if self._starts_at is not None and line.ordinal is not None:
            return line.ordinal < self._starts_at
        if line.kind == "session_meta":
            return line.payload.get("id") != self._thread_id
        if self._copied:
            if line.hash in self._copied:
                return True
            self._copied = set()  # From here on it is a thread of its own.
        thread = line.payload.get("thread_id")
        return line.kind == "token_usage_record" and thread not in (None, self._thread_id)

    def _line(self, line: Line, location: SourceLocation) -> Iterator[ImportedRecord]:
        payload, kind = line.payload, line.payload.get("type")
        if line.kind == "session_meta":
            self._begin_thread(payload)
        elif line.kind == "turn_context":
            self._learn(payload)
        elif line.kind == "response_item":
            yield from self._item(line, location)
        elif line.kind == "event_msg":
            yield from self._event_msg(str(kind), line, location)
        elif line.kind == "token_usage_record":
            self._add_call(payload.get("usage"), line, location, payload.get("response_id"))
        elif line.kind == "compacted":
            yield from self._event("compaction", line, location, _without_history(payload))
        elif line.kind in _KNOWN:
            yield from self._event(line.kind, line, location, payload)
        elif line.kind == "world_state":
            pass
        else:
            self._context.skip(f"unknown: {line.kind[:80]}")

    # --- the thread ----------------------------------------------------------------------------

    def _begin_thread(self, meta: dict[str, Any]) -> None:
        if self._thread_id:
            return
        self._thread_id = self._session_id = str(meta.get("id") or self._file.path.stem)
        git = meta.get("git")
        self._metadata = {
            "project": meta.get("cwd"),
            "branch": git.get("branch") if isinstance(git, dict) else None,
            "version": meta.get("cli_version"),
            "title": self._rollouts.title(self._thread_id),
        }
        self._provider = str(meta.get("model_provider") or "openai")
        start = meta.get("subagent_history_start_ordinal")
        self._starts_at = start if isinstance(start, int) else None
        spawn = _spawn_in(meta)
        parent = meta.get("parent_thread_id") or spawn.get("parent_thread_id")
        if isinstance(parent, str):
            self._begin_agent(meta, spawn, parent)
        forked = meta.get("forked_from_id")
        if self._starts_at is None and isinstance(source := forked or parent, str):
            self._copied = self._rollouts.contents(source)

    def _begin_agent(self, meta: dict[str, Any], spawn: dict[str, Any], parent: str) -> None:
        self._agent = str(spawn.get("agent_role") or spawn.get("agent_nickname") or "agent")
        at = self._context.moment(meta.get("timestamp"), self._file.name, 1)
        found = self._rollouts.parent(parent, at)
        self._session_id = str(meta.get("session_id") or (found and found.session_id) or parent)
        self._parent = None if found is None else found.run_id

    def _learn(self, context: dict[str, Any]) -> None:
        self._model = str(context.get("model") or self._model)
        self._effort = context.get("effort") or self._effort
        self._metadata["project"] = context.get("cwd") or self._metadata.get("project")

    # --- turns ---------------------------------------------------------------------------------

    def _begin(self, line: Line, location: SourceLocation, text: str) -> Iterator[ImportedRecord]:
        if self._agent is not None and self._turn is not None:
            yield from self._event("user_message", line, location, {"text": text})
            return
        yield from self._end(is_last=False)
        self._count += 1
        key = f"turn-{self._count}" if self._agent is None else f"agent-{self._thread_id}"
        self._turn = Turn(
            SOURCE_NAME,
            self._session_id,
            stable_id(SOURCE_NAME, self._session_id, key),
            (self._agent or SOURCE_NAME)[:LONGEST_ID],
            objective=text,
            started_at=self._last,
            finished_at=self._last,
            parent_run_id=self._parent,
            location=location,
            metadata=dict(self._metadata),
        )
        self._wanted = self._context.wants(self._metadata.get("project"), self._last)
        self._error, self._is_cancelled = None, False
        self._is_complete = self._is_answered = False
        yield from self._event("run_started", line, location)

    def _current(self, line: Line, location: SourceLocation) -> Iterator[ImportedRecord]:
        """Begin a turn without a prompt, if there is none."""
        if self._turn is None:
            yield from self._begin(line, location, "")

    def _end(self, *, is_last: bool) -> Iterator[ImportedRecord]:
        turn, self._turn = self._turn, None
        calls = [*self._counted.end()]
        if turn is None:
            return
        if self._wanted:
            yield from calls
        is_open = not self._is_complete and (bool(self._tools) or not self._is_answered)
        if is_last and is_open and not self._context.is_still(self._file):
            self.settled = False
        elif self._wanted:
            for tool in self._tools.values():
                tool.unfinished = True
                yield self._called(tool, turn), tool.location
        self._tools = {}
        turn.status, turn.error = self._outcome(is_open=is_last and is_open)
        if self._wanted:
            yield turn.to_run(), turn.location

    def _outcome(self, *, is_open: bool) -> tuple[str, str | None]:
        if self._is_cancelled:
            return AgentRunStatus.CANCELLED.value, None
        if self._error is not None:
            return AgentRunStatus.ERROR.value, self._error
        if is_open and self._context.is_live(self._file, self._last):
            return AgentRunStatus.RUNNING.value, None
        if is_open:
            return AgentRunStatus.ERROR.value, UNFINISHED
        return AgentRunStatus.COMPLETED.value, None

    # --- items ---------------------------------------------------------------------------------

    def _item(self, line: Line, location: SourceLocation) -> Iterator[ImportedRecord]:
        payload, kind = line.payload, str(line.payload.get("type"))
        if is_user_message(line):
            text = message_text(payload)
            if is_injected(text):
                self._context.skip("injected context")
            else:
                yield from self._begin(line, location, text)
        elif kind == "message":
            yield from self._message(line, location)
        elif kind in _CALLS:
            yield from self._call(kind, line, location)
        elif kind.endswith("_output"):
            yield from self._output(line)
        elif kind == "reasoning":
            if text := as_text(payload.get("summary") or payload.get("content")):
                yield from self._event("thinking", line, location, {"text": text})
        else:
            yield from self._event(kind, line, location, payload)

    def _message(self, line: Line, location: SourceLocation) -> Iterator[ImportedRecord]:
        if line.payload.get("role") != "assistant":
            return  # Instructions of the program.
        yield from self._current(line, location)
        if self._turn is not None:
            self._turn.final = message_text(line.payload) or self._turn.final
            self._turn.saw(self._last)
            self._is_answered, self._error = True, None

    def _call(self, kind: str, line: Line, location: SourceLocation) -> Iterator[ImportedRecord]:
        yield from self._current(line, location)
        payload = line.payload
        name = _CALLS[kind] or str(payload.get("name") or kind)
        namespace = payload.get("namespace")
        if isinstance(namespace, str) and namespace.startswith("mcp__"):
            name = f"{namespace.removesuffix('__')}__{name}"
        call_id = payload.get("call_id")
        key = call_id if isinstance(call_id, str) and call_id else str(line.number)
        tool = ToolCall(key[:LONGEST_ID], name, arguments_of(payload), self._last, location)
        if call_id is None and payload.get("status") in ("completed", "failed"):
            tool.error = "failed" if payload["status"] == "failed" else None
            yield from self._finished(tool)
        else:
            self._tools.setdefault(key, tool)

    def _output(self, line: Line) -> Iterator[ImportedRecord]:
        tool = self._tools.pop(str(line.payload.get("call_id")), None)
        if tool is None:
            return
        output = line.payload.get("output", line.payload.get("tools"))
        tool.result, tool.error = output_of(output)
        took, error = self._told.pop(tool.call_id, (None, None))
        tool.latency_ms, tool.error = took, error or tool.error
        tool.end(self._last)
        yield from self._finished(tool)

    def _finished(self, tool: ToolCall) -> Iterator[ImportedRecord]:
        if self._turn is not None and self._wanted:
            self._turn.saw(self._last)
            yield self._called(tool, self._turn), tool.location

    def _called(self, tool: ToolCall, turn: Turn) -> Any:
        return tool.to_event(turn, stable_id(SOURCE_NAME, self._thread_id, tool.call_id))

    # --- events --------------------------------------------------------------------------------

    def _event_msg(
        self, kind: str, line: Line, location: SourceLocation
    ) -> Iterator[ImportedRecord]:
        payload = line.payload
        if kind == "token_count":
            if (usage := self._counted.changes(payload.get("info"))) is not None:
                self._add_call(usage, line, location)
        elif kind == "task_complete":
            self._is_complete = True
            if self._turn is not None:
                self._turn.final = payload.get("last_agent_message") or self._turn.final
                self._turn.saw(self._last)
        elif kind == "turn_aborted":
            self._is_cancelled = self._is_complete = True
            yield from self._event("interrupted", line, location, payload, level="warning")
        elif kind == "error":
            self._error = str(payload.get("message") or "error")
            yield from self._event("error", line, location, payload, level="error")
        elif kind in _ENDS:
            self._told[str(payload.get("call_id"))] = _end_of(payload)
        elif kind not in _REPEATS:
            yield from self._event(kind, line, location, payload)

    def _event(
        self,
        kind: str,
        line: Line,
        location: SourceLocation,
        data: Any = None,
        *,
        level: str = "info",
    ) -> Iterator[ImportedRecord]:
        if self._turn is None:
            self._context.skip("before the first turn")
            return
        self._turn.saw(self._last)
        if self._wanted:
            event_id = stable_id(SOURCE_NAME, self._thread_id, line.number)
            yield self._turn.event(event_id, kind, self._last, data, level=level), location

    def _add_call(
        self, usage: Any, line: Line, location: SourceLocation, response_id: Any = None
    ) -> None:
        if not isinstance(usage, dict) or self._turn is None:
            self._context.skip("calls outside of a turn")
            return
        self._is_answered = True
        self._turn.saw(self._last)
        event_id = usage_id(self._thread_id, line.number, response_id)
        span = response_id if isinstance(response_id, str) else None
        found = call(
            self._turn,
            event_id,
            usage,
            self._model,
            self._last,
            location,
            self._context,
            provider=self._provider,
            effort=self._effort,
            span_id=span,
        )
        if self._context.is_new(event_id):
            self._counted.add((found, location), by_record=line.kind == "token_usage_record")


def _spawn_in(meta: dict[str, Any]) -> dict[str, Any]:
    """Return what a thread's beginning tells of the one that started it."""
    return an_object(member(meta, "source", "subagent", "thread_spawn"))


def _without_history(payload: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name != "replacement_history"}


def _end_of(payload: dict[str, Any]) -> tuple[float | None, str | None]:
    """Return how long a call took, and its error, of the event that tells its end."""
    result, error = payload.get("result"), None
    if isinstance(result, dict) and "Err" in result:
        error = as_text(result["Err"]) or "error"
    elif payload.get("success") is False or payload.get("exit_code"):
        error = as_text(payload.get("stderr") or payload.get("aggregated_output")) or "error"
    return duration_ms(payload.get("duration")), error
