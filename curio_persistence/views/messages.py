"""Prompts and answers as messages, in the shapes of the common APIs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from curio_persistence.views.values import compact

TEXT, THINKING, CALL, RESULT, ATTACHMENT, DATA = (
    *("text", "thinking", "call", "result"),
    *("attachment", "data"),
)
"""The kinds of parts: words, those that nobody was told, a tool's call, its result, an image or
file, and whatever is not known."""

_LISTS = ("messages", "contents", "input", "output", "choices", "candidates")
_SYSTEM = ("system", "instructions", "systemInstruction", "system_instruction")
_WRAPPED = ("message", "content")
"""The members of OpenAI's choices and Gemini's candidates that are messages."""

_CALLS = frozenset(("tool_use", "tool_call", "function_call", "server_tool_use", "function"))
_RESULTS = frozenset(("tool_result", "tool_call_response", "function_call_output"))
_THOUGHTS = frozenset(("thinking", "reasoning", "redacted_thinking"))
_FILES = frozenset(
    ("image_url", "image", "input_image", "input_audio", "file", "document", "input_file", "blob")
)
_ITEMS = _CALLS | _RESULTS | _THOUGHTS
"""Types of items that stand in a list in place of messages."""
_BLOCKS = _ITEMS | _FILES | {"text", "input_text", "output_text"}

_SOURCES = ("url", "data", "fileUri", "file_uri", "uri", "file_id", "content", "file_data")
_INSIDE = ("image_url", "source", "input_audio", "file", "image")
_TYPES = ("media_type", "mimeType", "mime_type", "format", "modality")


class Part(NamedTuple):
    """A piece of a message; `name` is a tool's, or an attachment's type."""

    kind: str
    value: Any
    name: str = ""
    failed: bool = False


class Message(NamedTuple):
    """The words of one side."""

    role: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """The messages of a prompt or an answer, and what else was sent with them."""

    messages: tuple[Message, ...]
    rest: Mapping[str, Any]


def conversation_in(value: Any, role: str = "user") -> Conversation | None:
    """Return the messages that a parsed value holds; None where it has another shape.

    Content without a message around it is said by `role`.
    """
    if isinstance(value, list):
        if _are_messages(value):
            return Conversation(_messages(value), {})
        said = Message(role, tuple(_parts_of(value)))
        return Conversation((said,), {}) if _are_blocks(value) else None
    if not isinstance(value, dict):
        return None
    if _is_message(value):
        return Conversation(_messages([value]), {})
    name = next((name for name in _LISTS if _are_messages(value.get(name))), None)
    if name is None:
        return None
    system = {key: value[key] for key in _SYSTEM if value.get(key)}
    first = (Message("system", tuple(_parts_of(each))) for each in system.values())
    rest = {key: each for key, each in value.items() if key != name and key not in system}
    return Conversation((*first, *_messages(value[name])), rest)


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_message, map(_unwrapped, value)))


def _are_blocks(value: list[Any]) -> bool:
    """Return True for the content of a message: texts, calls, images."""
    kinds = [each.get("type") if isinstance(each, dict) else None for each in value]
    return bool(kinds) and all(isinstance(kind, str) and kind in _BLOCKS for kind in kinds)


def _is_message(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return isinstance(value.get("role"), str) or _is_item(value) or "parts" in value


def _is_item(value: dict[str, Any]) -> bool:
    """Return True for a call, a result or a thought that stands in place of a message."""
    kind = value.get("type")
    return isinstance(kind, str) and kind in _ITEMS


def _unwrapped(value: Any) -> Any:
    """Return the message in a choice or a candidate."""
    if isinstance(value, dict) and "role" not in value:
        return next((value[name] for name in _WRAPPED if isinstance(value.get(name), dict)), value)
    return value


def _messages(values: Iterable[Any]) -> tuple[Message, ...]:
    return tuple(map(_message, map(_unwrapped, values)))


def _message(value: dict[str, Any]) -> Message:
    if _is_item(value):
        role = "tool" if value["type"] in _RESULTS else "assistant"
        return Message(str(value.get("role") or role), (_part(value),))
    role = str(value.get("role") or "user")
    found = tuple(chain(_said(value, role), _called(value)))
    if found:
        return Message(role, found)
    left = {key: each for key, each in value.items() if key != "role" and each is not None}
    return Message(role, (Part(DATA, left),) if left else ())


def _said(value: dict[str, Any], role: str) -> Iterator[Part]:
    for name in ("reasoning_content", "reasoning"):
        if value.get(name) and isinstance(value[name], str):
            yield Part(THINKING, value[name])
    parts = [*_parts_of(value.get("content")), *_parts_of(value.get("parts"))]
    parts = parts or [*_parts_of(value.get("text")), *_parts_of(value.get("refusal"))]
    if role in ("tool", "function"):
        name = str(value.get("name") or value.get("tool_call_id") or "")
        parts = [
            part._replace(kind=RESULT, name=name) if _is_bare(part) else part for part in parts
        ]
    yield from parts


def _is_bare(part: Part) -> bool:
    return part.kind in (TEXT, DATA)


def _called(value: dict[str, Any]) -> Iterator[Part]:
    calls = value.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        yield _call(call) if isinstance(call, dict) else Part(DATA, call)
    if isinstance(value.get("function_call"), dict):
        yield _call(value["function_call"])


def _parts_of(content: Any) -> Iterator[Part]:
    if isinstance(content, dict) and isinstance(content.get("parts"), list):
        content = content["parts"]
    if content is None or content == "":
        return
    yield from map(_part, content if isinstance(content, list) else [content])


def _part(value: Any) -> Part:
    if isinstance(value, str):
        return Part(TEXT, value)
    if not isinstance(value, dict):
        return Part(DATA, value)
    for name, made in _OF_GEMINI.items():
        if isinstance(value.get(name), dict):
            return made(value[name])
    kind = value.get("type")
    kind = kind if isinstance(kind, str) else None
    return next((made for kinds, made in _BY_TYPE if kind in kinds), _words)(value)


def _words(value: dict[str, Any]) -> Part:
    text = value.get("text", value.get("content") if value.get("type") == "text" else None)
    if isinstance(text, str):
        return Part(THINKING if value.get("thought") is True else TEXT, text)
    return Part(DATA, value)


def _thought(value: dict[str, Any]) -> Part:
    said = (
        value.get("thinking") or value.get("content") or value.get("summary") or value.get("text")
    )
    if isinstance(said, list):
        said = "\n".join(str(each.get("text", "")) for each in said if isinstance(each, dict))
    return Part(THINKING, said) if isinstance(said, str) and said else Part(DATA, value)


def _call(value: dict[str, Any]) -> Part:
    inner = value.get("function")
    said = inner if isinstance(inner, dict) else value
    name = said.get("name")
    if not isinstance(name, str):
        return Part(DATA, value)
    given = (said.get(key) for key in ("arguments", "input", "args"))
    return Part(CALL, next((each for each in given if each is not None), {}), name)


def _result(value: dict[str, Any]) -> Part:
    given = (value.get(key) for key in ("content", "output", "response", "result"))
    said = next((each for each in given if each is not None), "")
    names = (value.get(key) for key in ("name", "tool_use_id", "call_id", "id"))
    name = next((each for each in names if isinstance(each, str)), "")
    return Part(RESULT, _only_text(said), name, value.get("is_error") is True)


def _only_text(said: Any) -> Any:
    """Return the text of a list of texts, and anything else as it is."""
    parts = list(_parts_of(said)) if isinstance(said, list) else []
    if parts and all(part.kind == TEXT for part in parts):
        return "\n".join(part.value for part in parts)
    return said


def _attachment(value: dict[str, Any]) -> Part:
    inner: Any = next((value[name] for name in _INSIDE if name in value), value)
    if isinstance(inner, str):
        return Part(ATTACHMENT, inner, _type_of(value))
    if not isinstance(inner, dict):
        return Part(DATA, value)
    source = next((inner[key] for key in _SOURCES if isinstance(inner.get(key), str)), None)
    return Part(DATA, value) if source is None else Part(ATTACHMENT, source, _type_of(inner, value))


def _type_of(*values: dict[str, Any]) -> str:
    told = (value.get(key) for value in values for key in (*_TYPES, "type"))
    return compact(next((each for each in told if isinstance(each, str)), "file"))


_OF_GEMINI = {
    "functionCall": _call,
    "function_call": _call,
    "functionResponse": _result,
    "function_response": _result,
    "inlineData": _attachment,
    "inline_data": _attachment,
    "fileData": _attachment,
    "file_data": _attachment,
}
"""What makes a part of the only member of a part of Gemini's."""

_BY_TYPE = (
    (_CALLS, _call),
    (_RESULTS, _result),
    (_THOUGHTS, _thought),
    (_FILES, _attachment),
)
