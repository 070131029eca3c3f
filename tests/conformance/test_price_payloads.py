"""Answers of many providers cost what genai-prices reads from them, to the picodollar."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Context, Decimal, localcontext
from typing import Any, NamedTuple

import pytest
from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot

from curio_persistence import AgentLLMUsage, InMemoryPersistence
from curio_persistence.clock import Clock

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PICODOLLAR = Decimal("1e-12")
LIBRARY = DataSnapshot(providers, from_auto_update=False)


class Payload(NamedTuple):
    """An answer, who sent it, and the flavour of the API by which the library reads it."""

    provider: str
    model: str
    flavour: str
    answer: dict[str, Any]
    context: dict[str, str] | None = None
    known_as: str = ""
    """The library's name of the provider, if it has another."""


def chat(prompt: int, completion: int, **usage: Any) -> dict[str, Any]:
    told = {"prompt_tokens": prompt, "completion_tokens": completion}
    choice = {"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    return {"id": "c1", "choices": [choice], "usage": told | usage}


def message(input: int, output: int, **usage: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": "hi"}]
    return {"content": content, "usage": {"input_tokens": input, "output_tokens": output} | usage}


def responses(input: int, output: int, **usage: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": "hi"}
    said = [{"type": "message", "content": [part]}]
    told = {"input_tokens": input, "output_tokens": output, "total_tokens": input + output}
    return {"output": said, "status": "completed", "usage": told | usage}


def gemini(prompt: int, candidates: int, **usage: Any) -> dict[str, Any]:
    told = {"promptTokenCount": prompt, "candidatesTokenCount": candidates}
    parts = [{"content": {"parts": [{"text": "hi"}]}}]
    return {"candidates": parts, "usageMetadata": told | usage}


def converse(input: int, output: int, **usage: Any) -> dict[str, Any]:
    said = {"message": {"role": "assistant", "content": [{"text": "hi"}]}}
    return {"output": said, "usage": {"inputTokens": input, "outputTokens": output} | usage}


SHORT_AND_LONG = {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 700}
PAYLOADS = {
    "openai chat": Payload("openai", "gpt-4o-mini", "chat", chat(1226, 19)),
    "openai chat, cached": Payload(
        "openai",
        "gpt-4o-mini",
        "chat",
        chat(1300, 30, prompt_tokens_details={"cached_tokens": 1024, "audio_tokens": 0}),
    ),
    "openai chat, reasoning": Payload(
        "openai",
        "o4-mini",
        "chat",
        chat(99, 640, completion_tokens_details={"reasoning_tokens": 512}, total_tokens=739),
    ),
    "openai chat, audio": Payload(
        "openai",
        "gpt-4o-audio-preview",
        "chat",
        chat(
            500,
            200,
            prompt_tokens_details={"audio_tokens": 300, "cached_tokens": 0},
            completion_tokens_details={"audio_tokens": 150, "reasoning_tokens": 0},
        ),
    ),
    "openai responses": Payload(
        "openai",
        "gpt-5",
        "responses",
        responses(
            2434,
            166,
            input_tokens_details={"cached_tokens": 1024},
            output_tokens_details={"reasoning_tokens": 128},
        ),
    ),
    "openai chat, flex": Payload(
        "openai",
        "gpt-5",
        "chat",
        chat(1000, 100) | {"service_tier": "flex"},
        {"service_tier": "flex"},
    ),
    "openai chat, priority": Payload(
        "openai",
        "gpt-5",
        "chat",
        chat(1000, 100) | {"service_tier": "priority"},
        {"service_tier": "priority"},
    ),
    "openai chat, default tier": Payload(
        "openai", "gpt-5", "chat", chat(1000, 100) | {"service_tier": "default"}
    ),
    "openai chat, batch": Payload(
        "openai",
        "gpt-4o",
        "chat",
        chat(1000, 100) | {"service_tier": "batch"},
        {"processing": "batch"},
    ),
    "openai images": Payload(
        "openai",
        "gpt-image-1",
        "images",
        {
            "created": 1,
            "data": [{"b64_json": ""}],
            "usage": {
                "input_tokens": 50,
                "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
                "output_tokens": 4160,
                "total_tokens": 4210,
            },
        },
    ),
    "openai embeddings": Payload(
        "openai",
        "text-embedding-3-small",
        "embeddings",
        {"data": [], "usage": {"prompt_tokens": 812, "total_tokens": 812}},
    ),
    "anthropic": Payload("anthropic", "claude-haiku-4-5", "default", message(21, 305)),
    "anthropic, cache read and written": Payload(
        "anthropic",
        "claude-sonnet-4-5-20250929",
        "default",
        message(
            117,
            19,
            cache_read_input_tokens=1100,
            cache_creation_input_tokens=1100,
            cache_creation={"ephemeral_5m_input_tokens": 1100, "ephemeral_1h_input_tokens": 0},
            service_tier="standard",
        ),
    ),
    "anthropic, cached for an hour": Payload(
        "anthropic",
        "claude-sonnet-4-5",
        "default",
        message(3, 80, cache_creation_input_tokens=1100, cache_creation=SHORT_AND_LONG),
    ),
    "anthropic, searches": Payload(
        "anthropic",
        "claude-sonnet-4-5",
        "default",
        message(900, 80, server_tool_use={"web_search_requests": 3}),
    ),
    "anthropic, long prompt": Payload(
        "anthropic",
        "claude-sonnet-4-5",
        "default",
        message(150_000, 900, cache_read_input_tokens=60_000),
    ),
    "anthropic, batch": Payload(
        "anthropic",
        "claude-sonnet-4-5",
        "default",
        message(900, 80, service_tier="batch"),
        {"processing": "batch"},
    ),
    "bedrock, converse": Payload(
        "aws.bedrock",
        "amazon.nova-pro-v1:0",
        "default",
        converse(900, 80, totalTokens=980),
        known_as="aws",
    ),
    "bedrock, claude": Payload(
        "aws.bedrock",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "default",
        converse(10, 80, cacheReadInputTokens=700, cacheWriteInputTokens=300),
        known_as="aws",
    ),
    "gemini": Payload("gcp.gemini", "gemini-2.5-flash", "default", gemini(1000, 80)),
    "gemini, thoughts and cache": Payload(
        "gcp.gemini",
        "gemini-2.5-pro",
        "default",
        gemini(3000, 80, thoughtsTokenCount=400, cachedContentTokenCount=2048),
    ),
    "gemini, long prompt": Payload(
        "gcp.gemini", "gemini-2.5-pro", "default", gemini(200_001, 80, thoughtsTokenCount=9)
    ),
    "gemini, audio": Payload(
        "gcp.gemini",
        "gemini-2.5-flash",
        "default",
        gemini(
            1000,
            80,
            promptTokensDetails=[
                {"modality": "TEXT", "tokenCount": 400},
                {"modality": "AUDIO", "tokenCount": 600},
            ],
        ),
    ),
    "gemini, tools": Payload(
        "gcp.gemini", "gemini-2.5-flash", "default", gemini(1000, 80, toolUsePromptTokenCount=300)
    ),
    "vertex": Payload("gcp.vertex_ai", "gemini-2.5-flash", "default", gemini(1000, 80)),
    "vertex, claude": Payload(
        "gcp.vertex_ai", "claude-sonnet-4-5@20250929", "anthropic", message(900, 80)
    ),
    "azure": Payload(
        "azure", "gpt-4o", "chat", chat(1300, 30, prompt_tokens_details={"cached_tokens": 1024})
    ),
    "x_ai": Payload(
        "x_ai",
        "grok-4",
        "chat",
        chat(
            700,
            50,
            total_tokens=1050,
            prompt_tokens_details={"cached_tokens": 64},
            completion_tokens_details={"reasoning_tokens": 300},
        ),
        known_as="x-ai",
    ),
    "mistral": Payload("mistral", "mistral-large-latest", "default", chat(700, 50)),
    "cohere": Payload(
        "cohere",
        "command-r-plus",
        "default",
        {
            "message": {"role": "assistant", "content": [{"type": "text", "text": "hi"}]},
            "usage": {
                "billed_units": {"input_tokens": 17, "output_tokens": 12},
                "tokens": {"input_tokens": 130, "output_tokens": 12},
            },
        },
    ),
    "deepseek": Payload(
        "deepseek",
        "deepseek-chat",
        "chat",
        chat(
            700,
            50,
            prompt_cache_hit_tokens=512,
            prompt_cache_miss_tokens=188,
            prompt_tokens_details={"cached_tokens": 512},
        ),
    ),
    "groq": Payload("groq", "llama-3.3-70b-versatile", "default", chat(700, 50)),
    "perplexity": Payload(
        "perplexity",
        "sonar-deep-research",
        "default",
        chat(
            33,
            7163,
            total_tokens=7196,
            citation_tokens=20016,
            num_search_queries=20,
            reasoning_tokens=73997,
        ),
    ),
    "openrouter": Payload("openrouter", "openai/gpt-4o-mini", "chat", chat(700, 50)),
}


def expected(payload: Payload) -> Decimal:
    """Return what genai-prices computes, which reads the answer itself."""
    sender = payload.known_as or payload.provider
    extracted = LIBRARY.extract_usage(
        payload.answer, provider_id=sender, api_flavor=payload.flavour
    )
    _, model = LIBRARY.find_provider_model(payload.model, None, sender, None)
    with localcontext(Context(prec=60)):
        return extracted.calc_price(
            model=model, genai_request_timestamp=NOON, price_context=payload.context
        ).total_price


def recorded(payload: Payload, answer: Any) -> AgentLLMUsage:
    persistence = InMemoryPersistence(clock=Clock(lambda: NOON))
    with (
        persistence.record_run(agent_id="a") as run,
        run.llm(provider=payload.provider, model=payload.model) as call,
    ):
        call.response = answer
    [usage] = persistence.iter_llm_usage()
    return usage


@pytest.mark.parametrize("name", PAYLOADS)
def test_an_answer_costs_what_the_library_reads_from_it(name: str) -> None:
    payload = PAYLOADS[name]
    cost = expected(payload)
    usage = recorded(payload, payload.answer)
    assert usage.cost_usd is not None
    assert cost > 0
    assert abs(usage.cost_usd - cost) <= PICODOLLAR
    assert usage.cost_source == "computed"


def in_snake_case(value: Any) -> Any:
    import re

    if isinstance(value, list):
        return [in_snake_case(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name): in_snake_case(item)
        for name, item in value.items()
    }


@pytest.mark.parametrize("name", [name for name in PAYLOADS if name.startswith("gemini")])
def test_googles_sdk_spells_its_answers_in_another_way(name: str) -> None:
    payload = PAYLOADS[name]
    usage = recorded(payload, in_snake_case(payload.answer))
    assert usage.cost_usd is not None
    assert abs(usage.cost_usd - expected(payload)) <= PICODOLLAR


def test_a_streamed_answer_tells_its_tier() -> None:
    persistence = InMemoryPersistence(clock=Clock(lambda: NOON))
    chunks = [
        {"choices": [{"delta": {"content": "hi"}}], "service_tier": "flex"},
        {"choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 100}},
    ]
    with (
        persistence.record_run(agent_id="a") as run,
        run.llm(provider="openai", model="gpt-5") as call,
    ):
        assert list(call.stream(chunks)) == chunks
    [usage] = persistence.iter_llm_usage()
    assert usage.cost_usd == expected(PAYLOADS["openai chat, flex"])
    assert usage.get_usage_metrics_dict()["service_tier"] == "flex"
