"""The cost of one call: exactly what genai-prices computes, and None where it is unknown."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Context, Decimal, localcontext
from typing import Any

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot, set_custom_snapshot

from curio_persistence import AgentLLMUsage
from curio_persistence.pricing import Pricing
from curio_persistence.pricing.calls import TIER_HINT, Priced, call_in
from curio_persistence.store.codecs import decode_money

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PICODOLLAR = Decimal("1e-12")


@pytest.fixture(scope="module")
def pricing() -> Pricing:
    return Pricing()


def priced(pricing: Pricing, provider: str, model: str, **values: Any) -> Priced | None:
    record = AgentLLMUsage("a", None, provider, model, **{"created_at": NOON} | values)
    return pricing.price(call_in(record))


def cost(pricing: Pricing, provider: str, model: str, **values: Any) -> Decimal | None:
    found = priced(pricing, provider, model, **values)
    return None if found is None else decode_money(found.cost)


@pytest.mark.slow
def test_every_model_costs_what_the_library_says(pricing: Pricing) -> None:
    chance = random.Random(19)
    compared = 0
    for provider in providers:
        for model in provider.models:
            tokens = {"input": chance.choice((0, 7, 1300, 199_999, 200_001, 300_000)), "output": 84}
            tokens |= {"cache_read": tokens["input"] // 3, "cache_write": tokens["input"] // 5}
            at = datetime(2026, chance.randint(1, 11), 5, chance.randrange(24), tzinfo=UTC)
            usage = {f"{name}_tokens": number for name, number in tokens.items()}
            try:
                with localcontext(Context(prec=60)):
                    expected = calc_price(
                        Usage(**usage),
                        model.id,
                        provider_id=provider.id,
                        genai_request_timestamp=at,
                    ).total_price
            except (LookupError, ValueError):  # A model may not be found by its own name.
                continue
            found = cost(pricing, provider.id, model.id, **usage, created_at=at)
            assert found is not None, (provider.id, model.id)
            assert abs(found - expected) <= PICODOLLAR, (provider.id, model.id)
            compared += 1
    assert compared > 2_000


def test_parts_of_the_tokens_are_not_counted_twice(pricing: Pricing) -> None:
    found = cost(
        pricing,
        "anthropic",
        "claude-sonnet-4-5",
        input_tokens=1300,
        output_tokens=84,
        cache_read_tokens=1100,
        cache_write_tokens=100,
        reasoning_tokens=50,
    )
    assert found == Decimal("0.002265")


def test_a_call_has_the_prices_of_its_time(pricing: Pricing) -> None:
    tokens = {"input_tokens": 1000, "output_tokens": 100}
    before = cost(pricing, "openai", "o3", **tokens, created_at=datetime(2025, 5, 1, tzinfo=UTC))
    after = cost(pricing, "openai", "o3", **tokens, created_at=NOON)
    assert (before, after) == (Decimal("0.014"), Decimal("0.0028"))


def test_a_call_without_a_time_has_the_prices_of_now() -> None:
    tokens: dict[str, Any] = {"input_tokens": 1000, "output_tokens": 100, "created_at": None}
    early = Pricing(now=lambda: datetime(2025, 5, 1, tzinfo=UTC))
    assert cost(early, "openai", "o3", **tokens) == Decimal("0.014")


@pytest.mark.parametrize("tokens", [199_999, 200_000, 200_001])
def test_a_long_prompt_has_the_prices_of_its_level(pricing: Pricing, tokens: int) -> None:
    found = cost(pricing, "anthropic", "claude-sonnet-4-5", input_tokens=tokens, output_tokens=100)
    library = calc_price(
        Usage(input_tokens=tokens, output_tokens=100),
        "claude-sonnet-4-5",
        provider_id="anthropic",
        genai_request_timestamp=NOON,
    )
    assert found == library.total_price


@pytest.mark.parametrize(
    ("provider", "model", "tokens"),
    [
        ("", "", {"input_tokens": 1, "output_tokens": 1}),
        ("openai", "model-nobody-knows", {"input_tokens": 1, "output_tokens": 1}),
        ("acme", "acme-1", {"input_tokens": 1, "output_tokens": 1}),
        ("openai", "gpt-4o", {}),
        ("openai", "gpt-4o", {"output_tokens": 1}),
        ("openai", "gpt-4o", {"input_tokens": 1}),
        ("openai", "gpt-4o", {"input_tokens": 1, "output_tokens": 1, "cache_read_tokens": 2}),
        ("ollama", "gpt-oss:20b", {"input_tokens": 1, "output_tokens": 1}),
        ("", "ollama/gpt-oss:20b", {"input_tokens": 1, "output_tokens": 1}),
        ("copilot", "gpt-5.2", {"input_tokens": 1, "output_tokens": 1}),
        ("openai", "gpt-4o", {"input_tokens": 2**62, "output_tokens": 1}),
    ],
)
def test_what_is_not_known_has_no_cost(
    pricing: Pricing, provider: str, model: str, tokens: dict[str, int]
) -> None:
    assert priced(pricing, provider, model, **tokens) is None


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o"),
        ("OpenAI", "GPT-4o"),
        ("openai.responses", "gpt-4o"),
        ("azure.ai.openai", "gpt-4o"),
        ("langchain", "gpt-4o"),
        ("", "gpt-4o"),
        ("", "openai/gpt-4o"),
        ("", "openai:gpt-4o"),
        ("litellm", "openai/gpt-4o"),
    ],
)
def test_providers_and_models_are_known_by_many_names(
    pricing: Pricing, provider: str, model: str
) -> None:
    tokens = {"input_tokens": 1000, "output_tokens": 100}
    assert cost(pricing, provider, model, **tokens) == Decimal("0.0035")


def test_a_spelling_of_opentelemetry_is_understood(pricing: Pricing) -> None:
    tokens = {"input_tokens": 1000, "output_tokens": 100}
    spelt = cost(pricing, "x_ai", "grok-4", **tokens)
    assert spelt == cost(pricing, "x-ai", "grok-4", **tokens) is not None


def test_the_model_that_answered_counts_before_the_one_that_was_asked(pricing: Pricing) -> None:
    tokens = {"input_tokens": 1000, "output_tokens": 100}
    answered = {"response_model": "gpt-4o-2024-08-06"}
    assert cost(pricing, "azure", "ours", **tokens) is None
    assert cost(pricing, "azure", "ours", **tokens, usage_metrics=answered) == Decimal("0.0035")
    asked = {"input_params": {"model": "gpt-4o"}}
    assert cost(pricing, "openai", "router-7", **tokens, **asked) == Decimal("0.0035")
    assert cost(pricing, "openai", "router-7", **tokens, input_params={"model": 7}) is None
    unknown = {"response_model": "router-7"}
    assert cost(pricing, "openai", "gpt-4o", **tokens, usage_metrics=unknown) == Decimal("0.0035")


@pytest.mark.parametrize(
    "metrics",
    [
        {"service_tier": "batch"},
        {"service_tier": "BATCH"},
        {"serviceTier": {"type": "batch"}},
        {"processing": "batch"},
        {"usage": {"service_tier": "batch"}},
    ],
)
def test_a_batch_has_its_own_prices(pricing: Pricing, metrics: dict[str, Any]) -> None:
    found = priced(
        pricing, "openai", "gpt-4o", input_tokens=1000, output_tokens=100, usage_metrics=metrics
    )
    assert found is not None
    assert found.cost == 1_750_000_000
    assert found.version.endswith(", batch")


@pytest.mark.parametrize("tier", ["default", "standard", "auto", None, 7, [], ""])
def test_the_standard_tier_costs_what_the_list_says(pricing: Pricing, tier: Any) -> None:
    metrics = {"service_tier": tier}
    tokens = {"input_tokens": 1000, "output_tokens": 100}
    found = cost(pricing, "openai", "gpt-4o", **tokens, usage_metrics=metrics)
    assert found == Decimal("0.0035")


@pytest.mark.parametrize("space", ["", " "])
def test_the_library_is_asked_only_where_a_tier_may_have_prices(space: str) -> None:
    for tier, is_priced in {'"default"': False, "null": False, '"batch"': True}.items():
        found = re.search(TIER_HINT, f'{{"service_tier":{space}{tier}}}')
        assert bool(found) is is_priced, tier


def test_the_cost_does_not_depend_on_the_context_of_the_caller(pricing: Pricing) -> None:
    tokens = {"input_tokens": 123_457, "output_tokens": 7}
    metrics = {"service_tier": "batch"}
    exact = cost(pricing, "openai", "gpt-4o", **tokens, usage_metrics=metrics)
    with localcontext(Context(prec=2)):
        assert cost(pricing, "openai", "gpt-4o", **tokens, usage_metrics=metrics) == exact


def test_a_reported_cost_counts_where_ours_is_unknown(pricing: Pricing) -> None:
    tokens = {"input_tokens": 1000, "output_tokens": 100}
    metrics = {"reported_cost": 0.25}
    assert priced(pricing, "acme", "acme-1", **tokens, usage_metrics=metrics) == Priced(
        250_000_000_000, "reported"
    )
    assert cost(pricing, "openai", "gpt-4o", **tokens, usage_metrics=metrics) == Decimal("0.0035")
    assert cost(Pricing(False), "openai", "gpt-4o", **tokens, usage_metrics=metrics) == Decimal(
        "0.25"
    )


@pytest.mark.parametrize("reported", [-1, "much", True, None, float("inf"), 10**9, [1]])
def test_a_reported_cost_that_is_none_is_unknown(pricing: Pricing, reported: Any) -> None:
    metrics = {"reported_cost": reported}
    assert priced(pricing, "acme", "acme-1", input_tokens=1, usage_metrics=metrics) is None


def test_without_the_package_nothing_is_computed(
    pricing: Pricing, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curio_persistence.pricing import library

    monkeypatch.setattr(library, "library", lambda: None)
    assert cost(Pricing(), "openai", "gpt-4o", input_tokens=1, output_tokens=1) is None


def in_another_process(code: str) -> str:
    """Return what a program prints that has not imported anything yet."""
    prelude = "import sys\nfrom curio_persistence import *\n"
    ended = subprocess.run(
        [sys.executable, "-c", prelude + code], capture_output=True, text=True, check=True
    )
    return ended.stdout.strip()


@pytest.mark.slow
def test_the_package_is_loaded_by_the_first_call_that_needs_a_price() -> None:
    printed = in_another_process("""
persistence = InMemoryPersistence()
loaded = []
def log(**values):
    persistence.log_llm_usage(AgentLLMUsage("a", None, **values))
    loaded.append("genai_prices" in sys.modules)
with persistence.record_run(agent_id="a") as run:
    run.log("noted", {})
log()
log(model="gpt-4o")
log(input_tokens=1)
log(model="gpt-4o", input_tokens=1, output_tokens=1, cost_usd=1)
log(model="gpt-4o", input_tokens=1, output_tokens=1)
print(loaded)
""")
    assert printed == "[False, False, False, False, True]"


@pytest.mark.slow
def test_many_threads_may_need_the_first_price_at_once() -> None:
    printed = in_another_process("""
from concurrent.futures import ThreadPoolExecutor
persistence = InMemoryPersistence()
def log(number):
    call = AgentLLMUsage("a", None, model="gpt-4o", input_tokens=1000, output_tokens=100)
    persistence.log_llm_usage(call)
    return call.cost_usd
with ThreadPoolExecutor(16) as threads:
    print({str(cost) for cost in threads.map(log, range(64))})
""")
    assert printed == "{'0.003500'}"


@pytest.mark.slow
def test_prices_come_without_a_network() -> None:
    printed = in_another_process("""
import socket
def refuse(*arguments, **more):
    raise AssertionError("the network was used")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
persistence = InMemoryPersistence()
print(persistence.prices.of("", "gpt-4o", input_tokens=1000, output_tokens=100).cost_usd)
""")
    assert printed == "0.003500"


def test_a_snapshot_of_the_user_changes_no_price(pricing: Pricing) -> None:
    set_custom_snapshot(DataSnapshot([], from_auto_update=True))
    try:
        assert cost(Pricing(), "openai", "gpt-4o", input_tokens=1000, output_tokens=0)
        assert cost(
            Pricing(),
            "openai",
            "gpt-4o",
            input_tokens=1000,
            output_tokens=0,
            usage_metrics={"service_tier": "batch"},
        )
    finally:
        set_custom_snapshot(None)


@pytest.mark.parametrize(
    "metrics",
    [
        '{"usage": {"ephemeral_1h_input_tokens": 9',
        '{"usage": 7, "service_tier": "batch"}',
        '{"usage": {"cache_creation": {"ephemeral_1h_input_tokens": 99999}}}',
        '{"usage": {"server_tool_use": {"web_search_requests": 1e400}}}',
        '{"usage": {"input_tokens": 1, "output_tokens": 1, "server_tool_use": '
        '{"web_search_requests": -3, "x": "web_search_requests": 9"}}}',
        '"web_search_requests": 9',
        '{"usage": ' + "[" * 2000 + "]" * 2000 + ', "web_search_requests": 9}',
        '{"usage": ' + '{"a_b": ' * 900 + "1" + "}" * 900 + ', "web_search_requests": 9}',
        '{"usage": {"input_tokens": 1000, "output_tokens": 100, "server_tool_use": [7]}, '
        '"web_search_requests": 9}',
        '{"usage": {"input_tokens": NaN, "output_tokens": Infinity}, "web_search_requests": 9}',
        '{"response_model": "' + "m" * 100_000 + '"}',
        '{"response_model": "", "service_tier": "\ud800"}',
    ],
)
def test_metrics_of_another_shape_are_no_error(pricing: Pricing, metrics: str) -> None:
    tokens = {"input_tokens": 1000, "output_tokens": 100}
    plain = cost(pricing, "anthropic", "claude-sonnet-4-5", **tokens)
    found = cost(pricing, "anthropic", "claude-sonnet-4-5", **tokens, usage_metrics=metrics)
    assert found in (plain, plain and plain / 2)
