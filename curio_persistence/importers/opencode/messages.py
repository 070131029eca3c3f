"""Messages of OpenCode: what was asked, and answers with their parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.opencode.library import Item
from curio_persistence.importers.sessions.places import Place, member
from curio_persistence.importers.sessions.records import milliseconds_between
from curio_persistence.importers.sessions.turns import OpenTurn, Tokens

ABORTED = "MessageAbortedError"
_SILENT = {"text", "step-start", "step-finish", "snapshot", "patch"}
"""The parts that are told with the message, or are OpenCode's own notes."""
_EVENTS = {"retry", "file", "agent", "subtask", "compaction"}


def objective(parts: Sequence[Item]) -> str:
    """Return what a prompt asks for."""
    texts = [str(part.value.get("text") or "") for part in parts if _is_said(part)]
    asked = [str(part.value.get("prompt") or "") for part in parts if _type(part) == "subtask"]
    if found := "\n".join(filter(None, (*texts, *asked))):
        return found
    return "(compaction)" if any(_type(part) == "compaction" for part in parts) else ""


def is_synthetic(parts: Sequence[Item]) -> bool:
    """Return whether OpenCode itself wrote a prompt, to go on with a turn."""
    said = [part for part in parts if _type(part) in ("text", "subtask", "compaction", "file")]
    return bool(said) and all(part.value.get("synthetic") is True for part in said)


def is_whole(message: Item) -> bool:
    """Return whether an answer is finished."""
    value = message.value
    return member(value, "time", "completed") is not None or value.get("error") is not None


def answer(
    turn: OpenTurn, message: Item, parts: Sequence[Item], at: datetime | None
) -> Iterator[ImportedRecord]:
    """Yield the call of the model, its tools, and what else is told of it."""
    value, place = message.value, message.place
    ended = place.milliseconds(member(value, "time", "completed"))
    turn.saw(ended)
    text = "\n".join(str(part.value.get("text") or "") for part in parts if _is_said(part))
    if value.get("error") is None:
        turn.answer(text, at)
    else:
        _failed(turn, value["error"], text)
    yield from _call(turn, message, text, at, ended)
    for part in parts:
        yield from _told(turn, part, at)


def _call(
    turn: OpenTurn, message: Item, text: str, at: datetime | None, ended: datetime | None
) -> Iterator[ImportedRecord]:
    value, place = message.value, message.place
    tokens = tokens_of(value.get("tokens"), place)
    if not tokens.input and not tokens.output:
        place.context.skip("message without tokens")
        return
    took = milliseconds_between(at, ended)
    yield from turn.call(
        message.id,
        at,
        tokens,
        place,
        model=str(value.get("modelID") or ""),
        provider=str(value.get("providerID") or ""),
        text=text,
        cost_usd=place.cost(value.get("cost")),
        latency_ms=None if took is None else round(took),
    )


def tokens_of(told: Any, place: Place) -> Tokens:
    """Return tokens with the cache in the input.

    Reasoning stands beside the output if the total counts it so; else it is a part of the output.
    """
    input, output = place.count(told, "input"), place.count(told, "output")
    reasoning, total = place.count(told, "reasoning"), place.count(told, "total")
    read, written = (place.count(member(told, "cache"), name) for name in ("read", "write"))
    if input is not None:
        input += (read or 0) + (written or 0)
    if output is not None and reasoning and total == (input or 0) + output + reasoning:
        output += reasoning
    return Tokens(input, output, read, written, reasoning)


def _failed(turn: OpenTurn, error: Any, text: str) -> None:
    name = str(member(error, "name") or "error")
    message = member(error, "data", "message")
    turn.fail(message if isinstance(message, str) and message else name)
    if name == ABORTED:
        turn.cancel()


def _told(turn: OpenTurn, part: Item, at: datetime | None) -> Iterator[ImportedRecord]:
    kind = _type(part)
    if kind == "tool":
        yield from _tool(turn, part, at)
    elif kind == "reasoning":
        if text := part.value.get("text"):
            yield from turn.event(part.id, "thinking", at, {"text": str(text)}, part.place)
    elif kind in _EVENTS:
        began = part.place.milliseconds(member(part.value, "time", "start")) or at
        yield from turn.event(part.id, kind, began, part.value, part.place)
    elif kind not in _SILENT:
        part.place.context.skip(f"unknown: part {kind}"[:80])


def _tool(turn: OpenTurn, part: Item, at: datetime | None) -> Iterator[ImportedRecord]:
    value, place = part.value, part.place
    state, call_id = value.get("state"), str(value.get("callID") or part.id)
    began = place.milliseconds(member(state, "time", "start")) or at
    ended = place.milliseconds(member(state, "time", "end"))
    name, args = str(value.get("tool") or ""), member(state, "input")
    turn.begin_tool(part.id, call_id, name, args, began, place)
    status = member(state, "status")
    if status == "completed":
        yield from turn.end_tool(call_id, ended, member(state, "output"))
    elif status == "error":
        error = str(member(state, "error") or "error")
        yield from turn.end_tool(call_id, ended, error=error)


def _type(part: Item) -> str:
    return str(part.value.get("type"))


def _is_said(part: Item) -> bool:
    value = part.value
    return _type(part) == "text" and not value.get("synthetic") and not value.get("ignored")
