"""Messages of LangChain, as they are in checkpoints, as turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.sessions.places import Place, member, objects_in, text_of
from curio_persistence.importers.sessions.turns import OpenTurn, Tokens

_KINDS = {"user": "human", "assistant": "ai"}
_CLASSES = {"HumanMessage": "human", "AIMessage": "ai", "ToolMessage": "tool"}


class Message(NamedTuple):
    """A message; `key` is its id, or its position among those of its thread."""

    key: str
    kind: str
    fields: Mapping[str, Any]
    at: datetime | None


def messages_in(value: Any) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield the key, the kind and the fields of the messages in a stored list."""
    for position, each in enumerate(value if isinstance(value, list) else [value], start=1):
        fields = _fields(each)
        if fields is not None:
            kind = str(fields.get("type") or fields.get("role") or "").lower()
            kind = kind.removesuffix("messagechunk")
            yield str(fields.get("id") or f"message-{position}"), _KINDS.get(kind, kind), fields


def _fields(value: Any) -> Mapping[str, Any] | None:
    """Return the fields of a message; older checkpoints have them below its class."""
    if not isinstance(value, Mapping):
        return None
    if value.get("lc") and isinstance(value.get("kwargs"), Mapping):
        name = str((value.get("id") or [""])[-1])
        return {"type": _CLASSES.get(name, name), **value["kwargs"]}
    return value if "content" in value else None


def told(turn: OpenTurn, message: Message, place: Place) -> Iterator[ImportedRecord]:
    """Yield what a message that is no prompt becomes."""
    turn.saw(message.at)
    if message.kind == "ai":
        yield from _answer(turn, message, place)
    elif message.kind == "tool":
        call_id = str(message.fields.get("tool_call_id"))
        content = text_of(message.fields.get("content"))
        failed = message.fields.get("status") == "error"
        error = (content or "error") if failed else None
        yield from turn.end_tool(call_id, message.at, content, error=error)
    else:
        kind = f"{message.kind or 'other'}_message"
        data = {"text": text_of(message.fields.get("content"))}
        yield from turn.event(message.key, kind, message.at, data, place)


def _answer(turn: OpenTurn, message: Message, place: Place) -> Iterator[ImportedRecord]:
    fields, text = message.fields, text_of(message.fields.get("content"))
    turn.answer(text, message.at)
    if thought := _thought(fields.get("content")):
        key = f"{message.key}/thinking"
        yield from turn.event(key, "thinking", message.at, {"text": thought}, place)
    for call in objects_in(fields.get("tool_calls")):
        call_id, name = str(call.get("id") or message.key), str(call.get("name") or "")
        key = f"{message.key}/{call_id}"
        turn.begin_tool(key, call_id, name, call.get("args"), message.at, place)
    answered_by = member(fields, "response_metadata")
    yield from turn.call(
        message.key,
        message.at,
        _tokens(place, fields.get("usage_metadata")),
        place,
        model=str(member(answered_by, "model_name") or member(answered_by, "model") or ""),
        provider=str(member(answered_by, "model_provider") or ""),
        text=text,
    )


def _thought(content: Any) -> str:
    """Return what a model thought, of the blocks in which Anthropic's answers have it."""
    thoughts = (each.get("thinking") or each.get("reasoning") for each in objects_in(content))
    return "\n".join(str(thought) for thought in thoughts if thought)


def _tokens(place: Place, usage: Any) -> Tokens:
    return Tokens(
        place.count(usage, "input_tokens"),
        place.count(usage, "output_tokens"),
        place.count(member(usage, "input_token_details"), "cache_read"),
        place.count(member(usage, "input_token_details"), "cache_creation"),
        place.count(member(usage, "output_token_details"), "reasoning"),
    )
