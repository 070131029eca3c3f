"""A wrapped client of Anthropic's SDK records its calls, and remains a client."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from curio_persistence import InMemoryPersistence
from curio_persistence.interop.adapters.anthropic import wrap_anthropic
from tests.support.frameworks import needed
from tests.support.model_provider import ModelProvider, Said
from tests.support.recorded import only_call, tokens

anthropic = needed("anthropic")

ASKED: dict[str, Any] = {
    "model": "claude-test-1",
    "max_tokens": 100,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Greet the world"}],
}
CACHED = Said(input=1300, output=18, cached=1100, written=100)


@pytest.fixture
def client(provider: ModelProvider, persistence: InMemoryPersistence) -> Any:
    plain = anthropic.Anthropic(base_url=provider.url, api_key="k", max_retries=0)
    return wrap_anthropic(plain, persistence, agent_id="greeter")


def test_a_message(provider: ModelProvider, persistence: InMemoryPersistence, client: Any) -> None:
    provider.script = [CACHED]
    client.messages.create(**ASKED, stop_sequences=["."])
    usage = only_call(persistence)
    assert (usage.provider, usage.model) == ("anthropic", "claude-test-1-2026-01-01")
    assert tokens(usage) == (1300, 18, 1100, 100, None), "cached tokens are part of the input"
    system, question = json.loads(usage.prompt)
    assert system == {"role": "system", "content": "Be brief."}
    assert question == ASKED["messages"][0]
    params = usage.get_input_params_dict()
    assert params == {"model": "claude-test-1", "max_tokens": 100, "stop_sequences": ["."]}
    assert usage.response_content == "Hello, world!"
    assert (usage.agent_id, usage.run_id) == ("greeter", None)


def test_streams(provider: ModelProvider, persistence: InMemoryPersistence, client: Any) -> None:
    provider.script = [CACHED, CACHED]
    stream = client.messages.create(**ASKED, stream=True)
    assert isinstance(stream, anthropic.Stream)
    assert len(list(stream)) > 3
    with client.messages.stream(**ASKED) as events:
        assert "".join(events.text_stream) == "Hello, world!"
    for usage in persistence.get_llm_usage():
        assert tokens(usage) == (1300, 18, 1100, 100, None)
        assert (usage.response_content, usage.status) == ("Hello, world!", "success")
        assert usage.model == "claude-test-1-2026-01-01"
    assert len(persistence.get_llm_usage()) == 2


def test_a_stream_of_a_tool_call(
    provider: ModelProvider, persistence: InMemoryPersistence, client: Any
) -> None:
    provider.script = [Said(tools=(("search", {"q": "rain"}),))]
    list(client.messages.create(**ASKED, stream=True))
    [call] = json.loads(only_call(persistence).response_content or "")
    assert (call["name"], call["partial_json"]) == ("search", '{"q": "rain"}')


def test_a_stream_that_is_left_early(persistence: InMemoryPersistence, client: Any) -> None:
    with client.messages.stream(**ASKED) as events:
        for _ in events.text_stream:
            break
    usage = only_call(persistence)
    assert (usage.status, usage.response_content) == ("cancelled", "Hello")


def test_failures_and_helpers(
    provider: ModelProvider, persistence: InMemoryPersistence, client: Any
) -> None:
    provider.script = [Said(status=529), Said()]
    with pytest.raises(anthropic.APIStatusError):
        client.messages.create(**ASKED)
    raw = client.messages.with_raw_response.create(**ASKED)
    assert raw.parse().content[0].text == "Hello, world!"
    found, failed = persistence.get_llm_usage()
    assert (failed.status, failed.model, tokens(failed)) == ("error", ASKED["model"], (None,) * 5)
    assert found.response_content == "Hello, world!"


def test_the_client_is_still_one(persistence: InMemoryPersistence, client: Any) -> None:
    assert isinstance(client, anthropic.Anthropic)
    other = client.with_options(timeout=9)
    assert (isinstance(other, anthropic.Anthropic), other.timeout) == (True, 9)
    other.messages.create(**ASKED)
    other.beta.messages.create(**ASKED)
    assert len(persistence.get_llm_usage()) == 2


def test_an_awaited_client(provider: ModelProvider, persistence: InMemoryPersistence) -> None:
    async def agent(name: str) -> None:
        plain = anthropic.AsyncAnthropic(base_url=provider.url, api_key="k", max_retries=0)
        async with wrap_anthropic(plain, persistence) as client:
            with persistence.record_run(agent_id=name):
                await client.messages.create(**ASKED)
                async with client.messages.stream(**ASKED) as events:
                    assert [text async for text in events.text_stream]
                stream = await client.messages.create(**ASKED, stream=True)
                async for _ in stream:
                    break
                await stream.close()

    async def main() -> None:
        await asyncio.gather(*(agent(f"agent-{number}") for number in range(3)))

    asyncio.run(asyncio.wait_for(main(), 20))
    calls = persistence.get_llm_usage()
    assert sorted(call.status for call in calls) == ["cancelled"] * 3 + ["success"] * 6
    of_runs = {run.run_id: run.agent_id for run in persistence.get_agent_runs()}
    assert all(of_runs[call.run_id or ""] == call.agent_id for call in calls)
