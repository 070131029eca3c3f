"""Turns while they are read: which tools have not returned, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.sessions.places import Place
from curio_persistence.importers.sessions.records import LONGEST_ID, ToolCall, Turn, stable_id
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent, AgentRunStatus

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

    def named(self, *key: str) -> str:
        """Return the id of a run, an event or a call of this session."""
        return stable_id(self.context.source.name, self.id, *key)


class OpenTurn:
    """A run while it is read; its methods yield the records of what happens in it.

    They yield nothing of a run that is not wanted.
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
        source = conversation.context.source.name
        self._is_wanted = conversation.context.wants(conversation.metadata.get("project"), at)
        self._open: dict[str, tuple[str, ToolCall]] = {}
        self._turn = Turn(
            source,
            conversation.id,
            run_id or conversation.named(key),
            agent or source,
            objective,
            at,
            at,
            parent_run_id=parent,
            metadata=dict(conversation.metadata),
        )

    @property
    def run_id(self) -> str:
        return self._turn.run_id

    @property
    def began(self) -> datetime | None:
        """Return the time of the first thing that happened."""
        return self._turn.started_at

    @property
    def last_at(self) -> datetime | None:
        """Return the time of the last thing that happened."""
        return self._turn.finished_at

    def saw(self, at: datetime | None) -> None:
        """Note that something happened at this time."""
        self._turn.saw(at)

    def describe(self, objective: str) -> None:
        """Set what was asked, if that is not known yet."""
        self._turn.objective = self._turn.objective or objective

    def answer(self, text: str, at: datetime | None) -> None:
        """Take an answer: what had failed before it was overcome."""
        self.saw(at)
        self.answered, self._turn.error = True, None
        self._turn.final = text or self._turn.final

    def fail(self, error: str, at: datetime | None = None) -> None:
        """Note an error, which ends the turn if no answer follows."""
        self.saw(at)
        self._turn.error = error

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
        usage = AgentLLMUsage(
            self._turn.agent_id,
            self.run_id,
            input_tokens=tokens.input,
            output_tokens=tokens.output,
            cache_read_tokens=tokens.cache_read,
            cache_write_tokens=tokens.cache_write,
            reasoning_tokens=tokens.reasoning,
            response_content=text or None,
            response_length=len(text) if text else None,
            created_at=at or self.last_at,
            event_id=self.conversation.named(key),
            **more,
        )
        return self._wanted(usage, place)

    def event(
        self, key: str, kind: str, at: datetime | None, data: Any, place: Place, **more: Any
    ) -> Iterator[ImportedRecord]:
        """Yield something else that happened."""
        self.saw(at)
        event_id = self.conversation.named(key)
        return self._wanted(self._turn.event(event_id, kind, at, data, **more), place)

    def _wanted(
        self, record: AgentRun | AgentRunEvent | AgentLLMUsage, place: Place
    ) -> Iterator[ImportedRecord]:
        if self._is_wanted:
            yield record, place.location

    def begin_tool(
        self, key: str, call_id: str, name: str, args: Any, at: datetime | None, place: Place
    ) -> None:
        """Take the call of a tool, which is told once it has ended."""
        self.saw(at)
        call = ToolCall(call_id, name, args, at or self.last_at, place.location)
        self._open[call_id] = (key, call)

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
        if call_id not in self._open:
            return
        self.saw(at)
        key, call = self._open.pop(call_id)
        call.result, call.error, call.latency_ms = result, error, latency_ms
        call.end(at)
        yield from self._told(key, call)

    def end(self, place: Place, *, is_last: bool, is_live: bool) -> Iterator[ImportedRecord]:
        """Yield what is left, and the run; the last of a session may be broken off, or going on."""
        if is_last and is_live and not self.cancelled:
            self._turn.status = AgentRunStatus.RUNNING.value
        else:
            self._settle(is_last)
            for key, call in self._open.values():
                call.unfinished = True
                yield from self._told(key, call)
        yield from self._wanted(self._turn.to_run(), place)

    def _settle(self, is_last: bool) -> None:
        turn = self._turn
        if self.cancelled:
            turn.status = AgentRunStatus.CANCELLED.value
            return
        if is_last and turn.error is None:
            turn.error = CUT_OFF if self._open else None if self.answered else NO_ANSWER
        if turn.error is not None:
            turn.status = AgentRunStatus.ERROR.value

    def _told(self, key: str, call: ToolCall) -> Iterator[ImportedRecord]:
        if self._is_wanted:
            yield call.to_event(self._turn, self.conversation.named(key)), call.location
