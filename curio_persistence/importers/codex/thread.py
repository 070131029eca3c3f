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
    output_of,
)
from curio_persistence.importers.codex.rollouts import SOURCE_NAME, Rollouts
from curio_persistence.importers.codex.usage import Counted, tokens_of
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.places import Place, an_object, as_text, member
from curio_persistence.importers.sessions.records import Found, stable_id
from curio_persistence.importers.sessions.turns import Conversation, OpenTurn

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
        self._turn: OpenTurn | None = None
        self._began = Place(context, file.name)
        self._count = 0
        self._told: dict[str, tuple[float | None, str | None]] = {}
        """Durations and errors of calls, by the events that told of them."""
        self._starts_at: int | None = None
        self._copied: set[int] = set()
        self._is_complete = False
        self._last: datetime | None = None

    def records(self) -> Found:
        """Yield the turns, each after what happened in it."""
        for number, entry in self._rollouts.lines(self._file):
            line = line_of(number, entry)
            if line is None:
                self._context.skip("state line")
                continue
            place = Place(self._context, self._file.name, number)
            self._last = place.time(line.time) or self._last
            if self._thread_id and self._is_copied(line):
                self._context.skip("copied record")
                if line.payload.get("type") == "token_count":
                    self._counted.copied(line.payload.get("info"))
            else:
                yield from self._line(line, place)
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

    def _line(self, line: Line, place: Place) -> Iterator[ImportedRecord]:
        payload, kind = line.payload, line.payload.get("type")
        if line.kind == "session_meta":
            self._begin_thread(payload)
        elif line.kind == "turn_context":
            self._learn(payload)
        elif line.kind == "response_item":
            yield from self._item(line, place)
        elif line.kind == "event_msg":
            yield from self._event_msg(str(kind), line, place)
        elif line.kind == "token_usage_record":
            self._add_call(payload.get("usage"), line, place, payload.get("response_id"))
        elif line.kind == "compacted":
            yield from self._event("compaction", line, place, _without_history(payload))
        elif line.kind in _KNOWN:
            yield from self._event(line.kind, line, place, payload)
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

    def _begin(self, line: Line, place: Place, text: str) -> Iterator[ImportedRecord]:
        if self._agent is not None and self._turn is not None:
            yield from self._event("user_message", line, place, {"text": text})
            return
        yield from self._end(is_last=False)
        self._count += 1
        key = f"turn-{self._count}" if self._agent is None else f"agent-{self._thread_id}"
        # An agent belongs to the session of another thread, whose lines have the same numbers.
        scope = (self._thread_id,)
        self._turn = OpenTurn(
            Conversation(self._context, self._session_id, self._metadata, scope),
            key,
            self._last,
            text,
            agent=self._agent,
            parent=self._parent,
            run_id=stable_id(SOURCE_NAME, self._session_id, key),
        )
        self._began, self._is_complete = place, False
        yield from self._event("run_started", line, place)

    def _current(self, line: Line, place: Place) -> Iterator[ImportedRecord]:
        """Begin a turn without a prompt, if there is none."""
        if self._turn is None:
            yield from self._begin(line, place, "")

    def _end(self, *, is_last: bool) -> Iterator[ImportedRecord]:
        turn, self._turn = self._turn, None
        yield from self._counted.end()
        if turn is None:
            return
        is_cut = is_last and turn.is_open and not self._is_complete
        waits = is_cut and not self._context.is_still(self._file)
        self.settled = self.settled and not waits
        is_live = self._context.is_live(self._file, self._last)
        yield from turn.settle(is_last=is_cut, is_live=is_live, waits=waits)
        yield from turn.run(self._began)

    # --- items ---------------------------------------------------------------------------------

    def _item(self, line: Line, place: Place) -> Iterator[ImportedRecord]:
        payload, kind = line.payload, str(line.payload.get("type"))
        if is_user_message(line):
            text = as_text(payload.get("content"))
            if is_injected(text):
                self._context.skip("injected context")
            else:
                yield from self._begin(line, place, text)
        elif kind == "message":
            yield from self._message(line, place)
        elif kind in _CALLS:
            yield from self._call(kind, line, place)
        elif kind.endswith("_output"):
            yield from self._output(line)
        elif kind == "reasoning":
            if text := as_text(payload.get("summary") or payload.get("content")):
                yield from self._event("thinking", line, place, {"text": text})
        else:
            yield from self._event(kind, line, place, payload)

    def _message(self, line: Line, place: Place) -> Iterator[ImportedRecord]:
        if line.payload.get("role") != "assistant":
            return  # Instructions of the program.
        yield from self._current(line, place)
        if self._turn is not None:
            self._turn.answer(as_text(line.payload.get("content")), self._last)

    def _call(self, kind: str, line: Line, place: Place) -> Iterator[ImportedRecord]:
        yield from self._current(line, place)
        payload, turn = line.payload, self._turn
        name = _CALLS[kind] or str(payload.get("name") or kind)
        namespace = payload.get("namespace")
        if isinstance(namespace, str) and namespace.startswith("mcp__"):
            name = f"{namespace.removesuffix('__')}__{name}"
        call_id = payload.get("call_id")
        key = call_id if isinstance(call_id, str) and call_id else str(line.number)
        if turn is None or key in turn.open:
            return
        turn.begin_tool(key, key, name, arguments_of(payload), self._last, place)
        if call_id is None and payload.get("status") in ("completed", "failed"):
            error = "failed" if payload["status"] == "failed" else None
            yield from turn.end_tool(key, None, error=error)

    def _output(self, line: Line) -> Iterator[ImportedRecord]:
        call_id = str(line.payload.get("call_id"))
        if self._turn is None or call_id not in self._turn.open:
            return
        result, error = output_of(line.payload.get("output", line.payload.get("tools")))
        took, told = self._told.pop(call_id, (None, None))
        yield from self._turn.end_tool(
            call_id, self._last, result, error=told or error, latency_ms=took
        )

    # --- events --------------------------------------------------------------------------------

    def _event_msg(self, kind: str, line: Line, place: Place) -> Iterator[ImportedRecord]:
        payload = line.payload
        if kind == "token_count":
            if (usage := self._counted.changes(payload.get("info"))) is not None:
                self._add_call(usage, line, place)
        elif kind == "task_complete":
            self._is_complete = True
            if self._turn is not None:
                said = payload.get("last_agent_message")
                self._turn.turn.final = said or self._turn.turn.final
                self._turn.saw(self._last)
        elif kind == "turn_aborted":
            self._is_complete = True
            if self._turn is not None:
                self._turn.cancel()
            yield from self._event("interrupted", line, place, payload, level="warning")
        elif kind == "error":
            if self._turn is not None:
                self._turn.fail(str(payload.get("message") or "error"))
            yield from self._event("error", line, place, payload, level="error")
        elif kind in _ENDS:
            self._told[str(payload.get("call_id"))] = _end_of(payload)
        elif kind not in _REPEATS:
            yield from self._event(kind, line, place, payload)

    def _event(
        self,
        kind: str,
        line: Line,
        place: Place,
        data: Any = None,
        *,
        level: str = "info",
    ) -> Iterator[ImportedRecord]:
        if self._turn is None:
            self._context.skip("before the first turn")
            return
        key = str(line.number)
        yield from self._turn.event(key, kind, self._last, data, place, level=level)

    def _add_call(self, usage: Any, line: Line, place: Place, response_id: Any = None) -> None:
        if not isinstance(usage, dict) or self._turn is None:
            self._context.skip("calls outside of a turn")
            return
        self._turn.answered = True
        is_named = isinstance(response_id, str) and response_id
        more = {"event_id": stable_id(SOURCE_NAME, response_id)} if is_named else {}
        calls = self._turn.call(
            str(line.number),
            self._last,
            tokens_of(usage, place),
            place,
            provider=self._provider,
            model=self._model,
            input_params={"effort": self._effort} if self._effort else None,
            usage_metrics={"source": SOURCE_NAME},
            span_id=response_id if is_named else None,
            **more,
        )
        self._counted.add(calls, by_record=line.kind == "token_usage_record")


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
