"""Read LangChain's messages and answers, in the forms in which they are recorded."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from langchain_core.messages import BaseMessage, convert_to_openai_messages

from curio_persistence.interop.adapters.messages import last_question
from curio_persistence.recording.responses import found


def asked(inputs: Any) -> Any:
    """Return the question in the inputs of a chain: the user's last message, or the only text."""
    if isinstance(inputs, Mapping) and "messages" in inputs:
        with suppress(Exception):  # They may be anything that LangChain takes for messages.
            return last_question(convert_to_openai_messages(list(inputs["messages"])))
    if isinstance(inputs, Mapping) and len(inputs) == 1:
        [only] = inputs.values()
        return only if isinstance(only, str) else plain(inputs)
    return plain(inputs)


def answered(outputs: Any) -> Any:
    """Return the answer in the outputs of a chain: the text of its last message, or all of it."""
    messages = found(outputs, "messages")
    last = messages[-1] if isinstance(messages, list) and messages else outputs
    if isinstance(last, BaseMessage):
        return last.content
    return plain(outputs)


def plain(value: Any) -> Any:
    """Return a value with the messages in it in OpenAI's form."""
    if isinstance(value, BaseMessage):
        return convert_to_openai_messages(value)
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def response(generation: Any) -> Any:
    """Return a model's answer as OpenAI's API would give it; the text of a model of texts."""
    message = getattr(generation, "message", None)
    if not isinstance(message, BaseMessage):
        return getattr(generation, "text", None)
    told = message.response_metadata
    choice = {
        "message": convert_to_openai_messages(message),
        "finish_reason": found(told, "finish_reason", "stop_reason", "status"),
    }
    model, answer_id = found(told, "model_name", "model"), found(told, "id") or message.id
    return {"choices": [choice], "model": model, "id": answer_id}


def tokens(generation: Any) -> dict[str, Any]:
    """Return the numbers of tokens of an answer; it costs nothing if a cache of LangChain's has it.

    Those that were read from or written to the provider's cache are among the input's.
    """
    usage = getattr(getattr(generation, "message", None), "usage_metadata", None) or {}
    read, written = found(usage, "input_token_details"), found(usage, "output_token_details")
    numbers = {
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens"),
        "cache_read_tokens": found(read, "cache_read"),
        "cache_write_tokens": found(read, "cache_creation"),
        "reasoning_tokens": found(written, "reasoning"),
        "cost_usd": 0 if usage.get("total_cost") == 0 else None,
    }
    return {name: number for name, number in numbers.items() if number is not None}
