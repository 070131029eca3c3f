"""The log of a session, `events.jsonl`, as turns and agents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.copilot_cli.calls import Calls, tokens_of
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.places import (
    Place,
    an_object,
    member,
    objects_in,
    text_of,
)
from curio_persistence.importers.sessions.records import mcp_name
from curio_persistence.importers.sessions.turns import Conversation, OpenTurn, Tokens
from curio_persistence.models import Level

_EVENTS = "events"
_SILENT = ("hook.", "assistant.turn_", "session.compaction_start", "session.idle")
"""The beginnings of the types of lines that are no events."""
_KEPT = ("session.", "tool.", "subagent.", "skill.", "system.", "permission.", "assistant.")
"""The beginnings of the types of lines that become events of their own type."""
_INJECTED = ("skill", "system")


@dataclass(frozen=True, slots=True)
class Event:
    """One line."""

    type: str
    key: str
    at: datetime | None
    data: Mapping[str, Any]
    agent: str | None
    place: Place

    @classmethod
    def of(cls, line: Mapping[str, Any], place: Place) -> Event:
        data = an_object(line.get("data"))
        agent = line.get("agentId") or data.get("parentToolCallId")
        key = str(line.get("id") or f"line-{place.line}")
        at = place.time(line.get("timestamp"))
        return cls(str(line.get("type")), key, at, data, str(agent) if agent else None, place)


class SessionReader:
    """Reads one session."""

    def __init__(self, file: SessionFile, context: SessionContext) -> None:
        self._file, self._context = file, context
        stem = file.path.stem
        self._session = file.path.parent.name if stem == _EVENTS else stem
        self._told: dict[str, Any] = {}
        self._model = ""
        self._calls = Calls()
        self._turn: OpenTurn | None = None
        self._agents: dict[str, OpenTurn] = {}
        self._prompt: Event | None = None
        """The prompt that a hook saw: the message itself may be missing."""
        self.is_live = False

    def records(self) -> Iterator[ImportedRecord]:
        """Yield the turns, each after what happened in it."""
        place = Place(self._context, self._file.name)
        for line, value in self._context.lines(self._file):
            place = Place(self._context, self._file.name, line)
            yield from self._read(Event.of(value, place))
        if self._turn is not None:
            self.is_live = self._context.is_live(self._file, self._turn.last_at)
            if not self.is_live:
                yield from self._calls.one_by_one()
            yield from self._end(place, is_last=True)

    def _read(self, event: Event) -> Iterator[ImportedRecord]:
        yield from self._calls.until(event.at)
        if (handle := _HANDLERS.get(event.type)) is not None:
            yield from handle(self, event)
        elif event.type.startswith(_SILENT):
            self._hook(event)
        elif not event.type.startswith(_KEPT):
            self._context.skip(f"unknown: {event.type}"[:80])
        elif (turn := self._turn_of(event)) is not None:
            yield from turn.event(event.key, event.type, event.at, dict(event.data), event.place)
        else:
            self._context.skip("before the first prompt")

    # --- sessions ------------------------------------------------------------------------------

    def _started(self, event: Event) -> Iterator[ImportedRecord]:
        yield from self._calls.one_by_one()
        self._session = str(event.data.get("sessionId") or self._session)
        self._model = str(event.data.get("selectedModel") or self._model)
        self._learn(event.data.get("context"), version=event.data.get("copilotVersion"))

    def _described(self, event: Event) -> Iterator[ImportedRecord]:
        self._learn(event.data, title=event.data.get("title"))
        yield from ()

    def _learn(self, where: Any, **told: Any) -> None:
        """Take the metadata of the runs that begin from now on."""
        told["project"] = member(where, "cwd") or member(where, "gitRoot")
        told["branch"] = member(where, "branch")
        self._told |= {name: value for name, value in told.items() if isinstance(value, str)}

    def _model_changed(self, event: Event) -> Iterator[ImportedRecord]:
        self._model = str(event.data.get("newModel") or self._model)
        yield from ()

    def _shut_down(self, event: Event) -> Iterator[ImportedRecord]:
        if self._turn is not None:
            yield from self._calls.sums(self._turn, event.key, event.at, event.data, event.place)

    def _compacted(self, event: Event) -> Iterator[ImportedRecord]:
        turn = self._turn_of(event)
        if turn is None:
            return
        yield from turn.event(event.key, "compaction", event.at, dict(event.data), event.place)
        if isinstance(used := event.data.get("compactionTokensUsed"), Mapping):
            model = str(used.get("model") or self._model)
            tokens = tokens_of(used, event.place)
            self._calls.add(turn, event.key, event.at, model, tokens, event.place)

    # --- turns ---------------------------------------------------------------------------------

    def _hook(self, event: Event) -> None:
        if event.data.get("hookType") == "userPromptSubmitted" and event.type == "hook.start":
            self._prompt = event

    def _asked(self, event: Event) -> Iterator[ImportedRecord]:
        source = event.data.get("source")
        if event.agent is not None or str(source or "").startswith(_INJECTED):
            data = {"text": text_of(event.data.get("content"))}
            if (turn := self._turn_of(event)) is not None:
                yield from turn.event(event.key, "user_message", event.at, data, event.place)
            return
        self._prompt = None
        yield from self._begin(event, text_of(event.data.get("content")))

    def _begin(self, event: Event, objective: str) -> Iterator[ImportedRecord]:
        if self._turn is not None:
            yield from self._end(event.place, is_last=False)
        conversation = Conversation(self._context, self._session, self._told)
        self._turn = OpenTurn(conversation, event.key, event.at, objective)

    def _end(self, place: Place, *, is_last: bool) -> Iterator[ImportedRecord]:
        for agent in dict.fromkeys(self._agents.values()):
            yield from agent.end(place, is_last=is_last, is_live=self.is_live)
        self._agents.clear()
        if self._turn is not None:
            yield from self._turn.end(place, is_last=is_last, is_live=self.is_live)

    def _turn_of(self, event: Event) -> OpenTurn | None:
        if event.agent is not None and event.agent in self._agents:
            return self._agents[event.agent]
        return self._turn

    def _aborted(self, event: Event) -> Iterator[ImportedRecord]:
        if self._turn is not None:
            self._turn.cancel(event.at)
            yield from self._turn.event(event.key, "abort", event.at, dict(event.data), event.place)

    def _failed(self, event: Event) -> Iterator[ImportedRecord]:
        if self._turn is None:
            return
        message = text_of(event.data.get("message")) or event.type
        if not self._turn.cancelled:
            self._turn.fail(message, event.at)
        yield from self._turn.event(
            event.key, event.type, event.at, dict(event.data), event.place, level=Level.ERROR.value
        )

    # --- answers and tools ---------------------------------------------------------------------

    def _answered(self, event: Event) -> Iterator[ImportedRecord]:
        if self._prompt is not None:
            prompt, self._prompt = self._prompt, None
            yield from self._begin(prompt, text_of(member(prompt.data, "input", "prompt")))
        turn = self._turn_of(event)
        if turn is None:
            self._context.skip("before the first prompt")
            return
        text = text_of(event.data.get("content"))
        turn.answer(text, event.at)
        if text:
            data = {"text": text}
            yield from turn.event(event.key, "agent_message", event.at, data, event.place)
        if thought := event.data.get("reasoningText"):
            key, data = f"{event.key}/thinking", {"text": text_of(thought)}
            yield from turn.event(key, "thinking", event.at, data, event.place)
        for request in objects_in(event.data.get("toolRequests")):
            self._begin_tool(turn, request, "name", event)
        model = str(event.data.get("model") or self._model)
        tokens = Tokens(output=event.place.count(event.data, "outputTokens"))
        key = str(event.data.get("messageId") or event.key)
        self._calls.add(turn, key, event.at, model, tokens, event.place)

    def _tool_started(self, event: Event) -> Iterator[ImportedRecord]:
        if (turn := self._turn_of(event)) is not None:
            self._begin_tool(turn, event.data, "toolName", event)
        yield from ()

    def _begin_tool(
        self, turn: OpenTurn, call: Mapping[str, Any], named: str, event: Event
    ) -> None:
        call_id, name = str(call.get("toolCallId") or event.key), str(call.get(named) or "")
        server, tool = call.get("mcpServerName"), call.get("mcpToolName")
        name = mcp_name(server, tool) if server and tool else name
        turn.begin_tool(call_id, call_id, name, call.get("arguments"), event.at, event.place)

    def _tool_ended(self, event: Event) -> Iterator[ImportedRecord]:
        if (turn := self._turn_of(event)) is None:
            return
        error = None
        if event.data.get("success") is False:
            error = text_of(member(event.data, "error", "message")) or "error"
        result = member(event.data, "result", "content")
        call_id = str(event.data.get("toolCallId"))
        yield from turn.end_tool(call_id, event.at, result, error=error)

    # --- agents --------------------------------------------------------------------------------

    def _agent_started(self, event: Event) -> Iterator[ImportedRecord]:
        call, parent = event.data.get("toolCallId"), self._turn
        if parent is None:
            return
        key = str(event.agent or call or event.key)
        agent = OpenTurn(
            parent.conversation,
            f"agent-{key}",
            event.at,
            text_of(event.data.get("agentDescription")),
            agent=str(event.data.get("agentName") or "") or None,
            parent=parent.run_id,
        )
        self._agents |= {name: agent for name in (key, call) if isinstance(name, str)}
        yield from ()

    def _agent_ended(self, event: Event) -> Iterator[ImportedRecord]:
        key = event.agent or event.data.get("toolCallId")
        agent = self._agents.get(str(key))
        if agent is None:
            return
        if event.type == "subagent.failed":
            agent.fail(text_of(event.data.get("error")) or "failed")
        agent.saw(event.at)
        self._agents = {name: each for name, each in self._agents.items() if each is not agent}
        yield from agent.end(event.place, is_last=False, is_live=False)


_Handler = Callable[[SessionReader, Event], Iterator[ImportedRecord]]
_HANDLERS: Mapping[str, _Handler] = {
    "session.start": SessionReader._started,
    "session.resume": SessionReader._started,
    "session.context_changed": SessionReader._described,
    "session.title_changed": SessionReader._described,
    "session.model_change": SessionReader._model_changed,
    "session.shutdown": SessionReader._shut_down,
    "session.compaction_complete": SessionReader._compacted,
    "session.error": SessionReader._failed,
    "user.message": SessionReader._asked,
    "assistant.message": SessionReader._answered,
    "tool.execution_start": SessionReader._tool_started,
    "tool.execution_complete": SessionReader._tool_ended,
    "subagent.started": SessionReader._agent_started,
    "subagent.completed": SessionReader._agent_ended,
    "subagent.failed": SessionReader._agent_ended,
    "abort": SessionReader._aborted,
}
