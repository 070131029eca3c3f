"""One chain of entries: a turn, or an agent, with its answers and its calls of tools."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from curio_persistence.importers.claude_code.entries import (
    INTERRUPTED,
    Entry,
    blocks_of,
    key_of,
    message_of,
    text_of,
)
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.records import (
    LONGEST_ID,
    UNFINISHED,
    SourceLocation,
    ToolCall,
    Turn,
    as_text,
    stable_id,
)
from curio_persistence.models import AgentLLMUsage, AgentRunStatus

if TYPE_CHECKING:
    from curio_persistence.importers.claude_code.session import SessionReader

SOURCE_NAME = "claude-code"
_SYNTHETIC = "<synthetic>"
_MOST_OPEN = 32
"""Answers of a chain that may still get lines; an older one is complete."""


@dataclass(slots=True)
class Answer:
    """One answer of a model, which is written as a line for each of its blocks."""

    message_id: str
    location: SourceLocation
    at: datetime | None
    request_id: str | None = None
    model: str = ""
    usage: Entry = field(default_factory=dict)
    total: int = -1
    texts: list[str] = field(default_factory=list)
    cost: Decimal | None = None
    latency_ms: float | None = None
    stop: str | None = None


class Chain:
    """A turn while its entries are read."""

    def __init__(
        self, turn: Turn, session: SessionReader, *, copied: bool = False, wanted: bool = True
    ) -> None:
        self.turn = turn
        self.copied = copied
        self.wanted = wanted
        self.interrupted = self.rewound = False
        self.is_answered = False
        self._session = session
        self._context: SessionContext = session.context
        self._answers: dict[str, Answer] = {}
        self._last: Answer | None = None
        self._tools: dict[str, ToolCall] = {}
        self._api_error: str | None = None

    # --- entries -------------------------------------------------------------------------------

    def answered(
        self, entry: Entry, at: datetime | None, location: SourceLocation
    ) -> Iterator[ImportedRecord]:
        """Take a line of an answer."""
        self.turn.saw(at)
        message = message_of(entry)
        if entry.get("isApiErrorMessage"):
            self._api_error = text_of(entry) or "API error"
            return
        if message.get("model") == _SYNTHETIC:
            return
        self._api_error = None
        self.is_answered = True
        answer = self._answer(entry, message, at, location)
        if answer is not None:
            self._add_usage(answer, entry, message)
        yield from self._blocks(entry, at, location, answer)
        while len(self._answers) > _MOST_OPEN:
            yield from self._finish(next(iter(self._answers)))

    def resulted(
        self, entry: Entry, at: datetime | None, location: SourceLocation
    ) -> Iterator[ImportedRecord]:
        """Take the results of tools in a user entry."""
        self.turn.saw(at)
        for block in blocks_of(entry):
            if block.get("type") == "tool_result":
                yield from self._result(block, entry.get("toolUseResult"), at)

    def event(
        self, kind: str, key: str, at: datetime | None, location: SourceLocation, **others: Any
    ) -> Iterator[ImportedRecord]:
        """Yield an event of the turn."""
        self.turn.saw(at)
        event_id = stable_id(SOURCE_NAME, key)
        if self.wanted and self._context.is_new(event_id):
            yield self.turn.event(event_id, kind, at, **others), location

    def interrupt(
        self, key: str, at: datetime | None, location: SourceLocation, text: str
    ) -> Iterator[ImportedRecord]:
        """End the turn: its user stopped it."""
        self.interrupted = True
        yield from self.event("interrupted", key, at, location, message=text, level="warning")

    def close(self, *, last: bool, still: bool) -> Iterator[ImportedRecord]:
        """Yield the remaining records of the turn, and set its status.

        `last` says that it is the last turn of a file, and `still` that nothing more is expected
        in the file. In a file that may grow, what may be incomplete waits for the next import.
        """
        waits = last and not still
        for key in [*self._answers]:
            answer = self._answers[key]
            if waits and answer is self._last and answer.stop is None:
                self._session.settled = False
            else:
                yield from self._finish(key)
        is_open = bool(self._tools) or not self.is_answered
        if waits and is_open:
            self._session.settled = False
        elif self._tools:
            yield from self._unfinished()
        self._end(is_open=last and is_open)

    # --- answers -------------------------------------------------------------------------------

    def _answer(
        self, entry: Entry, message: Entry, at: datetime | None, location: SourceLocation
    ) -> Answer | None:
        """Return the answer that a line belongs to; None if it was counted before."""
        key = message.get("id")
        if not isinstance(key, str) or not key:
            key = key_of({}, location)
        if (answer := self._answers.get(key)) is not None:
            self._repeated()
        elif key in self._session.answers:
            self._repeated()
            return None
        else:
            self._session.answers.add(key)
            answer = self._answers[key] = Answer(key, location, at)
        self._last = answer
        return answer

    def _repeated(self) -> None:
        if not self.copied:
            self._context.skip("usage repeated")

    def _add_usage(self, answer: Answer, entry: Entry, message: Entry) -> None:
        request, usage = entry.get("requestId"), message.get("usage")
        answer.request_id = answer.request_id or (request if isinstance(request, str) else None)
        answer.model = str(message.get("model") or answer.model)
        answer.stop = message.get("stop_reason") or answer.stop
        if isinstance(usage, dict) and (total := _total(usage)) > answer.total:
            answer.usage, answer.total = usage, total
        cost, latency = entry.get("costUSD"), entry.get("durationMs")
        if answer.cost is None and isinstance(cost, int | float) and cost > 0:
            answer.cost = Decimal(repr(cost))
        if answer.latency_ms is None and isinstance(latency, int | float) and latency >= 0:
            answer.latency_ms = latency

    def _finish(self, key: str) -> Iterator[ImportedRecord]:
        answer = self._answers.pop(key)
        text = "\n".join(answer.texts)
        if text:
            self.turn.final = text
        event_id = _usage_id(answer, self.turn.session_id or "")
        if not self.wanted or not self._context.is_new(event_id):
            return
        yield self._usage(answer, event_id, text), answer.location

    def _usage(self, answer: Answer, event_id: str, text: str) -> AgentLLMUsage:
        usage = answer.usage

        def tokens(value: Any) -> int | None:
            return self._context.tokens(value, *answer.location)

        write, read = tokens(_written(usage)), tokens(usage.get("cache_read_input_tokens"))
        fresh = tokens(usage.get("input_tokens"))
        return AgentLLMUsage(
            self.turn.agent_id,
            self.turn.run_id,
            provider="anthropic",
            model=answer.model,
            input_tokens=None if fresh is None else fresh + (read or 0) + (write or 0),
            output_tokens=tokens(usage.get("output_tokens")),
            response_content=text or None,
            response_length=len(text) or None,
            usage_metrics={"usage": usage, "source": SOURCE_NAME} if usage else None,
            latency_ms=None if answer.latency_ms is None else round(answer.latency_ms),
            created_at=answer.at or self.turn.started_at,
            span_id=answer.message_id[:LONGEST_ID],
            cache_read_tokens=read,
            cache_write_tokens=write,
            cost_usd=answer.cost,
            event_id=event_id,
        )

    # --- blocks --------------------------------------------------------------------------------

    def _blocks(
        self, entry: Entry, at: datetime | None, location: SourceLocation, answer: Answer | None
    ) -> Iterator[ImportedRecord]:
        for number, block in enumerate(blocks_of(entry)):
            kind, text = block.get("type"), block.get("text")
            if kind == "text" and isinstance(text, str):
                if answer is not None:
                    answer.texts.append(text)
            elif kind in ("thinking", "redacted_thinking"):
                if thought := block.get("thinking"):
                    key = f"{key_of(entry, location)}/{number}"
                    data = {"text": thought}
                    yield from self.event("thinking", key, at, location, data=data)
            elif isinstance(block.get("tool_use_id"), str):
                yield from self._result(block, None, at)
            elif isinstance(call_id := block.get("id"), str):
                self._call(call_id, block, at, location, answer)

    def _call(
        self,
        call_id: str,
        block: Entry,
        at: datetime | None,
        location: SourceLocation,
        answer: Answer | None,
    ) -> None:
        name = str(block.get("name") or block.get("type"))
        span = None if answer is None else answer.message_id[:LONGEST_ID]
        self._session.callers[call_id] = self.turn.run_id
        self._tools.setdefault(
            call_id, ToolCall(call_id[:LONGEST_ID], name, block.get("input"), at, location, span)
        )

    def _result(self, block: Entry, result: Any, at: datetime | None) -> Iterator[ImportedRecord]:
        call = self._tools.pop(str(block.get("tool_use_id")), None)
        if call is None:
            return
        content = block.get("content")
        call.result = content if isinstance(content, str) else as_text(content)
        if call.result.startswith(INTERRUPTED):
            self.interrupted = True
        if block.get("is_error"):
            call.error = call.result or "error"
        if isinstance(result, dict):
            self._learn(result, call)
        call.end(at)
        yield from self._called(call, call.call_id)

    def _learn(self, result: Entry, call: ToolCall) -> None:
        """Learn of a structured result how long it took, and which agent it came from."""
        took = result.get("durationMs", result.get("totalDurationMs"))
        if isinstance(took, int | float) and not isinstance(took, bool) and took >= 0:
            call.latency_ms = took
        if isinstance(agent := result.get("agentId"), str):
            self._session.parents.setdefault(agent, self.turn.run_id)

    def _unfinished(self) -> Iterator[ImportedRecord]:
        for call in self._tools.values():
            call.unfinished = True
            yield from self._called(call, call.call_id)

    def _called(self, call: ToolCall, key: str) -> Iterator[ImportedRecord]:
        event_id = _own_id(key)
        if self.wanted and self._context.is_new(event_id):
            yield call.to_event(self.turn, event_id), call.location

    # --- the end -------------------------------------------------------------------------------

    def _end(self, *, is_open: bool) -> None:
        turn = self.turn
        if self.interrupted or self.rewound:
            turn.status = AgentRunStatus.CANCELLED.value
        elif self._api_error is not None:
            turn.status, turn.error = AgentRunStatus.ERROR.value, self._api_error
        elif is_open and self._session.is_live(turn.finished_at):
            turn.status = AgentRunStatus.RUNNING.value
        elif is_open:
            turn.status, turn.error = AgentRunStatus.ERROR.value, UNFINISHED
        else:
            turn.status, turn.error = AgentRunStatus.COMPLETED.value, None


"""The message of a run of which it is only supposed that it failed."""


def _usage_id(answer: Answer, session_id: str) -> str:
    """Return the id of a call: that of its request, under which telemetry tells it as well."""
    if answer.request_id is not None:
        return _own_id(answer.request_id)
    return stable_id(SOURCE_NAME, session_id, answer.message_id)


def _own_id(ident: str) -> str:
    """Return an id as the receiver of OTLP makes it of the same call."""
    name = f"{SOURCE_NAME}:{ident}"
    return name if len(name) <= LONGEST_ID else stable_id(SOURCE_NAME, ident)


def _written(usage: Entry) -> Any:
    """Return the tokens written to the cache: of each kind, or else the flat number."""
    kinds = usage.get("cache_creation")
    if isinstance(kinds, dict):
        numbers = [n for name, n in kinds.items() if name.endswith("_input_tokens")]
        if numbers and all(type(n) is int for n in numbers) and any(numbers):
            return sum(numbers)
    return usage.get("cache_creation_input_tokens")


def _total(usage: Entry) -> int:
    numbers = (
        usage.get("input_tokens"),
        usage.get("output_tokens"),
        usage.get("cache_read_input_tokens"),
        _written(usage),
    )
    return sum(number for number in numbers if type(number) is int)
