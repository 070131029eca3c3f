"""Read what was asked and answered from the messages of a conversation, in OpenAI's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curio_persistence.recording.responses import found, text_or_parts


def last_question(messages: Any) -> Any:
    """Return what the user said last; None if there is no such message."""
    if isinstance(messages, str):
        return messages
    if not isinstance(messages, Sequence):
        return None
    asked = (each for each in reversed(messages) if found(each, "role") == "user")
    content = found(next(asked, None), "content")
    return text_or_parts(content) if _are_parts(content) else content


def _are_parts(content: Any) -> bool:
    return isinstance(content, list) and all(isinstance(part, Mapping) for part in content)
