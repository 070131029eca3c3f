"""Return the text for people in the inputs and outputs of exports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from curio_persistence.importers.sessions.places import as_text, text_of

_USER = frozenset({"user", "human"})
_ASSISTANT = frozenset({"assistant", "ai", "model"})
_JSON = frozenset('[{"')


def parsed(value: Any) -> Any:
    """Return a value that may be JSON in text; other text stays."""
    if isinstance(value, str) and value[:1] in _JSON:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def object_in(value: Any) -> Mapping[str, Any]:
    """Return an object, which may be JSON in text; an empty one for anything else."""
    value = parsed(value)
    return value if isinstance(value, dict) else {}


def asked_in(value: Any) -> str | None:
    """Return what was asked: of messages the last one of a user, of others all of it."""
    return _last(parsed(value), _USER)


def answered_in(value: Any) -> str | None:
    """Return what was answered: of messages the last one of a model, of others all of it."""
    return _last(parsed(value), _ASSISTANT)


def _last(value: Any, roles: frozenset[str]) -> str | None:
    messages = value.get("messages") if isinstance(value, dict) else value
    if isinstance(messages, dict):
        messages = [messages]
    if isinstance(value, dict) and "role" in value:
        messages = [value]
    if isinstance(messages, list):
        for message in reversed(messages):
            if isinstance(message, dict) and str(message.get("role")) in roles:
                content = message.get("content")
                said = text_of(content) if isinstance(content, list) else as_text(content)
                return said or as_text(message)
    return as_text(value) or None
