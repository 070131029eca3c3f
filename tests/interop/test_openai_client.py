"""A wrapped client of OpenAI's SDK records its calls, and remains a client."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from curio_persistence import AgentLLMUsage, InMemoryPersistence, InvalidValueError
from curio_persistence.aio import AsyncPersistence
from curio_persistence.interop.adapters.anthropic import wrap_anthropic
from curio_persistence.interop.adapters.openai import wrap_openai
from tests.support.frameworks import needed
from tests.support.model_provider import ModelProvider, Said
from tests.support.recorded import only_call, tokens

openai = needed("openai")

QUESTION = [{"role": "user", "content": "Greet the world"}]
CACHED = Said(input=1200, output=90, cached=1024, reasoning=64)


def connected(provider: ModelProvider, **options: Any) -> Any:
    return openai.OpenAI(base_url=f"{provider.url}/v1", api_key="k", max_retries=0, **options)


def awaited(provider: ModelProvider) -> Any:
    return openai.AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="k", max_retries=0)


@pytest.fixture
def client(provider: ModelProvider, persistence: InMemoryPersistence) -> Any:
    return wrap_openai(connected(provider), persistence, agent_id="greeter")


def test_a_chat(provider: ModelProvider, persistence: InMemoryPersistence, client: Any) -> None:
    provider.script = [CACHED]
    client.chat.completions.create(model="gpt-5-mini", messages=QUESTION, temperature=0.5)
    usage = only_call(persistence)
    assert (usage.provider, usage.model) == ("openai", "gpt-5-mini-2026-01-01")
    assert tokens(usage) == (1200, 90, 1024, None, 64)
    assert json.loads(usage.prompt) == QUESTION
    assert usage.get_input_params_dict() == {"model": "gpt-5-mini", "temperature": 0.5}
    assert usage.response_content == "Hello, world!"
    assert usage.get_usage_metrics_dict()["response_id"] == "chatcmpl-0001"
    assert (usage.status, usage.agent_id, usage.run_id) == ("success", "greeter", None)


def test_a_call_belongs_to_the_run_in_whose_block_it_is_made(
    persistence: InMemoryPersistence, client: Any
) -> None:
    with persistence.record_run(agent_id="agent") as run, run.span("ask") as span:
        client.chat.completions.create(model="m", messages=QUESTION)
    usage = only_call(persistence)
    assert (usage.run_id, usage.agent_id) == (run.run_id, "agent")
    assert usage.parent_span_id == span.span_id


def test_without_a_persistence_only_calls_in_runs_are_recorded(
    provider: ModelProvider, persistence: InMemoryPersistence
) -> None:
    client = wrap_openai(connected(provider))
    client.chat.completions.create(model="m", messages=QUESTION)
    with persistence.record_run(agent_id="agent") as run:
        client.chat.completions.create(model="m", messages=QUESTION)
    assert only_call(persistence).run_id == run.run_id


def test_a_stream(provider: ModelProvider, persistence: InMemoryPersistence, client: Any) -> None:
    provider.script = [CACHED, CACHED]
    for options in {"stream_options": {"include_usage": True}}, {}:
        stream = client.chat.completions.create(
            model="m", messages=QUESTION, stream=True, **options
        )
        assert isinstance(stream, openai.Stream)
        told = [c.choices[0].delta.content or "" for c in stream if c.choices]
        assert "".join(told) == "Hello, world!"
    unknown, counted = persistence.get_llm_usage()
    assert tokens(counted) == (1200, 90, 1024, None, 64)
    assert tokens(unknown) == (None,) * 5, "what was not told is not 0"
    for usage in unknown, counted:
        assert (usage.response_content, usage.status) == ("Hello, world!", "success")
        assert usage.model == "m-2026-01-01"
        assert "first_token_ms" in usage.get_usage_metrics_dict()


def test_streams_of_tool_calls_are_put_together(
    provider: ModelProvider, persistence: InMemoryPersistence, client: Any
) -> None:
    provider.script = [Said(tools=(("search", {"q": "rain"}),))]
    list(client.chat.completions.create(model="m", messages=QUESTION, stream=True))
    [call] = json.loads(only_call(persistence).response_content or "")
    assert call["function"] == {"name": "search", "arguments": '{"q": "rain"}'}


def test_a_stream_that_is_left_early_is_recorded_as_far_as_it_was_read(
    persistence: InMemoryPersistence, client: Any
) -> None:
    stream = client.chat.completions.create(model="m", messages=QUESTION, stream=True)
    for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    usage = only_call(persistence)
    assert (usage.status, usage.response_content) == ("cancelled", "Hello")
    stream.close()
    assert only_call(persistence).id == usage.id, "it is recorded once"


def test_a_stream_that_is_closed_ends_its_call(
    persistence: InMemoryPersistence, client: Any
) -> None:
    with client.chat.completions.create(model="m", messages=QUESTION, stream=True) as stream:
        next(stream)
        next(stream)
    assert (only_call(persistence).status, only_call(persistence).response_content) == (
        "cancelled",
        "Hello",
    )


def test_a_stream_that_breaks_off_is_an_error(
    provider: ModelProvider, persistence: InMemoryPersistence, client: Any
) -> None:
    provider.script = [Said(breaks=True)]
    with pytest.raises(Exception, match=r"peer closed|[Cc]onnection"):
        list(client.chat.completions.create(model="m", messages=QUESTION, stream=True))
    assert only_call(persistence).status == "error"


def test_a_refusal_of_the_provider_reaches_the_caller_and_is_recorded(
    provider: ModelProvider, persistence: InMemoryPersistence, client: Any
) -> None:
    provider.script = [Said(status=429)]
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="gpt-5-mini", messages=QUESTION)
    usage = only_call(persistence)
    assert (usage.status, usage.model) == ("error", "gpt-5-mini")
    assert tokens(usage) == (None,) * 5
    assert (usage.error_message or "").startswith("RateLimitError: ")


def test_responses(provider: ModelProvider, persistence: InMemoryPersistence, client: Any) -> None:
    provider.script = [CACHED, CACHED]
    asked = {"model": "m", "instructions": "Be brief.", "input": "Greet the world"}
    client.responses.create(**asked)
    for _ in client.responses.create(**asked, stream=True):
        pass
    for usage in persistence.get_llm_usage():
        assert tokens(usage) == (1200, 90, 1024, None, 64)
        assert usage.response_content == "Hello, world!"
        assert json.loads(usage.prompt)[0] == {"role": "system", "content": "Be brief."}
        assert usage.model == "m-2026-01-01"


def test_the_helpers_of_the_sdk_are_recorded_too(
    persistence: InMemoryPersistence, client: Any
) -> None:
    raw = client.chat.completions.with_raw_response.create(model="m", messages=QUESTION)
    assert raw.parse().choices[0].message.content == "Hello, world!"
    client.chat.completions.parse(model="m", messages=QUESTION)
    with client.chat.completions.stream(model="m", messages=QUESTION) as stream:
        assert stream.get_final_completion().choices[0].message.content == "Hello, world!"
    with client.responses.stream(model="m", input="Greet the world") as stream:
        assert stream.get_final_response().output_text == "Hello, world!"
    said = [usage.response_content for usage in persistence.get_llm_usage()]
    assert said == ["Hello, world!"] * 4


def test_a_raw_stream(persistence: InMemoryPersistence, client: Any) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="m", messages=QUESTION, stream=True
    )
    assert len(list(raw.parse())) > 3
    assert only_call(persistence).response_content == "Hello, world!"


def test_a_response_that_its_caller_reads_is_recorded_without_its_content(
    persistence: InMemoryPersistence, client: Any
) -> None:
    plain = client.chat.completions.with_streaming_response
    with plain.create(model="m", messages=QUESTION) as response:
        assert b"Hello" in response.read()
    usage = only_call(persistence)
    assert (usage.status, usage.model, usage.response_content) == ("success", "m", None)


def test_embeddings_are_recorded_without_their_numbers(
    persistence: InMemoryPersistence, client: Any
) -> None:
    found = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
    assert len(found.data) == 2
    usage = only_call(persistence)
    assert (usage.input_tokens, usage.output_tokens) == (100, None)
    assert usage.response_content is None
    assert usage.get_usage_metrics_dict() == {"operation": "embeddings"}


def test_other_requests_are_not_model_calls(
    provider: ModelProvider, persistence: InMemoryPersistence, client: Any
) -> None:
    provider.script = [Said(status=404)]
    with pytest.raises(openai.NotFoundError):
        client.moderations.create(input="a")
    assert persistence.get_llm_usage() == []


def test_the_client_is_still_one_and_the_other_is_unchanged(
    provider: ModelProvider, persistence: InMemoryPersistence
) -> None:
    plain = connected(provider, timeout=7)
    assert plain.chat.completions is not None, "its resources exist already"
    client = wrap_openai(plain, persistence)
    assert isinstance(client, openai.OpenAI)
    assert type(client).__name__ == "OpenAI"
    assert (client.base_url, client.timeout) == (plain.base_url, 7)
    plain.chat.completions.create(model="m", messages=QUESTION)
    assert persistence.get_llm_usage() == []
    client.with_options(timeout=9).chat.completions.create(model="m", messages=QUESTION)
    assert len(persistence.get_llm_usage()) == 1


def test_a_client_that_is_wrapped_again_records_once(
    provider: ModelProvider, persistence: InMemoryPersistence, client: Any
) -> None:
    again = wrap_openai(client, persistence, agent_id="other", provider="acme")
    again.chat.completions.create(model="m", messages=QUESTION)
    assert (only_call(persistence).agent_id, only_call(persistence).provider) == ("other", "acme")


def test_what_is_not_a_client_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="a client of the package openai, not 'sk-123'"):
        wrap_openai("sk-123")


def test_a_client_of_the_other_sdk_is_refused(provider: ModelProvider) -> None:
    with pytest.raises(InvalidValueError, match="a client of the package anthropic"):
        wrap_anthropic(connected(provider))


def test_what_is_not_a_persistence_is_refused(provider: ModelProvider) -> None:
    for wrong in ("sqlite:///agent.db", InMemoryPersistence, 7):
        with pytest.raises(InvalidValueError, match="An adapter takes an open persistence"):
            wrap_openai(connected(provider), wrong)  # type: ignore[arg-type]


def test_calls_are_recorded_in_a_persistence_that_is_awaited(
    provider: ModelProvider, persistence: InMemoryPersistence
) -> None:
    async def main() -> None:
        async with AsyncPersistence(persistence) as awaited_one:
            client = wrap_openai(awaited(provider), awaited_one, agent_id="outside")
            await client.chat.completions.create(model="m", messages=QUESTION)
            assert [call.agent_id for call in await awaited_one.get_llm_usage()] == ["outside"]

    asyncio.run(asyncio.wait_for(main(), 20))


def test_an_azure_client(provider: ModelProvider, persistence: InMemoryPersistence) -> None:
    azure = openai.AzureOpenAI(
        azure_endpoint=provider.url, api_key="k", api_version="2026-01-01", max_retries=0
    )
    provider.script = [Said(status=500)]  # Its paths are not this server's.
    client = wrap_openai(azure, persistence)
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="m", messages=QUESTION)
    assert only_call(persistence).provider == "azure.ai.openai"


def test_an_awaited_client(provider: ModelProvider, persistence: InMemoryPersistence) -> None:
    async def agent(name: str) -> None:
        client = wrap_openai(awaited(provider), persistence)
        async with client:
            with persistence.record_run(agent_id=name):
                await client.chat.completions.create(model="m", messages=QUESTION)
                stream = await client.chat.completions.create(
                    model="m", messages=QUESTION, stream=True
                )
                assert isinstance(stream, openai.AsyncStream)
                assert len([chunk async for chunk in stream]) > 3
                async with client.responses.stream(model="m", input="Hello?") as events:
                    assert (await events.get_final_response()).output_text == "Hello, world!"

    async def main() -> None:
        await asyncio.gather(*(agent(f"agent-{number}") for number in range(5)))

    asyncio.run(asyncio.wait_for(main(), 20))
    calls = persistence.get_llm_usage()
    assert len(calls) == 15
    of_runs = {run.run_id: run.agent_id for run in persistence.get_agent_runs()}
    assert all(of_runs[call.run_id or ""] == call.agent_id for call in calls)
    assert {call.response_content for call in calls} == {"Hello, world!"}


def test_an_awaited_stream_that_is_left_early(
    provider: ModelProvider, persistence: InMemoryPersistence
) -> None:
    async def agent() -> None:
        async with wrap_openai(awaited(provider), persistence) as client:
            stream = await client.chat.completions.create(model="m", messages=QUESTION, stream=True)
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    break
            await stream.close()
            provider.script = [Said(status=500)]
            with pytest.raises(openai.InternalServerError):
                await client.chat.completions.create(model="m", messages=QUESTION)

    asyncio.run(asyncio.wait_for(agent(), 20))
    failed, left = persistence.get_llm_usage()
    assert (left.status, left.response_content) == ("cancelled", "Hello")
    assert failed.status == "error"


def test_a_broken_persistence_costs_the_caller_nothing(provider: ModelProvider) -> None:
    class Broken(InMemoryPersistence):
        def log_llm_usage(self, usage: AgentLLMUsage) -> None:
            raise RuntimeError("no disk")

    with Broken() as persistence:
        client = wrap_openai(connected(provider), persistence)
        answer = client.chat.completions.create(model="m", messages=QUESTION)
        assert answer.choices[0].message.content == "Hello, world!"
        stream = client.chat.completions.create(model="m", messages=QUESTION, stream=True)
        assert len(list(stream)) > 3
