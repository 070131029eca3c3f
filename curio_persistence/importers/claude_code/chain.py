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
    said_in,
)
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.sessions.places import Place, as_text
from curio_persistence.importers.sessions.records import LONGEST_ID, stable_id
from curio_persistence.importers.sessions.turns import Conversation, OpenTurn, Tokens

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
    place: Place
    at: datetime | None
    request_id: str | None = None
    model: str = ""
    usage: Entry = field(default_factory=dict)
    total: int = -1
    texts: list[str] = field(default_factory=list)
    cost: Decimal | None = None
    latency_ms: float | None = None
    stop: str | None = None


class Chain(OpenTurn):
    """A turn, or an agent, while its entries are read. Its run is told at the session's end."""

    def __init__(
        self,
        session: SessionReader,
        conversation: Conversation,
        run_id: str,
        agent: str,
        at: datetime | None,
        place: Place,
        *,
        copied: bool,
    ) -> None:
        super().__init__(conversation, "", at, agent=agent, run_id=run_id)
        self.place = place
        self.copied = copied
        self._session = session
        self._answers: dict[str, Answer] = {}
        self._last: Answer | None = None

    def tool_id(self, key: str) -> str:
        return _own_id(key)

    # --- entries -------------------------------------------------------------------------------

    def answered_by(
        self, entry: Entry, at: datetime | None, place: Place
    ) -> Iterator[ImportedRecord]:
        """Take a line of an answer."""
        self.saw(at)
        message = message_of(entry)
        if entry.get("isApiErrorMessage"):
            self.fail(said_in(entry) or "API error")
            return
        if message.get("model") == _SYNTHETIC:
            return
        self.answer("", at)
        answer = self._answer(entry, message, at, place)
        if answer is not None:
            self._add_usage(answer, entry, message)
        yield from self._blocks(entry, at, place, answer)
        while len(self._answers) > _MOST_OPEN:
            yield from self._finish(next(iter(self._answers)))

    def resulted(self, entry: Entry, at: datetime | None) -> Iterator[ImportedRecord]:
        """Take the results of tools in a user entry."""
        self.saw(at)
        for block in blocks_of(entry):
            if block.get("type") == "tool_result":
                yield from self._result(block, entry.get("toolUseResult"), at)

    def interrupt(
        self, key: str, at: datetime | None, place: Place, text: str
    ) -> Iterator[ImportedRecord]:
        """End the turn: its user stopped it."""
        self.cancel(at)
        yield from self.event(key, "interrupted", at, None, place, message=text, level="warning")

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
        if waits and self.is_open:
            self._session.settled = False
        is_live = self.is_open and self._session.is_live(self.last_at)
        yield from self.settle(is_last=last, is_live=is_live, waits=waits)

    # --- answers -------------------------------------------------------------------------------

    def _answer(
        self, entry: Entry, message: Entry, at: datetime | None, place: Place
    ) -> Answer | None:
        """Return the answer that a line belongs to; None if it was counted before."""
        key = message.get("id")
        if not isinstance(key, str) or not key:
            key = key_of({}, place)
        if (answer := self._answers.get(key)) is not None:
            self._repeated()
        elif key in self._session.answers:
            self._repeated()
            return None
        else:
            self._session.answers.add(key)
            answer = self._answers[key] = Answer(key, place, at)
        self._last = answer
        return answer

    def _repeated(self) -> None:
        if not self.copied:
            self._session.context.skip("usage repeated")

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
        self.turn.final = text or self.turn.final
        yield from self.call(
            answer.message_id,
            answer.at or self.began,
            _tokens(answer.usage, answer.place),
            answer.place,
            text=text,
            provider="anthropic",
            model=answer.model,
            usage_metrics={"usage": answer.usage, "source": SOURCE_NAME} if answer.usage else None,
            latency_ms=None if answer.latency_ms is None else round(answer.latency_ms),
            cost_usd=answer.cost,
            event_id=_usage_id(answer, self.conversation.id),
        )

    # --- blocks --------------------------------------------------------------------------------

    def _blocks(
        self, entry: Entry, at: datetime | None, place: Place, answer: Answer | None
    ) -> Iterator[ImportedRecord]:
        for number, block in enumerate(blocks_of(entry)):
            kind, text = block.get("type"), block.get("text")
            if kind == "text" and isinstance(text, str):
                if answer is not None:
                    answer.texts.append(text)
            elif kind in ("thinking", "redacted_thinking"):
                if thought := block.get("thinking"):
                    key = f"{key_of(entry, place)}/{number}"
                    yield from self.event(key, "thinking", at, {"text": thought}, place)
            elif isinstance(block.get("tool_use_id"), str):
                yield from self._result(block, None, at)
            elif isinstance(call_id := block.get("id"), str):
                self._call(call_id, block, at, place, answer)

    def _call(
        self, call_id: str, block: Entry, at: datetime | None, place: Place, answer: Answer | None
    ) -> None:
        self._session.callers[call_id] = self.run_id
        if call_id not in self.open:
            name = str(block.get("name") or block.get("type"))
            span = None if answer is None else answer.message_id[:LONGEST_ID]
            args = block.get("input")
            self.begin_tool(call_id, call_id, name, args, at, place, parent_span_id=span)

    def _result(self, block: Entry, told: Any, at: datetime | None) -> Iterator[ImportedRecord]:
        call_id = str(block.get("tool_use_id"))
        if call_id not in self.open:
            return
        result = as_text(block.get("content"))
        if result.startswith(INTERRUPTED):
            self.cancel()
        error = (result or "error") if block.get("is_error") else None
        took = self._learn(told) if isinstance(told, dict) else None
        yield from self.end_tool(call_id, at, result, error=error, latency_ms=took)

    def _learn(self, result: Entry) -> float | None:
        """Learn of a structured result which agent it came from; return how long it took."""
        if isinstance(agent := result.get("agentId"), str):
            self._session.parents.setdefault(agent, self.run_id)
        took = result.get("durationMs", result.get("totalDurationMs"))
        if isinstance(took, int | float) and not isinstance(took, bool) and took >= 0:
            return took
        return None


def _usage_id(answer: Answer, session_id: str) -> str:
    """Return the id of a call: that of its request, under which telemetry tells it as well."""
    if answer.request_id is not None:
        return _own_id(answer.request_id)
    return stable_id(SOURCE_NAME, session_id, answer.message_id)


def _own_id(ident: str) -> str:
    """Return an id as the receiver of OTLP makes it of the same call."""
    name = f"{SOURCE_NAME}:{ident}"
    return name if len(name) <= LONGEST_ID else stable_id(SOURCE_NAME, ident)


def _tokens(usage: Entry, place: Place) -> Tokens:
    """Return tokens; the input has those that the cache was read and written with."""
    written = place.tokens(_written(usage))
    read = place.tokens(usage.get("cache_read_input_tokens"))
    fresh = place.tokens(usage.get("input_tokens"))
    whole = None if fresh is None else fresh + (read or 0) + (written or 0)
    return Tokens(whole, place.tokens(usage.get("output_tokens")), read, written)


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
