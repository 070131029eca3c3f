"""The values that entries are made of: words, metrics, milestones, and what a user says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any, TypeAlias


class TerminationReason(StrEnum):
    """Why a run ended."""

    COMPLETED = "completed"
    MAX_STEPS = "max_steps"
    TIMEOUT = "timeout"
    MAX_OUTPUT_TOKENS = "max_output_tokens"
    MAX_INPUT_TOKENS_PER_CALL = "max_input_tokens_per_call"
    MAX_RUN_COST = "max_run_cost"
    ERROR = "error"
    ERROR_WITH_CONTEXT = "error_with_context"
    CANCELLED = "cancelled"
    TOOL_LIMIT = "tool_limit"
    SLEEPING = "sleeping"


class MessageRole(StrEnum):
    """The roles of messages to and from a model."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class RunStatus(StrEnum):
    """The status of a run, as its log says."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class ContentType(StrEnum):
    """The types of parts of what a user says."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    FILE = "file"


@dataclass(slots=True)
class StepMetrics:
    """The time, tokens and cost of one step; None is unknown."""

    start_at: datetime | None = None
    end_at: datetime | None = None
    duration_ms: float | None = None
    total_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_creation_tokens: int | None = None
    token_cost: float | None = None
    usage_source: str | None = None
    model_name: str | None = None
    provider: str | None = None
    first_token_latency_ms: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, times as ISO 8601 text."""
        return plain_fields(self)


@dataclass(slots=True)
class RunMetrics:
    """The time, tokens, cost and counts of one run; times are seconds since 1970."""

    start_at: float = 0.0
    end_at: float = 0.0
    duration_ms: float = 0.0
    total_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    token_cost: float = 0.0
    steps_count: int = 0
    tool_calls_count: int = 0
    tool_errors_count: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return plain_fields(self)


@dataclass(frozen=True, slots=True)
class Milestone:
    """A goal on the way; `status` is pending, active, completed or another word."""

    id: str
    description: str
    status: str = "pending"
    declared_at_seq: int = 0
    completed_at_seq: int | None = None


@dataclass(slots=True)
class ContentPart:
    """A text, picture, sound, film or file that a user gives."""

    type: ContentType
    text: str | None = None
    url: str | None = None
    mime_type: str | None = None
    detail: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class ChannelContext:
    """Where a message comes from."""

    source: str
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class UserMessage:
    """Parts of content with the channel that they came by."""

    content: list[ContentPart]
    context: ChannelContext | None = None


UserInput: TypeAlias = str | list[ContentPart] | UserMessage
"""The input of a user: a text, parts, or parts with their channel."""
MessageContent: TypeAlias = str | list[dict[str, Any]]
"""The content of a message, as models take it."""


def plain_fields(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass by name; times as ISO 8601 text, words as plain text."""
    return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.value if isinstance(value, Enum) else value


def parts_of(user_input: UserInput) -> Sequence[ContentPart]:
    """Return what a user says as parts."""
    if isinstance(user_input, str):
        return [ContentPart(ContentType.TEXT, user_input)]
    return user_input.content if isinstance(user_input, UserMessage) else user_input


def text_of(user_input: UserInput | None) -> str:
    """Return the texts of what a user says, one on a line."""
    if user_input is None or isinstance(user_input, str):
        return user_input or ""
    texts = (part.text for part in parts_of(user_input) if part.type == ContentType.TEXT)
    return "\n".join(text for text in texts if text)


def content_of(user_input: UserInput) -> MessageContent:
    """Return what a user says as the content of a message: a single text as it is, else blocks."""
    parts = parts_of(user_input)
    if len(parts) == 1 and parts[0].type == ContentType.TEXT:
        return parts[0].text or ""
    return [_block(part) for part in parts if part.url or part.type == ContentType.TEXT]


def _block(part: ContentPart) -> dict[str, Any]:
    if part.type == ContentType.TEXT:
        return {"type": "text", "text": part.text or ""}
    kind, names = _BLOCKS.get(part.type, ("file", {"mime_type": "mime_type"}))
    given = {name: getattr(part, attribute) for name, attribute in names.items()}
    told = {name: value for name, value in given.items() if value}
    return {"type": kind, kind: {"url": part.url, **told}}


_BLOCKS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    ContentType.IMAGE: ("image_url", {"detail": "detail"}),
    ContentType.AUDIO: ("input_audio", {"format": "mime_type"}),
    ContentType.VIDEO: ("video_url", {}),
}
"""The type of a part's block, and the attributes that it has besides the address."""
