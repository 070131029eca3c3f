"""The words in messages of models, in whatever form a maker of spans writes them.

Known are the parts of GenAI, the messages of OpenAI, Anthropic, Gemini, LangChain and Strands, and
the inputs and outputs of functions that Langfuse, MLflow and OpenLLMetry write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

USER = frozenset({"user", "human"})
ASSISTANT = frozenset({"assistant", "ai", "model"})
ID_LENGTH = 255
_REFUSED = re.compile("[\x00\ud800-\udfff]").search
_REFUSED_ALL = re.compile("[\x00\ud800-\udfff]").sub
_WITHIN = (
    *("messages", "input", "inputs", "output", "outputs", "contents", "choices", "message"),
    *("generations", "args", "kwargs", "prompt"),
)
"""Members in which there may be messages, in order."""
_TEXT = ("content", "text", "contents", "parts", "data", "kwargs")
"""Members of a message, or a part of one, in which its text may be."""
_NO_TEXT = frozenset({"tool_call", "tool_call_response", "function_call", "tool_use", "reasoning"})
_decode = json.JSONDecoder().decode
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
_JSON = frozenset({"[", "{", '"'})
"""How JSON begins that is not a number or a word."""
_DEEP = 12

calls_tools = re.compile(
    r'"(?:tool_calls|toolUse|toolName|functionCall)":(?! ?(?:null|\[\]))'
    r'|"type": ?"(?:tool_call|tool_use|function_call)"'
).search
"""Finds a call of a tool in the JSON of an answer."""

Message = dict[str, Any]


def parsed(text: Any) -> Any:
    """Return a value that may be JSON in text, or in a text of JSON; other text stays."""
    for _ in range(2):
        if not isinstance(text, str) or text[:1] not in _JSON:
            break
        try:
            text = _decode(text)
        except (ValueError, RecursionError):
            break
    return text


def label(text: str, longest: int = ID_LENGTH) -> str:
    """Return a name or an id as a column holds it: without NUL and surrogates, and not too long."""
    is_plain = text.isascii() and "\0" not in text  # In a third of the time of the search.
    if len(text) <= longest and (is_plain or not _REFUSED(text)):
        return text
    return _REFUSED_ALL("\ufffd", text[:longest])


def as_text(value: Any) -> str:
    """Return text as it is, other values as JSON."""
    return value if isinstance(value, str) else _encode(value)


def last_text(value: Any, roles: frozenset[str]) -> str | None:
    """Return the words of the last message of one of these roles; None without any."""
    return _last_text(parsed(value), roles, _DEEP)


def _last_text(value: Any, roles: frozenset[str], depth: int) -> str | None:
    if isinstance(value, str):
        return value or None
    if not depth:
        return None
    if isinstance(value, list):
        return _last_of(value, roles, depth - 1)
    if not isinstance(value, dict):
        return None if value is None else as_text(value)
    if (role := _role(value)) is not None:
        return text_of(value) if role in roles else None
    for name in _WITHIN:
        if found := _last_text(parsed(value.get(name)), roles, depth - 1):
            return found
    return text_of(value)


def _last_of(values: Sequence[Any], roles: frozenset[str], depth: int) -> str | None:
    for each in reversed(values):
        if isinstance(each, dict | list) and (found := _last_text(each, roles, depth)):
            return found
    return None if any(map(_is_message, values)) else text_of(values)


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and _role(value) is not None


def _role(message: Mapping[str, Any]) -> str | None:
    """Return the role of a message; None for a value that is none."""
    role = message.get("role") or message.get("type")
    if role == "constructor":  # LangChain's serialisation of an object
        role = (message.get("kwargs") or {}).get("type")
    return role if isinstance(role, str) and role in _ROLES else None


_ROLES = USER | ASSISTANT | {"system", "developer", "tool", "function"}


def text_of(value: Any, depth: int = _DEEP) -> str | None:
    """Return the text of a message or of parts; None if there is none."""
    value = parsed(value) if isinstance(value, str) and value[:2] == "[{" else value
    if isinstance(value, str):
        return value or None
    if not depth:
        return None
    if isinstance(value, list):
        texts = [text for each in value if (text := text_of(each, depth - 1))]
        return "\n".join(texts) or None
    if isinstance(value, dict) and value.get("type") not in _NO_TEXT:
        for name in _TEXT:
            if text := text_of(value.get(name), depth - 1):
                return text
    return None


def answer_of(value: Any) -> str:
    """Return the words of a model's answer if it has nothing else; otherwise all of it as JSON."""
    answer = as_text(value)
    if answer[:1] in _JSON and not calls_tools(answer):
        return last_text(value, ASSISTANT) or answer
    return answer


def messages_of(events: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[list[Message], Any]:
    """Return the messages to a model and its answer, of events with a role and a body each."""
    asked: list[Message] = []
    answered: list[Message] = []
    for role, body in events:
        message = body.get("message", body)
        if isinstance(message, dict):
            told = {"role": message.get("role") or role} | message
        else:
            told = {"role": role, "content": message}
        (answered if "finish_reason" in body or "message" in body else asked).append(told)
    return asked, answered
