"""The events of coding agents, as rows: what each is called, and where its figures are.

They come as log records. Numbers and booleans may be text.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Role(StrEnum):
    """What an event tells. Whatever has no other role is an event of the run."""

    PROMPT = "prompt"
    """A turn begins."""
    ANSWER = "answer"
    CALL = "call"
    FAILURE = "failure"
    """A call of a model that failed."""
    TOOL = "tool"
    DECISION = "decision"
    """A call of a tool is allowed or denied; a denied one is a failed call."""
    EVENT = "event"
    SKIPPED = "skipped"
    """What others tell as well, such as each piece of an answer that is streamed."""


class CodingAgent(NamedTuple):
    """A maker of events."""

    name: str
    provider: str | None
    roles: dict[str, Role]
    """By the name of the event without the prefix, or by `name:kind` with its `event.kind`."""
    keys: dict[str, tuple[str, ...]]
    """The attributes of each field. Of `input_tokens` and `output_tokens` all are added up, since
    some makers count the cache or the reasoning beside them; of others the first counts."""


_COMMON: dict[str, tuple[str, ...]] = {
    "model": ("model",),
    "prompt": ("prompt",),
    "duration": ("duration_ms",),
    "success": ("success",),
    "decision": ("decision",),
    "user": ("user.id", "user.account_uuid", "user.account_id"),
}

CODING_AGENTS: dict[str, CodingAgent] = {
    "claude_code.": CodingAgent(
        "claude-code",
        "anthropic",
        {
            "user_prompt": Role.PROMPT,
            "assistant_response": Role.ANSWER,
            "api_request": Role.CALL,
            "api_error": Role.FAILURE,
            "api_refusal": Role.FAILURE,
            "tool_result": Role.TOOL,
            "tool_decision": Role.DECISION,
            "api_request_body": Role.SKIPPED,
            "api_response_body": Role.SKIPPED,
        },
        _COMMON
        | {
            "session": ("session.id",),
            "turn": ("prompt.id",),
            "answer": ("response",),
            "call_id": ("request_id",),
            "input_tokens": ("input_tokens", "cache_read_tokens", "cache_creation_tokens"),
            "output_tokens": ("output_tokens",),
            "cache_read_tokens": ("cache_read_tokens",),
            "cache_write_tokens": ("cache_creation_tokens",),
            "cost": ("cost_usd",),
            "error": ("error", "error_type", "error_message"),
            "tool": ("tool_name",),
            "tool_call_id": ("tool_use_id",),
            "arguments": ("tool_input", "tool_parameters"),
        },
    ),
    "codex.": CodingAgent(
        "codex",
        "openai",
        {
            "user_prompt": Role.PROMPT,
            "sse_event": Role.SKIPPED,
            "sse_event:response.completed": Role.CALL,
            "sse_event:response.failed": Role.FAILURE,
            "websocket_event": Role.SKIPPED,
            "websocket_event:response.completed": Role.CALL,
            "websocket_event:response.failed": Role.FAILURE,
            "websocket_request": Role.SKIPPED,
            "api_request": Role.SKIPPED,
            "tool_result": Role.TOOL,
            "tool_decision": Role.DECISION,
        },
        _COMMON
        | {
            "session": ("conversation.id",),
            "input_tokens": ("input_token_count",),
            "output_tokens": ("output_token_count",),
            "cache_read_tokens": ("cached_token_count",),
            "reasoning_tokens": ("reasoning_token_count",),
            "error": ("error.message",),
            "tool": ("tool_name",),
            "tool_call_id": ("call_id",),
            "arguments": ("arguments",),
            "result": ("output",),
        },
    ),
    "gemini_cli.": CodingAgent(
        "gemini-cli",
        "google",
        {
            "user_prompt": Role.PROMPT,
            "api_request": Role.SKIPPED,
            "api_response": Role.CALL,
            "api_error": Role.FAILURE,
            "tool_call": Role.TOOL,
        },
        _COMMON
        | {
            "session": ("session.id",),
            "turn": ("prompt_id",),
            "answer": ("response_text",),
            "input_tokens": ("input_token_count", "tool_token_count"),
            "output_tokens": ("output_token_count", "thoughts_token_count"),
            "cache_read_tokens": ("cached_content_token_count",),
            "reasoning_tokens": ("thoughts_token_count",),
            "error": ("error", "error.message", "error_message"),
            "tool": ("function_name",),
            "arguments": ("function_args",),
        },
    ),
}
"""By the beginning of the names of events."""

DENIED = frozenset({"reject", "rejected", "denied", "deny", "abort", "aborted"})
"""Decisions that forbid the call of a tool."""

HIDDEN = frozenset({"<REDACTED>", "[REDACTED]"})
"""What stands for words that the agent was not asked to tell."""
