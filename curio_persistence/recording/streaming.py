"""Put a streamed answer together from its chunks, whichever SDK they are from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from curio_persistence.recording.responses import (
    MODEL,
    OTHER_SHAPE,
    RESPONSE_ID,
    USAGE,
    Answer,
    Json,
    found,
    metrics_of,
    read_response,
    text_or_parts,
    tier_of,
    tokens_in,
)
from curio_persistence.store.json_text import nearest_json


class StreamedAnswer:
    """The answer as far as its chunks have come."""

    def __init__(self) -> None:
        self._parts: dict[Any, dict[str, Any]] = {}
        self._usage: dict[str, Any] = {}
        self._model: str | None = None
        self._response_id: str | None = None
        self._reason: Any = None
        self._tier: Any = None
        self._whole: Any = None

    def add(self, chunk: Any) -> None:
        """Add a chunk: an SDK's object, the same as a dictionary, or text."""
        plain = nearest_json(chunk)
        if isinstance(plain, str):
            self._append("text", {"text": plain})
        elif isinstance(plain, dict):
            try:
                self._add_object(plain)
            except OTHER_SHAPE:
                self._add_whole(plain)

    def answer(self) -> Answer:
        """Return what all chunks come to."""
        if self._whole is not None:
            return read_response(self._whole)
        return Answer(
            text_or_parts(self._parts.values()) if self._parts else None,
            self._model,
            tokens_in(self._usage),
            metrics_of(self._reason, self._response_id, self._usage or None, self._tier),
        )

    def _add_object(self, chunk: Json) -> None:
        read = next((read for key, read in _READERS.items() if key in chunk), None)
        message = found(chunk, "message")  # Anthropic's first event holds the message's head.
        for source in (chunk, message):
            self._model = found(source, *MODEL) or self._model
            self._response_id = found(source, *RESPONSE_ID) or self._response_id
            self._tier = tier_of(source) or self._tier
            usage = found(source, *USAGE) or {}
            self._usage |= {name: value for name, value in usage.items() if value is not None}
        (read or StreamedAnswer._add_whole)(self, chunk)

    def _add_whole(self, chunk: Json) -> None:
        """Add a chunk that is of no SDK known here, or only looked like one of theirs."""
        self._parts[len(self._parts), "whole"] = dict(chunk)

    def _add_openai_chat(self, chunk: Json) -> None:
        for choice in chunk["choices"]:
            self._reason = found(choice, "finish_reason") or self._reason
            delta = found(choice, "delta") or {}
            content = found(delta, "content")
            if isinstance(content, str):
                self._append("text", {"text": content})
            elif content:  # Parts, from servers that speak like OpenAI's.
                self._add_whole({"content": content})
            for call in found(delta, "tool_calls") or ():
                self._append(("tool", found(call, "index")), {"type": "tool_call", **call})

    def _add_google(self, chunk: Json) -> None:
        for candidate in (chunk["candidates"] or ())[:1]:
            self._reason = found(candidate, "finish_reason", "finishReason") or self._reason
            for part in found(found(candidate, "content"), "parts") or ():
                known = {name: value for name, value in part.items() if value is not None}
                is_text = known.keys() == {"text"}
                self._append("text" if is_text else len(self._parts), known)

    def _add_event(self, event: Json) -> None:
        """Add an event of OpenAI's responses or of Anthropic's messages."""
        delta = found(event, "delta")
        if whole := found(event, "response"):
            self._whole = whole if found(whole, "output") else self._whole
        elif isinstance(delta, str) and event["type"] == "response.output_text.delta":
            self._append("text", {"text": delta})
        elif event["type"] == "content_block_start":
            self._append(found(event, "index"), event["content_block"])
        elif delta and event["type"] == "content_block_delta":
            said = {name: value for name, value in delta.items() if name != "type"}
            self._append(found(event, "index"), said)
        elif delta:
            self._reason = found(delta, "stop_reason") or self._reason

    def _append(self, key: Any, piece: Json) -> None:
        _grow(self._parts.setdefault(key, {}), piece)


def _grow(part: dict[str, Any], piece: Json) -> None:
    """Add a piece to a part: words are appended to words, other members are replaced."""
    for name, value in piece.items():
        before = part.get(name)
        if name in _WORDS and isinstance(before, str) and isinstance(value, str):
            part[name] = before + value
        elif isinstance(before, dict) and isinstance(value, dict):
            _grow(before, value)
        elif value is not None or name not in part:
            part[name] = dict(value) if isinstance(value, dict) else value


_WORDS = frozenset({"text", "arguments", "partial_json", "thinking", "signature", "content"})
_READERS: dict[str, Callable[[StreamedAnswer, Json], None]] = {
    "choices": StreamedAnswer._add_openai_chat,
    "candidates": StreamedAnswer._add_google,
    "type": StreamedAnswer._add_event,
}
