"""Messages of a chat: answers with their tools, and what the program told its user."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.sessions.places import Place, member, objects_in, text_of
from curio_persistence.importers.sessions.turns import OpenTurn, Tokens
from curio_persistence.models import Level

_CANCELLED = re.compile("(Request|User) cancelled")
_LEVELS = {"error": Level.ERROR.value, "warning": Level.WARNING.value}
_FAILED = ("error", "cancelled")

Message = Mapping[str, Any]


def answer(
    turn: OpenTurn, key: str, message: Message, at: datetime | None, place: Place
) -> Iterator[ImportedRecord]:
    """Yield the call of the model, and the calls of tools that it asked for."""
    text = text_of(message.get("content"))
    turn.answer(text, at)
    yield from turn.call(
        key,
        at,
        tokens_of(message.get("tokens"), place),
        place,
        model=str(message.get("model") or ""),
        provider="google",
        text=text,
    )
    if thoughts := _thoughts(message.get("thoughts")):
        yield from turn.event(f"{key}/thinking", "thinking", at, {"text": thoughts}, place)
    calls = message.get("toolCalls")
    for number, call in enumerate(calls if isinstance(calls, list) else (), start=1):
        if isinstance(call, Mapping):
            yield from _tool(turn, f"{key}/{call.get('id') or number}", call, at, place)


def _thoughts(told: Any) -> str:
    parts = ((each.get("subject"), each.get("description")) for each in objects_in(told))
    return "\n".join(": ".join(str(part) for part in each if part) for each in parts)


def tokens_of(told: Any, place: Place) -> Tokens:
    """Return tokens as ours are counted: with the cache, the tools' prompts and the thoughts.

    The input has the cache in it, unless the total says that it stands beside.
    """
    input, output = place.count(told, "input"), place.count(told, "output")
    cached, thoughts = place.count(told, "cached"), place.count(told, "thoughts")
    tool, total = place.count(told, "tool") or 0, place.count(told, "total")
    if input is not None:
        beside = (output or 0) + (thoughts or 0) + tool
        if cached and total == input + beside + cached:
            input += cached
        input += tool
    if output is not None:
        output += thoughts or 0
    return Tokens(input, output, cached, None, thoughts)


def _tool(
    turn: OpenTurn, key: str, call: Message, at: datetime | None, place: Place
) -> Iterator[ImportedRecord]:
    call_id = str(call.get("id") or key)
    began = place.time(call.get("timestamp")) or at
    turn.begin_tool(key, call_id, str(call.get("name") or ""), call.get("args"), began, place)
    status = call.get("status")
    if status == "success":
        yield from turn.end_tool(call_id, None, _result(call, "output"))
    elif status in _FAILED:
        error = _result(call, "error") or call.get("resultDisplay") or status
        yield from turn.end_tool(call_id, None, error=error if isinstance(error, str) else status)
    if status == "cancelled":
        turn.cancel()


def _result(call: Message, name: str) -> Any:
    """Return what a tool returned: under this name in its response, or the whole of it."""
    parts = call.get("result")
    responses = [
        member(part, "functionResponse", "response")
        for part in (parts if isinstance(parts, list) else [])
    ]
    found = [member(each, name) or each for each in responses if each is not None]
    return found[0] if len(found) == 1 else found or parts


def notice(
    turn: OpenTurn, key: str, message: Message, at: datetime | None, place: Place
) -> Iterator[ImportedRecord]:
    """Yield what the program told its user, such as that an error ended the turn."""
    kind, text = str(message["type"]), text_of(message.get("content"))
    if kind == "error":
        turn.fail(text, at)
    elif _CANCELLED.match(text):
        turn.cancel(at)
    level = _LEVELS.get(kind, Level.INFO.value)
    data = {"text": text} if text else dict(message)
    yield from turn.event(key, kind, at, data, place, level=level)
