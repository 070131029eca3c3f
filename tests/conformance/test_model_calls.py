"""A model call is read from a response of the OpenAI, Anthropic or Google SDK, by its shape."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from curio_persistence import AgentLLMUsage, Persistence


class SdkObject(BaseModel):
    """An object as the SDKs create it from received JSON."""

    model_config = ConfigDict(extra="allow")


MESSAGES = [{"role": "user", "content": "why?"}]

CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-5-2025-08-07",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "because",
                "refusal": None,
                "tool_calls": None,
                "annotations": [],
            },
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 19,
        "completion_tokens": 10,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 4},
    },
}
RESPONSES = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "incomplete_details": None,
    "model": "gpt-5-2025-08-07",
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "because", "annotations": []}],
        },
    ],
    "usage": {
        "input_tokens": 19,
        "input_tokens_details": {"cached_tokens": 8},
        "output_tokens": 10,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 29,
    },
}
ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "gpt-5-2025-08-07",
    "content": [{"type": "text", "text": "because", "citations": None}],
    "stop_reason": "stop",
    "usage": {
        "input_tokens": 9,
        "cache_creation_input_tokens": 2,
        "cache_read_input_tokens": 8,
        "output_tokens": 10,
    },
}
GOOGLE = {
    "response_id": "g1",
    "model_version": "gpt-5-2025-08-07",
    "candidates": [
        {
            "content": {"role": "model", "parts": [{"text": "because", "thought": None}]},
            "finish_reason": "stop",
        }
    ],
    "usage_metadata": {
        "prompt_token_count": 19,
        "cached_content_token_count": 8,
        "candidates_token_count": 6,
        "thoughts_token_count": 4,
        "total_token_count": 29,
    },
}
GOOGLE_JSON = {
    "responseId": "g1",
    "modelVersion": "gpt-5-2025-08-07",
    "candidates": [
        {"content": {"role": "model", "parts": [{"text": "because"}]}, "finishReason": "stop"}
    ],
    "usageMetadata": {
        "promptTokenCount": 19,
        "cachedContentTokenCount": 8,
        "candidatesTokenCount": 6,
        "thoughtsTokenCount": 4,
    },
}
ANSWERS = {
    "openai-chat": CHAT,
    "openai-responses": RESPONSES,
    "anthropic": ANTHROPIC,
    "google": GOOGLE,
    "google-json": GOOGLE_JSON,
}
either_form = pytest.mark.parametrize("form", [dict, SdkObject.model_validate], ids=["dict", "sdk"])


def recorded(persistence: Persistence, response: Any, **given: Any) -> AgentLLMUsage:
    with persistence.record_run(agent_id="agent") as run, run.llm(**given) as call:
        call.response = response
    assert run.dropped == 0
    [usage] = persistence.get_llm_usage(run_id=run.run_id)
    return usage


@either_form
@pytest.mark.parametrize("sdk", ANSWERS)
def test_a_response_of_any_sdk_is_read(persistence: Persistence, sdk: str, form: Any) -> None:
    usage = recorded(persistence, form(ANSWERS[sdk]), provider="p", messages=MESSAGES)
    assert (usage.provider, usage.model, usage.status) == ("p", "gpt-5-2025-08-07", "success")
    assert json.loads(usage.prompt) == MESSAGES
    assert (usage.response_content, usage.response_length) == ("because", 7)
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (19, 10, 8)
    assert usage.reasoning_tokens == (None if sdk == "anthropic" else 4)
    assert usage.cache_write_tokens == (2 if sdk == "anthropic" else None)
    assert usage.latency_ms is not None
    metrics = usage.get_usage_metrics_dict()
    reason = "completed" if sdk == "openai-responses" else "stop"
    assert (metrics["finish_reason"], "response_id" in metrics) == (reason, True)
    assert metrics["usage"] == next(v for k, v in ANSWERS[sdk].items() if k.startswith("usage"))


def test_the_requested_model_takes_precedence(persistence: Persistence) -> None:
    usage = recorded(persistence, CHAT, model="gpt-5")
    assert usage.model == "gpt-5"
    assert usage.get_usage_metrics_dict()["response_model"] == "gpt-5-2025-08-07"


@pytest.mark.parametrize(
    "response",
    [
        {
            "choices": [
                {
                    "message": {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [{"id": "t", "function": {"name": "f", "arguments": "{}"}}],
                    },
                    "finish_reason": "tool_calls",
                }
            ]
        },
        {"output": [{"type": "function_call", "name": "f", "arguments": "{}"}]},
        {"content": [{"type": "tool_use", "name": "f", "input": {}}], "stop_reason": "tool_use"},
        {"candidates": [{"content": {"parts": [{"function_call": {"name": "f"}}]}}]},
    ],
    ids=["openai-chat", "openai-responses", "anthropic", "google"],
)
def test_a_response_with_other_parts_than_text_is_stored_as_json(
    persistence: Persistence, response: Any
) -> None:
    content = recorded(persistence, response, model="m").response_content
    assert '"name": "f"' in (content or "")


@pytest.mark.parametrize(
    ("response", "kept"),
    [
        ("because", "because"),
        ({"answer": 42}, '{"answer": 42}'),
        ({"choices": "none"}, '{"choices": "none"}'),
        ({"choices": [3]}, '{"choices": [3]}'),
        ({"content": "because"}, '{"content": "because"}'),
        (None, None),
        (42, "42"),
    ],
)
def test_a_response_of_another_shape_is_stored_unchanged(
    persistence: Persistence, response: Any, kept: str | None
) -> None:
    assert recorded(persistence, response, model="m").response_content == kept


def test_values_set_by_the_agent_take_precedence(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent") as run, run.llm(model="m") as call:
        call.response = CHAT
        call.record.input_tokens = 7
        call.record.cost_usd = Decimal("0.5")
        call.record.usage_metrics = {"finish_reason": "mine", "seed": 3}
    [usage] = persistence.get_llm_usage()
    assert (usage.input_tokens, usage.output_tokens, usage.cost_usd) == (7, 10, Decimal("0.5"))
    metrics = usage.get_usage_metrics_dict()
    assert (metrics["finish_reason"], metrics["seed"]) == ("mine", 3)
    assert metrics["response_id"] == "chatcmpl-1"


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("no"), "error"), (TimeoutError("slow"), "timeout")]
)
def test_a_call_that_raises_is_stored_with_its_error(
    persistence: Persistence, error: Exception, status: str
) -> None:
    with (
        persistence.record_run(agent_id="agent") as run,
        pytest.raises(type(error)),
        run.llm(model="m", prompt="why?"),
    ):
        raise error
    [usage] = persistence.get_llm_usage()
    assert (usage.status, usage.error_message) == (status, f"{type(error).__name__}: {error}")
    assert usage.prompt == "why?"


# --- streams ----------------------------------------------------------------------------------

CHAT_CHUNKS = [
    {"id": "c", "model": "m", "choices": [{"delta": {"role": "assistant", "content": ""}}]},
    {"id": "c", "model": "m", "choices": [{"delta": {"content": "be"}, "finish_reason": None}]},
    {"id": "c", "model": "m", "choices": [{"delta": {"content": "cause"}}], "usage": None},
    {"id": "c", "model": "m", "choices": [{"delta": {}, "finish_reason": "stop"}]},
    {"id": "c", "model": "m", "choices": [], "usage": CHAT["usage"]},
]
RESPONSES_EVENTS = [
    {"type": "response.created", "response": {"id": "r", "output": []}},
    {"type": "response.output_text.delta", "delta": "be"},
    {"type": "response.output_text.delta", "delta": "cause"},
    {"type": "response.completed", "response": RESPONSES | {"model": "m", "status": "stop"}},
]
ANTHROPIC_EVENTS = [
    {
        "type": "message_start",
        "message": {
            "id": "a",
            "model": "m",
            "content": [],
            "usage": {"input_tokens": 9, "cache_read_input_tokens": 10, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "be"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "cause"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "stop"}, "usage": {"output_tokens": 10}},
    {"type": "message_stop"},
]
GOOGLE_CHUNKS = [
    GOOGLE | {"candidates": [{"content": {"parts": [{"text": text}]}, "finish_reason": reason}]}
    for text, reason in (("be", None), ("cause", "stop"))
]
STREAMS = {
    "openai-chat": CHAT_CHUNKS,
    "openai-responses": RESPONSES_EVENTS,
    "anthropic": ANTHROPIC_EVENTS,
    "google": GOOGLE_CHUNKS,
}


@either_form
@pytest.mark.parametrize("sdk", STREAMS)
def test_a_stream_is_assembled(persistence: Persistence, sdk: str, form: Any) -> None:
    chunks = [form(chunk) for chunk in STREAMS[sdk]]
    with persistence.record_run(agent_id="agent") as run, run.llm(messages=MESSAGES) as call:
        assert list(call.stream(iter(chunks))) == chunks
    assert run.dropped == 0
    [usage] = persistence.get_llm_usage()
    assert usage.model == ("gpt-5-2025-08-07" if sdk == "google" else "m")
    assert (usage.response_content, usage.input_tokens, usage.output_tokens) == ("because", 19, 10)
    metrics = usage.get_usage_metrics_dict()
    assert (metrics["finish_reason"], metrics["first_token_ms"] >= 0) == ("stop", True)


def test_text_chunks_and_async_streams_are_assembled(persistence: Persistence) -> None:
    async def chunks() -> AsyncIterator[str]:
        yield "be"
        yield "cause"

    async def agent() -> None:
        with persistence.record_run(agent_id="agent") as run, run.llm(model="m") as call:
            assert [chunk async for chunk in call.stream(chunks())] == ["be", "cause"]

    asyncio.run(agent())
    with persistence.record_run(agent_id="agent") as run, run.llm(model="m") as call:
        for text in "be", "cause":
            call.chunk(text)
    assert [usage.response_content for usage in persistence.get_llm_usage()] == ["because"] * 2


def test_a_streamed_tool_call_is_assembled(persistence: Persistence) -> None:
    deltas = [
        {"index": 0, "id": "t", "function": {"name": "search", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"q": '}},
        {"index": 0, "function": {"arguments": '"it"}'}},
    ]
    with persistence.record_run(agent_id="agent") as run, run.llm(model="m") as call:
        for delta in deltas:
            call.chunk({"choices": [{"delta": {"tool_calls": [delta]}}]})
    [usage] = persistence.get_llm_usage()
    [part] = json.loads(usage.response_content or "")
    assert part["function"] == {"name": "search", "arguments": '{"q": "it"}'}


ODD_CHUNKS = [
    {"message": {"role": "assistant", "content": "odd"}, "done": False},
    {"choices": [None]},
    {"choices": [{"delta": {"content": 5, "tool_calls": ["odd"]}}]},
    {"choices": [{"delta": {"tool_calls": [{"index": [0]}]}}]},
    {"choices": [], "usage": "odd"},
    {"candidates": 5},
    {"candidates": [{"content": {"parts": [None]}}]},
    {"type": "content_block_start"},
    {"type": "content_block_delta", "index": {}, "delta": {"text": "odd"}},
    {"type": ["odd"], "delta": "odd", "message": {"usage": 5}},
]


@pytest.mark.parametrize("chunk", ODD_CHUNKS, ids=repr)
def test_a_chunk_of_another_shape_costs_neither_the_agent_nor_the_rest(
    persistence: Persistence, chunk: Any
) -> None:
    with persistence.record_run(agent_id="agent") as run, run.llm(model="m") as call:
        assert list(call.stream(iter(["be", chunk, "cause"]))) == ["be", chunk, "cause"]
    assert run.dropped == 0
    [usage] = persistence.get_llm_usage()
    answered = usage.response_content or ""
    assert ("because" in answered, "odd" in answered) == (True, "odd" in repr(chunk))


def test_an_interrupted_stream_is_stored_up_to_its_end(persistence: Persistence) -> None:
    def chunks() -> Iterator[str]:
        yield "be"
        raise ConnectionError("gone")

    with (
        persistence.record_run(agent_id="agent") as run,
        pytest.raises(ConnectionError),
        run.llm(model="m") as call,
    ):
        list(call.stream(chunks()))
    [usage] = persistence.get_llm_usage()
    assert (usage.status, usage.response_content) == ("error", "be")
    assert usage.error_message == "ConnectionError: gone"
