"""Messages of a model call, read from the text that is stored, in the forms that receivers know."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from curio_persistence.interop.otel.spans import Attributes
from curio_persistence.views.values import compact, parsed


class ToolRequest(NamedTuple):
    """A call of a tool that a model asks for; the arguments are text or JSON."""

    id: str | None
    name: str
    arguments: Any


class Message(NamedTuple):
    """One message. `answers` is the id of the tool call of which it has the result."""

    role: str
    text: str
    requests: tuple[ToolRequest, ...] = ()
    answers: str | None = None


def messages_in(text: str, role: str) -> list[Message]:
    """Return the messages of a prompt or an answer; text of another shape is one of this role."""
    value = parsed(text)
    if isinstance(value, dict):
        value = value["messages"] if isinstance(value.get("messages"), list) else [value]
    if isinstance(value, list) and value and all(map(_is_message, value)):
        return [_message(each) for each in value]
    requests = tuple(_requests(value)) if isinstance(value, list) else ()
    if requests:  # An answer in the blocks of Anthropic, without a role.
        return [Message(role, _text(value), requests)]
    return [Message(role, text)]


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str)


def _message(value: Mapping[str, Any]) -> Message:
    content = value.get("content", value.get("parts"))
    blocks = content if isinstance(content, list) else []
    requests = (*_requests(blocks), *_requests(value.get("tool_calls")))
    answers = value.get("tool_call_id") or next(filter(None, map(_answered, blocks)), None)
    role = "tool" if answers and value["role"] == "user" else value["role"]
    return Message(role, _text(content), requests, answers and str(answers))


_REQUESTS = ("function", "function_call", "tool_use", "tool_call")


def _requests(blocks: Any) -> Iterator[ToolRequest]:
    """Yield the tool calls in blocks of OpenAI, Anthropic, or OpenTelemetry."""
    for block in blocks if isinstance(blocks, list) else ():
        if not isinstance(block, dict) or block.get("type") not in _REQUESTS:
            continue
        told = block["function"] if isinstance(block.get("function"), dict) else block
        if isinstance(name := told.get("name"), str):
            ident = block.get("call_id", block.get("id"))
            given = told.get("arguments", told.get("input"))
            yield ToolRequest(None if ident is None else str(ident), name, given)


def _answered(block: Any) -> Any:
    if isinstance(block, dict) and block.get("type") in ("tool_result", "tool_call_response"):
        return block.get("tool_use_id", block.get("id"))
    return None


def _text(content: Any) -> str:
    """Return the words of a message; what is neither text nor a tool call stays JSON."""
    if not isinstance(content, list):
        return "" if content is None else compact(content)
    return "\n".join(filter(None, map(_words, content)))


def _words(block: Any) -> str:
    if not isinstance(block, dict):
        return compact(block)
    for name in ("text", "content", "response"):
        if name in block:
            return _text(block[name])
    return "" if any(_requests([block])) else compact(block)


def genai_messages(messages: Iterable[Message], finish_reason: str | None = None) -> str:
    """Return messages as the JSON of `gen_ai.input.messages` and `gen_ai.output.messages`."""
    ended = {} if finish_reason is None else {"finish_reason": finish_reason}
    told = [{"role": each.role, "parts": [*_parts(each)], **ended} for each in messages]
    return json.dumps(told, ensure_ascii=False)


def _parts(message: Message) -> Iterator[dict[str, Any]]:
    if message.answers:
        yield {"type": "tool_call_response", "id": message.answers, "response": message.text}
    elif message.text or not message.requests:
        yield {"type": "text", "content": message.text}
    for ident, name, given in message.requests:
        yield {"type": "tool_call", "id": ident, "name": name, "arguments": parsed(given)}


def openinference_messages(prefix: str, messages: Iterable[Message]) -> Attributes:
    """Return messages as the attributes of OpenInference, one for each value."""
    attributes: Attributes = {}
    for number, message in enumerate(messages):
        begin = f"{prefix}.{number}.message"
        attributes[f"{begin}.role"] = message.role
        attributes[f"{begin}.content"] = message.text
        if message.answers:
            attributes[f"{begin}.tool_call_id"] = message.answers
        for at, request in enumerate(message.requests):
            of_call = f"{begin}.tool_calls.{at}.tool_call"
            attributes[f"{of_call}.function.name"] = request.name
            attributes[f"{of_call}.function.arguments"] = compact(request.arguments)
            if request.id is not None:
                attributes[f"{of_call}.id"] = request.id
    return attributes
