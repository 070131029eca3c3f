"""Answers of models as `llm` logs them, whichever tables they are from, and the turns they make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.sessions.places import Place
from curio_persistence.importers.sessions.turns import Conversation, OpenTurn, Tokens


class AskedTool(NamedTuple):
    """A call of a tool that an answer asks for."""

    id: str
    name: str
    args: Any


class ToolResult(NamedTuple):
    """The result of a tool, or the exception that it raised."""

    id: str
    output: Any
    error: str | None


@dataclass(slots=True)
class Answer:
    """One answer; one that follows results of tools goes on with the turn before it."""

    place: Place
    conversation: Conversation
    id: str
    at: datetime | None
    model: str
    tokens: Tokens
    text: str
    thought: str
    prompt: str
    usage: dict[str, Any]
    """The other columns of the model call."""
    calls: list[AskedTool] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)
    """Those that the model was given to answer."""
    own_results: list[ToolResult] = field(default_factory=list)
    """Those of tools that the provider ran itself, while it answered."""


def records_of(answers: Iterable[Answer]) -> Iterator[ImportedRecord]:
    """Yield the turns of answers, which stand in order, one conversation after the other."""
    for _, of_one in groupby(answers, lambda answer: answer.conversation.id):
        turn: OpenTurn | None = None
        place: Place | None = None
        for answer in of_one:
            if turn is None or not answer.results:
                if turn is not None and place is not None:
                    yield from turn.end(place, is_last=False, is_live=False)
                turn = OpenTurn(answer.conversation, answer.id, answer.at, answer.prompt)
            place = answer.place
            yield from _told(turn, answer)
        if turn is not None and place is not None:
            yield from turn.end(place, is_last=True, is_live=False)


def _told(turn: OpenTurn, answer: Answer) -> Iterator[ImportedRecord]:
    yield from _returned(turn, answer, answer.results)
    turn.answer(answer.text, answer.at)
    if answer.thought:
        key, data = f"{answer.id}/thinking", {"text": answer.thought}
        yield from turn.event(key, "thinking", answer.at, data, answer.place)
    for call in answer.calls:
        key = f"{answer.id}/{call.id}"
        turn.begin_tool(key, call.id, call.name, call.args, answer.at, answer.place)
    yield from _returned(turn, answer, answer.own_results)
    yield from turn.call(
        answer.id,
        answer.at,
        answer.tokens,
        answer.place,
        model=answer.model,
        text=answer.text,
        prompt=answer.prompt,
        prompt_length=len(answer.prompt),
        **answer.usage,
    )


def _returned(
    turn: OpenTurn, answer: Answer, results: Iterable[ToolResult]
) -> Iterator[ImportedRecord]:
    for result in results:
        yield from turn.end_tool(result.id, answer.at, result.output, error=result.error)
