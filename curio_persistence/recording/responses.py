"""Read the answers of the OpenAI, Anthropic and Google SDKs, known by their shape alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from curio_persistence.store.json_text import nearest_json

Json = Mapping[str, Any]

MODEL = ("model", "model_version", "modelVersion")
RESPONSE_ID = ("id", "response_id", "responseId")
USAGE = ("usage", "usage_metadata", "usageMetadata")
"""The names of these members with OpenAI and Anthropic, in Google's SDK, in Google's JSON."""


OTHER_SHAPE = (TypeError, LookupError, AttributeError, RecursionError)
"""The errors of reading an answer of another shape."""


class Answer(NamedTuple):
    """The parts of an answer that are kept.

    `content` is its text; its parts, if they are not all text. `numbers` are fields of
    AgentLLMUsage, `metrics` go into its `usage_metrics`.
    """

    content: Any = None
    model: str | None = None
    numbers: Mapping[str, int] = MappingProxyType({})
    metrics: Json = MappingProxyType({})


def read_response(response: Any) -> Answer:
    """Read an SDK's object, the same as a dictionary, or text; anything else is its own content."""
    plain = nearest_json(response)
    if not isinstance(plain, dict):
        return Answer(plain)
    try:
        content, reason = _content_of(plain)
    except OTHER_SHAPE:
        content, reason = plain, None
    usage = found(plain, *USAGE)
    return Answer(
        content,
        found(plain, *MODEL),
        tokens_in(usage),
        metrics_of(reason, found(plain, *RESPONSE_ID), usage, tier_of(plain)),
    )


def _content_of(response: dict[str, Any]) -> tuple[Any, Any]:
    for member, read in _READERS.items():
        if isinstance(response.get(member), list):
            return read(response)
    return response, None


def metrics_of(reason: Any, response_id: Any, usage: Any, tier: Any) -> Json:
    """Return what goes into `usage_metrics`, without what is not known."""
    metrics = {
        "finish_reason": reason,
        "response_id": response_id,
        "usage": usage,
        "service_tier": tier,
    }
    return {name: value for name, value in metrics.items() if value is not None}


def tier_of(response: Any) -> Any:
    """Return the service tier that answered, which has prices of its own; None for the usual."""
    tier = found(response, "service_tier", "serviceTier")
    tier = found(tier, "type") or tier  # Bedrock has an object there.
    return None if tier in ("default", "standard", "auto") else tier


def found(values: Any, *names: str) -> Any:
    """Return the first of these members that is there, None if none is."""
    if not isinstance(values, Mapping):
        return None
    return next((values[name] for name in names if values.get(name) is not None), None)


def text_or_parts(parts: Iterable[Any]) -> Any:
    """Return the texts of parts as one; the parts, if one of them is not text."""
    parts = list(parts)
    return "".join(part["text"] for part in parts) if all(map(_is_text, parts)) else parts


def _is_text(part: Any) -> bool:
    is_of_kind = found(part, "type") in (None, "text", "output_text")
    return is_of_kind and isinstance(found(part, "text"), str) and not found(part, "thought")


_INPUT = (
    *("input_tokens", "prompt_tokens", "prompt_token_count", "promptTokenCount"),
    "inputTokens",
)
_OUTPUT = (
    *("output_tokens", "completion_tokens", "candidates_token_count", "candidatesTokenCount"),
    "outputTokens",
)
_CACHE_READ = ("cache_read_input_tokens", "cacheReadInputTokens")
_CACHE_WRITE = ("cache_creation_input_tokens", "cacheWriteInputTokens")
_CACHED = ("cached_content_token_count", "cachedContentTokenCount", "cached_tokens")
_THOUGHTS = ("thoughts_token_count", "thoughtsTokenCount")
_TOOL_USE = ("tool_use_prompt_token_count", "toolUsePromptTokenCount")
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")


def tokens_in(usage: Any) -> dict[str, int]:
    """Return the numbers of tokens by their field.

    Cached and reasoning tokens are parts of the input and output here. The input of Anthropic and
    Bedrock does not include those that were read from or written to their caches, Google's that of
    its tools, and the output of Google, xAI and Perplexity leaves out those of thoughts: they are
    added.
    """
    usage = found(usage, "billed_units", "tokens") or usage  # Cohere's.
    details = found(usage, *_INPUT_DETAILS)
    read, written = found(usage, *_CACHE_READ), found(usage, *_CACHE_WRITE)
    thoughts, reasoning = found(usage, *_THOUGHTS), _reasoning(usage)
    numbers = {
        "input_tokens": _sum(found(usage, *_INPUT), read, written, found(usage, *_TOOL_USE)),
        "output_tokens": _sum(found(usage, *_OUTPUT), thoughts, *_beside_output(usage, reasoning)),
        "cache_read_tokens": _first(read, found(usage, *_CACHED), found(details, "cached_tokens")),
        "cache_write_tokens": _first(written, found(details, "cache_write_tokens")),
        "reasoning_tokens": _first(thoughts, reasoning),
    }
    return {name: number for name, number in numbers.items() if isinstance(number, int)}


def _first(*numbers: Any) -> Any:
    return next((number for number in numbers if number is not None), None)


def _reasoning(usage: Any) -> Any:
    details = found(usage, *_OUTPUT_DETAILS)
    return _first(
        found(details, "reasoning_tokens", "thinking_tokens"), found(usage, "reasoning_tokens")
    )


def _beside_output(usage: Any, reasoning: Any) -> tuple[Any, ...]:
    """Return the numbers of tokens of the answer that the output leaves out."""
    citations = found(usage, "citation_tokens")
    if citations is not None:
        return reasoning, citations
    numbers = (found(usage, *_INPUT), found(usage, *_OUTPUT), reasoning)
    are_known = all(isinstance(number, int) for number in numbers)
    # If the total is the sum of all three, the output does not contain the last.
    return (reasoning,) if are_known and sum(numbers) == found(usage, "total_tokens") else ()


def _sum(number: Any, *others: Any) -> Any:
    if not isinstance(number, int):
        return number
    return number + sum(other for other in others if isinstance(other, int))


def _openai_chat(response: Json) -> tuple[Any, Any]:
    choices = response["choices"]
    contents = [_content_of_message(found(choice, "message") or choice) for choice in choices]
    reason = found(choices[0], "finish_reason") if choices else None
    return contents[0] if len(contents) == 1 else contents, reason


def _content_of_message(message: Json) -> Any:
    return message if _has_more(message) else found(message, "content")


def _has_more(message: Json) -> bool:
    """Return whether a message has more to say than its text."""
    more = {name for name, value in message.items() if value not in (None, [], {})}
    return bool(more - {"role", "content", "annotations"}) or "content" not in more


def _openai_responses(response: Json) -> tuple[Any, Any]:
    parts = [part for item in response["output"] for part in _parts_of(item)]
    details = found(response, "incomplete_details")
    return text_or_parts(parts), found(details, "reason") or found(response, "status")


def _parts_of(item: Any) -> list[Any]:
    """Return the parts of an item of output; reasoning without words is none."""
    if found(item, "type") == "message":
        return list(found(item, "content") or ())
    if found(item, "type") == "reasoning" and not found(item, "summary", "content"):
        return []
    return [item]


def _anthropic(response: Json) -> tuple[Any, Any]:
    content = response["content"]
    if isinstance(content, list):
        content = text_or_parts(content)
    return content, found(response, "stop_reason")


def _google(response: Json) -> tuple[Any, Any]:
    candidates = response["candidates"]
    parts = [
        part
        for candidate in candidates[:1]
        for part in found(found(candidate, "content"), "parts") or ()
    ]
    shown = [{k: v for k, v in part.items() if v is not None} for part in parts]
    reason = found(candidates[0], "finish_reason", "finishReason") if candidates else None
    return text_or_parts(shown), reason


_READERS = {
    "choices": _openai_chat,
    "output": _openai_responses,
    "candidates": _google,
    "content": _anthropic,
}
"""Readers of the content and the finish reason, by the member that only their format has."""
