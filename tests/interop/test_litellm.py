"""The model calls of LiteLLM are recorded, whoever provides the model."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from curio_persistence import AgentLLMUsage, InMemoryPersistence
from tests.support.frameworks import needed
from tests.support.model_provider import ModelProvider, Said
from tests.support.recorded import tokens

litellm = needed("litellm")
pytestmark = pytest.mark.usefixtures("recorded_litellm")

QUESTION = [{"role": "user", "content": "Hello?"}]
GPT, CLAUDE = "openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5"


@pytest.fixture
def openai(provider: ModelProvider) -> Any:
    return {"api_base": f"{provider.url}/v1", "api_key": "k", "max_retries": 0, "num_retries": 0}


def recorded(persistence: InMemoryPersistence, number: int = 1) -> list[AgentLLMUsage]:
    """Return the calls, newest first; LiteLLM tells of them from a thread of its own."""
    deadline = time.monotonic() + 20
    while len(calls := persistence.get_llm_usage()) < number and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(calls) == number
    return calls


def test_a_call(provider: ModelProvider, persistence: InMemoryPersistence, openai: Any) -> None:
    provider.script = [Said(input=1200, output=30, cached=1024, reasoning=5)]
    litellm.completion(GPT, QUESTION, temperature=0.5, litellm_session_id="s1", **openai)
    [call] = recorded(persistence)
    assert (call.provider, call.model) == ("openai", "gpt-4o-mini-2026-01-01")
    assert tokens(call) == (1200, 30, 1024, None, 5)
    assert json.loads(call.prompt) == QUESTION
    assert call.response_content == "Hello, world!"
    assert call.get_input_params_dict() == {"model": "gpt-4o-mini", "temperature": 0.5}
    metrics = call.get_usage_metrics_dict()
    assert metrics["reported_cost"] == 0.0001212
    assert (metrics["session_id"], metrics["response_id"]) == ("s1", "chatcmpl-0001")
    assert (call.agent_id, call.run_id) == ("app", None)


def test_calls_belong_to_the_runs_in_whose_blocks_they_are_made(
    persistence: InMemoryPersistence, openai: Any
) -> None:
    async def agent(name: str) -> None:
        with persistence.record_run(agent_id=name) as run, run.span("ask"):
            await litellm.acompletion(GPT, [{"role": "user", "content": name}], **openai)

    async def main() -> None:
        await asyncio.gather(*(agent(name) for name in "abc"))
        await asyncio.sleep(0.1)

    with persistence.record_run(agent_id="sync") as run:
        litellm.completion(GPT, QUESTION, **openai)
    asyncio.run(asyncio.wait_for(main(), 30))
    calls = recorded(persistence, 4)
    assert {call.agent_id for call in calls} == {"a", "b", "c", "sync"}
    for call in calls:
        asked = json.loads(call.prompt)[0]["content"]
        assert call.agent_id == ("sync" if asked == "Hello?" else asked)
        assert (call.parent_span_id == run.span_id) == (call.agent_id == "sync")


def test_streams(provider: ModelProvider, persistence: InMemoryPersistence, openai: Any) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}, **openai}
    for _ in litellm.completion(GPT, QUESTION, **options):
        pass

    async def main() -> None:
        async for _ in await litellm.acompletion(GPT, QUESTION, **options):
            pass
        await asyncio.sleep(0.3)

    recorded(persistence)
    asyncio.run(asyncio.wait_for(main(), 20))
    for call in recorded(persistence, 2):
        assert tokens(call)[:2] == (100, 10)
        assert call.response_content == "Hello, world!"
        assert call.get_usage_metrics_dict()["first_token_ms"] > 0


def test_failures(provider: ModelProvider, persistence: InMemoryPersistence, openai: Any) -> None:
    provider.script = [Said(status=429), Said(status=500)]
    with pytest.raises(litellm.RateLimitError):
        litellm.completion(GPT, QUESTION, **openai)

    async def main() -> None:
        with pytest.raises(litellm.InternalServerError):
            await litellm.acompletion(GPT, QUESTION, **openai)
        await asyncio.sleep(0.3)

    recorded(persistence)
    asyncio.run(asyncio.wait_for(main(), 20))
    for call in recorded(persistence, 2):
        assert (call.status, call.model, tokens(call)) == ("error", "gpt-4o-mini", (None,) * 5)
        assert "reported_cost" not in call.get_usage_metrics_dict()
    assert "RateLimitError" in (persistence.get_llm_usage()[1].error_message or "")


def test_a_call_that_is_tried_again_is_one(
    provider: ModelProvider, persistence: InMemoryPersistence, openai: Any
) -> None:
    provider.script = [Said(status=500), Said()]
    litellm.completion(GPT, QUESTION, **{**openai, "num_retries": 2})
    time.sleep(0.3)
    [call] = recorded(persistence)
    assert call.status == "success"


def test_another_provider(provider: ModelProvider, persistence: InMemoryPersistence) -> None:
    provider.script = [Said(input=1300, output=18, cached=1100, written=100)]
    litellm.completion(CLAUDE, QUESTION, api_base=provider.url, api_key="k")
    [call] = recorded(persistence)
    assert (call.provider, call.model) == ("anthropic", "claude-sonnet-4-5-2026-01-01")
    assert tokens(call)[:4] == (1300, 18, 1100, 100), "cached tokens are part of the input"
    assert call.response_content == "Hello, world!"


def test_tool_calls_responses_and_embeddings(
    provider: ModelProvider, persistence: InMemoryPersistence, openai: Any
) -> None:
    provider.script = [Said(tools=(("search", {"q": "rain"}),)), Said(cached=50), Said()]
    litellm.completion(GPT, QUESTION, **openai)
    recorded(persistence, 1)
    litellm.responses(model=GPT, input="Hello?", **openai)
    recorded(persistence, 2)
    litellm.embedding("openai/text-embedding-3-small", input=["a", "b"], **openai)
    embedding, response, tool = recorded(persistence, 3)
    assert '"search"' in (tool.response_content or "")
    assert (response.response_content, tokens(response)[:3]) == ("Hello, world!", (100, 10, 50))
    assert (embedding.response_content, tokens(embedding)[:2]) == (None, (100, None))
    assert embedding.get_usage_metrics_dict()["operation"] == "embedding"
