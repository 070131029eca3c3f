"""Messages as HTML: the role, the words, the calls of tools and their results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from curio_persistence.views.html.chips import attachment_chip
from curio_persistence.views.html.text import Html, block, element, joined
from curio_persistence.views.messages import (
    ATTACHMENT,
    CALL,
    RESULT,
    TEXT,
    THINKING,
    Conversation,
    Message,
    Part,
)

_MOST = 500
"""Messages of one prompt that are shown."""
_ANSWERING = frozenset(("assistant", "model", "ai"))

Shown = Callable[[Any], Html]
"""Shows a value of any shape."""


def shown_messages(said: Conversation, value: Shown, answer: Shown) -> Html:
    """Return a conversation; `answer` shows the words of a model, `value` everything else."""
    return joined(_shown(said, value, answer))


def one_message(role: str, inside: Html) -> Html:
    """Return one message with its role above."""
    head = element("p", role, class_="role", dir="auto")
    return element("div", head, inside, class_=f"message {_side(role)}")


def _side(role: str) -> str:
    """Return the class of a role: recorded words never become one."""
    if role in _ANSWERING:
        return "by-model"
    return {"user": "by-user", "tool": "by-tool", "function": "by-tool"}.get(role, "by-system")


def _shown(said: Conversation, value: Shown, answer: Shown) -> Iterator[Html]:
    for message in said.messages[:_MOST]:
        yield one_message(message.role, joined(_parts(message, value, answer)))
    if len(said.messages) > _MOST:
        left = len(said.messages) - _MOST
        yield element("p", f"{left:,} more messages are not shown.", class_="cut-note")
    if said.rest:
        head = element("summary", "Sent with the messages")
        yield element("details", head, value(said.rest), class_="rest")


def _parts(message: Message, value: Shown, answer: Shown) -> Iterator[Html]:
    words = answer if message.role in _ANSWERING else value
    for part in message.parts:
        yield words(part.value) if part.kind == TEXT else _part(part, value)


def _part(part: Part, value: Shown) -> Html:
    if part.kind == ATTACHMENT:
        return attachment_chip(part.value, part.name)
    if part.kind == THINKING:
        return element("details", element("summary", "Thinking"), block(part.value), class_="aside")
    if part.kind == CALL:
        return _titled("calls", part.name, value(part.value))
    if part.kind == RESULT:
        return _titled("failed in" if part.failed else "result of", part.name, value(part.value))
    return value(part.value)


def _titled(word: str, name: str, inside: Html) -> Html:
    title = element("p", f"{word} ", element("b", name, dir="auto"), class_="call")
    return element("div", title, inside, class_="called")
