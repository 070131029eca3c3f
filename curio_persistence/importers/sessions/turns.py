"""Turns while they are read: which tools have not returned, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.sessions.places import Place
from curio_persistence.importers.sessions.records import LONGEST_ID, ToolCall, Turn, stable_id
from curio_persistence.models import AgentLLMUsage, AgentRunEvent, AgentRunStatus

if TYPE_CHECKING:
    from curio_persistence.importers.sessions.context import SessionContext

NO_ANSWER = "no answer follows"
CUT_OFF = "the log ends in the middle of a tool call"


class Tokens(NamedTuple):
    """The tokens of a call, counted as in AgentLLMUsage; None is unknown."""

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None


class Starter(NamedTuple):
    """The type of an agent, and the run that started it; None is unknown."""

    agent: str | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A session of a source. `metadata` has the project, and what else its runs get."""

    context: SessionContext
    id: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    scope: Sequence[str] | None = None
    """The prefix of the ids of its records, if that is not the session."""

    def named(self, *key: str) -> str:
        """Return the id of a run, an event or a call of this session."""
        scope = (self.id,) if self.scope is None else self.scope
        return stable_id(self.context.source.name, *scope, *key)


class OpenTurn:
    """A run while it is read; its methods yield the records of what happens in it.

    They yield nothing of a run that is not wanted, and each record once in an import.
    """

    def __init__(
        self,
        conversation: Conversation,
        key: str,
        at: datetime | None,
        objective: str = "",
        *,
        agent: str | None = None,
        parent: str | None = None,
        run_id: str | None = None,
    ) -> None:
        self.conversation = conversation
        self.answered = self.cancelled = False
        self.open: dict[str, tuple[str, ToolCall, Place]] = {}
        """The calls of tools that have not returned, by their ids, each with its key."""
        source = conversation.context.source.name
        self.is_wanted = conversation.context.wants(conversation.metadata.get("project"), at)
        self.turn = Turn(
            source,
            conversation.id,
            run_id or conversation.named(key),
            (agent or source)[:LONGEST_ID],
            objective,
            at,
            at,
            parent_run_id=parent,
            metadata=dict(conversation.metadata),
        )

    @property
    def run_id(self) -> str:
        return self.turn.run_id

    @property
    def began(self) -> datetime | None:
        """Return the time of the first thing that happened."""
        return self.turn.started_at

    @property
    def last_at(self) -> datetime | None:
        """Return the time of the last thing that happened."""
        return self.turn.finished_at

    @property
    def is_open(self) -> bool:
        """Return whether something must follow: an answer, or the result of a tool."""
        return bool(self.open) or not self.answered

    def saw(self, at: datetime | None) -> None:
        """Note that something happened at this time."""
        self.turn.saw(at)

    def describe(self, objective: str) -> None:
        """Set what was asked, if that is not known yet."""
        self.turn.objective = self.turn.objective or objective

    def answer(self, text: str, at: datetime | None) -> None:
        """Take an answer: what had failed before it was overcome."""
        self.saw(at)
        self.answered, self.turn.error = True, None
        self.turn.final = text or self.turn.final

    def fail(self, error: str, at: datetime | None = None) -> None:
        """Note an error, which ends the turn if no answer follows."""
        self.saw(at)
        self.turn.error = error

    def cancel(self, at: datetime | None = None) -> None:
        """Note that the user stopped the turn, or rewound the conversation to before it."""
        self.saw(at)
        self.cancelled = True

    def call(
        self,
        key: str,
        at: datetime | None,
        tokens: Tokens,
        place: Place,
        *,
        text: str = "",
        **more: Any,
    ) -> Iterator[ImportedRecord]:
        """Yield one answer of a model."""
        self.saw(at)
        more.setdefault("span_id", key[:LONGEST_ID])
        more.setdefault("event_id", self.conversation.named(key))
        usage = AgentLLMUsage(
            self.turn.agent_id,
            self.run_id,
            input_tokens=tokens.input,
            output_tokens=tokens.output,
            cache_read_tokens=tokens.cache_read,
            cache_write_tokens=tokens.cache_write,
            reasoning_tokens=tokens.reasoning,
            response_content=text or None,
            response_length=len(text) if text else None,
            created_at=at or self.last_at,
            **more,
        )
        return self._told(usage, place)

    def event(
        self, key: str, kind: str, at: datetime | None, data: Any, place: Place, **more: Any
    ) -> Iterator[ImportedRecord]:
        """Yield something else that happened."""
        self.saw(at)
        event_id = self.conversation.named(key)
        return self._told(self.turn.event(event_id, kind, at, data, **more), place)

    def _told(
        self, record: AgentRunEvent | AgentLLMUsage, place: Place
    ) -> Iterator[ImportedRecord]:
        if self.is_wanted and self.conversation.context.is_new(str(record.event_id)):
            yield record, place.location

    def begin_tool(
        self,
        key: str,
        call_id: str,
        name: str,
        args: Any,
        at: datetime | None,
        place: Place,
        *,
        parent_span_id: str | None = None,
    ) -> None:
        """Take the call of a tool, which is told once it has ended."""
        self.saw(at)
        call = ToolCall(
            call_id[:LONGEST_ID], name, args, at or self.last_at, parent_span_id=parent_span_id
        )
        self.open[call_id] = (key, call, place)

    def end_tool(
        self,
        call_id: str,
        at: datetime | None,
        result: Any = None,
        *,
        error: str | None = None,
        latency_ms: float | None = None,
    ) -> Iterator[ImportedRecord]:
        """Yield the call of a tool that has ended; nothing for one that never began."""
        if call_id not in self.open:
            return
        self.saw(at)
        key, call, place = self.open.pop(call_id)
        call.result, call.error, call.latency_ms = result, error, latency_ms
        call.end(at)
        yield from self._told(call.to_event(self.turn, self.tool_id(key)), place)

    def tool_id(self, key: str) -> str:
        """Return the id of the call of a tool."""
        return self.conversation.named(key)

    def end(self, place: Place, *, is_last: bool, is_live: bool) -> Iterator[ImportedRecord]:
        """Yield what is left, and the run; the last of a session may be broken off, or going on."""
        yield from self.settle(is_last=is_last, is_live=is_live, waits=is_live)
        yield from self.run(place)

    def settle(self, *, is_last: bool, is_live: bool, waits: bool) -> Iterator[ImportedRecord]:
        """Set the status, and yield the calls of tools that have not returned.

        Those of the last turn are left for a later import if that `waits` for more.
        """
        self.turn.status = self._status(is_last=is_last, is_live=is_live)
        if not (is_last and waits):
            for key, call, place in self.open.values():
                call.unfinished = True
                yield from self._told(call.to_event(self.turn, self.tool_id(key)), place)

    def _status(self, *, is_last: bool, is_live: bool) -> str:
        turn = self.turn
        if self.cancelled:
            return AgentRunStatus.CANCELLED.value
        if is_last and is_live and turn.error is None:
            return AgentRunStatus.RUNNING.value
        if is_last and self.is_open and turn.error is None:
            turn.error = CUT_OFF if self.open else NO_ANSWER
        return (AgentRunStatus.COMPLETED if turn.error is None else AgentRunStatus.ERROR).value

    def run(self, place: Place) -> Iterator[ImportedRecord]:
        """Yield the run."""
        if self.is_wanted:
            yield self.turn.to_run(), place.location
