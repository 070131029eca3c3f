"""Costs that callers do not give are computed when calls are written, whoever writes them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AccessDeniedError,
    AgentLLMUsage,
    AgentRun,
    InMemoryPersistence,
    InvalidValueError,
    Persistence,
    UnsupportedError,
    archive_runs,
    copy_records,
    export_records,
    import_records,
    open_archive,
)
from curio_persistence.aio import AsyncPersistence
from curio_persistence.capabilities.transfers.hashes import RunHash
from curio_persistence.interop.otel.receiving import Receiver
from curio_persistence.runlog.entries import LLMCallCompleted, RunStarted
from tests.support.hands import Hands
from tests.support.otlp_corpus import CAPTURES, spans

Open = Callable[..., Persistence]

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
GPT: dict[str, Any] = {"provider": "openai", "model": "gpt-4o"}
TOKENS = {"input_tokens": 1000, "output_tokens": 100}
COST = Decimal("0.0035")


def call(**values: Any) -> AgentLLMUsage:
    return AgentLLMUsage("a", None, **{**GPT, **TOKENS, "created_at": NOON, **values})


def stored(persistence: Persistence) -> list[AgentLLMUsage]:
    return [*persistence.iter_llm_usage(order="oldest")]


def hash_of(persistence: Persistence) -> RunHash | None:
    return persistence.runs.hashes([None]).get(None)


def costs(persistence: Persistence) -> list[Decimal | None]:
    return [each.cost_usd for each in stored(persistence)]


# --- when a call is written -----------------------------------------------------------------------


def test_a_call_without_a_cost_gets_one(persistence: Persistence) -> None:
    given = call()
    persistence.log_llm_usage(given)
    assert stored(persistence) == [given]
    assert (given.cost_usd, given.cost_source) == (COST, "computed")
    assert given.price_version is not None
    assert given.price_version == persistence.prices.version()


def test_a_cost_that_is_given_stays(persistence: Persistence) -> None:
    persistence.log_llm_usages(
        [call(cost_usd=1), call(cost_usd=0), call(cost_usd=Decimal("1e-12"))]
    )
    persistence.log_llm_usage(call(usage_metrics={"cost_usd": 2}))
    assert costs(persistence) == [1, 0, Decimal("1e-12"), 2]
    assert {each.cost_source for each in stored(persistence)} == {"given"}


def test_an_unknown_cost_stays_unknown(persistence: Persistence) -> None:
    persistence.log_llm_usage(call(model="acme-1", provider="acme"))
    persistence.log_llm_usage(call(input_tokens=None))
    persistence.log_llm_usage(call(cache_read_tokens=1001))
    assert costs(persistence) == [None] * 3
    assert {each.cost_source for each in stored(persistence)} == {"unknown"}


def test_every_writer_computes_costs(persistence: Persistence) -> None:
    persistence.log_llm_usage(call())
    persistence.log_llm_usages([call(), call()])
    with persistence.record_run(agent_id="a", run_id="run") as run:
        run.llm_call(**GPT, **TOKENS)
        with run.llm(**GPT) as asked:
            asked.response = {
                "model": "gpt-4o-2024-08-06",
                "choices": [{"message": {"role": "assistant", "content": "hi"}}],
                "usage": {"prompt_tokens": 1000, "completion_tokens": 100},
            }
    with persistence.buffered() as buffered:
        buffered.log_llm_usage(call())
        buffered.flush()
        assert costs(buffered) == [COST] * 6


def test_an_entry_of_a_run_log_gets_its_cost(persistence: Persistence) -> None:
    metrics = {"provider": "openai", "model_name": "gpt-4o", **TOKENS}
    started = RunStarted(run_id="run", agent_id="a")
    asked = LLMCallCompleted(run_id="run", agent_id="a", metrics=metrics)
    persistence.runlog.append("s", [started, asked])
    assert costs(persistence) == [COST]


def test_words_that_are_not_kept_still_decide_the_cost(open_again: Open) -> None:
    persistence = open_again(capture_content="metrics-only")
    persistence.log_llm_usage(call(usage_metrics={"service_tier": "batch"}))
    [kept] = stored(persistence)
    assert (kept.usage_metrics, kept.cost_usd) == (None, COST / 2)


def test_prices_can_be_switched_off(open_again: Open) -> None:
    persistence = open_again(prices=False)
    persistence.log_llm_usage(call())
    assert costs(persistence) == [None]
    assert persistence.prices.version() is None
    with pytest.raises(UnsupportedError, match="switched off"):
        persistence.prices.reprice()


def test_without_the_package_all_else_works(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curio_persistence.pricing.library.library", lambda: None)
    persistence.log_llm_usage(call())
    assert costs(persistence) == [None]
    missing = r"pip install 'curio-persistence\[prices\]'"
    with pytest.raises(UnsupportedError, match=missing):
        persistence.prices.reprice()
    [unpriced] = persistence.prices.unpriced()
    assert "curio-persistence[prices]" in unpriced.reason
    assert "curio-persistence[prices]" in persistence.prices.of(**GPT, **TOKENS).reason


def test_budgets_and_sums_see_computed_costs(persistence: Persistence, clock: Hands) -> None:
    with persistence.record_run(agent_id="a", run_id="run", session_id="s") as run:
        run.llm_call(**GPT, **TOKENS)
    rule = persistence.alerts.create("spend", "cost", 0.003, window="1h", agent_id="a")
    assert [each.rule_id for each in persistence.alerts.evaluate().fired] == [rule.rule_id]
    assert persistence.get_agent_run_stats()["total_cost_usd"] == COST
    assert [each.cost_usd for each in persistence.usage.totals(group_by="model")] == [COST]
    assert [each.cost_usd for each in persistence.analytics(bucket=None)] == [COST]
    [session] = persistence.sessions.query()
    assert session.cost_usd == COST


@pytest.mark.parametrize("name", CAPTURES)
def test_received_calls_cost_what_is_known_of_them(name: str) -> None:
    persistence = InMemoryPersistence()
    Receiver(persistence).spans(spans(name))
    told = CAPTURES[name]["telemetry"]
    expected = [each["cost_usd"] and Decimal(each["cost_usd"]) for each in told["llm_calls"]]
    answers = [
        each for each in stored(persistence) if "embeddings" not in (each.input_params or "")
    ]
    assert Counter(each.cost_usd for each in answers) == Counter(expected)
    assert sum(filter(None, expected)) == Decimal(told["cost_usd"])


# --- the same call again, and in another database -------------------------------------------------


def test_a_call_that_comes_again_under_other_prices_is_not_a_conflict(open_again: Open) -> None:
    persistence = open_again()
    persistence.log_llm_usage(call(event_id="e1"))
    persistence._pricing.is_on = False
    assert persistence.log_llm_usages([call(event_id="e1")], on_conflict="error") == 0
    assert costs(persistence) == [COST]


def test_records_of_another_database_keep_their_costs(
    persistence: Persistence, tmp_path: Path
) -> None:
    source = InMemoryPersistence(prices=False)
    source.log_llm_usages([call(), call(cost_usd=1)])
    copy_records(source, persistence)
    assert sorted(costs(persistence), key=str) == [1, None]
    export_records(source, tmp_path / "all.jsonl")
    target = InMemoryPersistence()
    import_records(tmp_path / "all.jsonl", target)
    assert hash_of(target) == hash_of(source)


def test_a_copied_call_is_recognised_after_it_was_repriced(persistence: Persistence) -> None:
    source = InMemoryPersistence(prices=False)
    source.log_llm_usages([call(), call(), call(cost_usd=1)])
    assert copy_records(source, persistence).new_usage == 3
    source._pricing.is_on = True
    assert source.prices.reprice(dry_run=False).changed == 2
    assert copy_records(source, persistence).new_usage == 0
    persistence.prices.reprice(dry_run=False)
    assert copy_records(source, persistence).new_usage == 0
    assert hash_of(persistence) == hash_of(source)


# --- explained, listed, computed anew -------------------------------------------------------------


def test_a_price_is_explained(persistence: Persistence) -> None:
    price = persistence.prices.of(**GPT, **TOKENS, at=NOON)
    assert (price.cost_usd, price.provider, price.model) == (COST, "openai", "gpt-4o")
    assert price.prices["input_mtok"] == Decimal("2.5")
    batch = persistence.prices.of(**GPT, **TOKENS, service_tier="batch")
    assert (batch.cost_usd, batch.prices["input_mtok"]) == (COST / 2, Decimal("1.25"))
    assert persistence.prices.of("acme", "acme-1", **TOKENS).reason == "no price"
    assert persistence.prices.of(**GPT).reason == "no tokens"
    assert persistence.prices.of(**GPT, input_tokens=1).reason == "no tokens"
    assert persistence.prices.of("acme", "acme-1").reason == "no price"
    assert costs(persistence) == []


@pytest.mark.parametrize("model", ["gpt-4o", "acme-1"])
def test_more_cached_tokens_than_input_have_no_cost(open_again: Open, model: str) -> None:
    with open_again(prices=[{"model": "acme-*", "input": 1, "output": 2}]) as persistence:
        tokens: dict[str, int] = {"input_tokens": 5, "output_tokens": 1}
        for cached in ({"cache_read_tokens": 6}, {"cache_read_tokens": 3, "cache_write_tokens": 3}):
            price = persistence.prices.of("", model, **tokens, **cached)
            assert (price.cost_usd, price.reason) == (None, "the tokens contradict one another")


@pytest.mark.before_io
def test_a_price_of_what_is_no_call_is_refused(persistence: Persistence) -> None:
    with pytest.raises(InvalidValueError, match="model is required"):
        persistence.prices.of("openai", "")
    with pytest.raises(InvalidValueError, match="may not be negative"):
        persistence.prices.of("openai", "gpt-4o", input_tokens=-1)
    with pytest.raises(InvalidValueError, match="must be a whole number"):
        persistence.prices.of("openai", "gpt-4o", input_tokens="many")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="progress is a function"):
        persistence.prices.reprice(progress=3)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="since is a datetime"):
        persistence.prices.reprice(since="soon")


def test_calls_without_a_cost_are_listed_by_model(persistence: Persistence) -> None:
    persistence.log_llm_usages(
        [
            *(call(model="acme-1", provider="acme", created_at=NOON + i * HOUR) for i in range(3)),
            call(model="acme-1", provider="acme", input_tokens=None),
            call(input_tokens=None, output_tokens=None),
            call(),
        ]
    )
    acme, gpt = persistence.prices.unpriced()
    assert (acme.provider, acme.model, acme.calls, acme.without_tokens) == ("acme", "acme-1", 4, 1)
    assert (acme.input_tokens, acme.output_tokens, acme.reason) == (3000, 400, "no price")
    assert (acme.first_at, acme.last_at) == (NOON, NOON + 2 * HOUR)
    assert (gpt.model, gpt.calls, gpt.reason) == ("gpt-4o", 1, "no tokens")
    assert persistence.prices.unpriced(provider="openai") == [gpt]
    assert persistence.prices.unpriced(since=NOON + 3 * HOUR) == []


def test_only_calls_that_can_be_computed_have_a_price(persistence: Persistence) -> None:
    persistence._pricing.is_on = False
    embedding = call(model="text-embedding-3-small", output_tokens=None)
    persistence.log_llm_usages([call(output_tokens=None), embedding])
    persistence._pricing.is_on = True
    reasons = {each.model: each.reason for each in persistence.prices.unpriced()}
    assert reasons == {"gpt-4o": "no tokens", "text-embedding-3-small": "has a price"}
    persistence.prices.reprice(dry_run=False)
    assert [each.model for each in persistence.prices.unpriced()] == ["gpt-4o"]


@pytest.fixture
def history(open_again: Open) -> Persistence:
    """Calls of eighteen months, written without prices; now the database has them."""
    persistence = open_again(prices=False)
    begin = datetime(2025, 5, 1, tzinfo=UTC)
    persistence.log_llm_usages(
        [
            *(call(model="o3", created_at=begin + i * timedelta(days=90)) for i in range(6)),
            call(cost_usd=1),
            call(model="acme-1", provider="acme"),
            call(model="acme-1", provider="acme", usage_metrics={"reported_cost": "0.5"}),
        ]
    )
    persistence._pricing.is_on = True
    return persistence


def test_history_is_computed_anew_with_the_prices_of_its_time(history: Persistence) -> None:
    before = stored(history)
    planned = history.prices.reprice()
    assert stored(history) == before
    assert (planned.dry_run, planned.calls, planned.changed) == (True, 9, 6)
    assert (planned.given, planned.unchanged, planned.unknown) == (1, 1, 1)
    assert (planned.before_usd, planned.after_usd) == (Decimal("1.5"), Decimal("1.528"))
    [o3] = planned.by_model
    assert (o3.model, o3.calls, o3.changed) == ("o3", 6, 6)
    assert (o3.before_usd, o3.after_usd) == (0, Decimal("0.028"))
    done = history.prices.reprice(dry_run=False)
    assert done == replace(planned, dry_run=False)
    by_time = [each.cost_usd for each in stored(history) if each.model == "o3"]
    assert by_time == [Decimal("0.014")] + [Decimal("0.0028")] * 5
    again = history.prices.reprice(dry_run=False)
    assert (again.changed, again.unchanged, again.before_usd) == (0, 7, done.after_usd)


def test_only_the_calls_of_a_window_and_a_model_are_computed_anew(history: Persistence) -> None:
    window = {"since": datetime(2025, 6, 1, tzinfo=UTC), "until": datetime(2026, 1, 1, tzinfo=UTC)}
    report = history.prices.reprice(dry_run=False, model="o3", **window)  # type: ignore[arg-type]
    assert (report.calls, report.changed) == (2, 2)
    assert sum(cost is not None for cost in costs(history)) == 4


def test_given_costs_are_replaced_only_if_that_is_asked_for(history: Persistence) -> None:
    history.prices.reprice(dry_run=False)
    assert Decimal(1) in costs(history)
    report = history.prices.reprice(dry_run=False, given=True)
    assert (report.changed, report.given) == (1, 0)
    assert Decimal(1) not in costs(history)


def test_archived_calls_are_listed_and_keep_their_costs(history: Persistence, place: Path) -> None:
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    run = AgentRun("a", "run", status="completed", started_at=long_ago, finished_at=long_ago)
    history.create_agent_run(replace(run, created_at=long_ago))
    history.log_llm_usage(replace(call(created_at=long_ago), run_id="run", model="acme-2"))
    assert archive_runs(history, place, older_than="30d").usage == 1
    with open_archive(history, place) as both:
        assert [each.calls for each in both.prices.unpriced(model="acme-2")] == [1]
        with pytest.raises(AccessDeniedError, match="without its archive"):
            both.prices.reprice(dry_run=False)


def test_what_is_queued_is_computed_anew_too(open_again: Open) -> None:
    with open_again(prices=False).buffered(max_seconds=60) as persistence:
        persistence.log_llm_usage(call())
        persistence._pricing.is_on = True
        assert persistence.prices.reprice(dry_run=False).changed == 1
        assert costs(persistence) == [COST]


def test_prices_can_be_awaited(persistence: Persistence) -> None:
    async def ask() -> None:
        awaited = AsyncPersistence(persistence)
        await awaited.log_llm_usage(call())
        price = await awaited.prices.of(**GPT, **TOKENS)
        assert price.price_version == await awaited.prices.version()
        assert (await awaited.prices.reprice(since="7d")).unchanged == 0
        assert (await awaited.prices.reprice()).unchanged == 1
        assert await awaited.prices.unpriced() == await awaited.prices.own() == []

    asyncio.run(ask())


def test_a_repricing_is_written_into_the_audit_log(history: Persistence) -> None:
    history.prices.reprice()
    assert not history.audit.query(action="reprice")
    history.prices.reprice(dry_run=False, model="o3")
    history.prices.reprice(dry_run=False, model="o3")
    [line] = history.audit.query(action="reprice")
    assert line.resource == history.prices.version()


def test_a_repricing_that_was_interrupted_continues(
    open_again: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curio_persistence.capabilities.prices.repricing._AT_ONCE", 3)
    persistence = open_again(prices=False)
    persistence.log_llm_usages([call() for _ in range(10)])
    persistence._pricing.is_on = True

    def interrupt(done: int, total: int | None) -> None:
        assert total == 10
        if done > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        persistence.prices.reprice(dry_run=False, progress=interrupt)
    assert costs(persistence).count(COST) == 6
    report = persistence.prices.reprice(dry_run=False)
    assert (report.changed, report.unchanged) == (4, 6)
    assert costs(persistence) == [COST] * 10


def test_a_cost_that_depended_on_lost_words_is_not_computed_anew(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="a", run_id="run") as run:
        run.llm_call(**GPT, **TOKENS, usage_metrics={"service_tier": "batch"})
    persistence.delete_agent_run("run")
    report = persistence.prices.reprice(dry_run=False)
    assert (report.changed, report.unchanged) == (0, 1)
    assert costs(persistence) == [COST / 2]


# --- prices of one's own --------------------------------------------------------------------------

OURS = [
    {"model": "gpt-4o*", "input": "1", "output": "2", "since": "2026-06-01"},
    {"model": "acme-*", "provider": "ACME", "input": 0.5, "output": 0, "request": "0.01"},
]


def test_own_prices_come_first(open_again: Open) -> None:
    persistence = open_again(prices=OURS)
    persistence.log_llm_usage(call())
    persistence.log_llm_usage(call(created_at=datetime(2026, 5, 31, 23, tzinfo=UTC)))
    persistence.log_llm_usage(call(model="acme-1", provider="acme"))
    persistence.log_llm_usage(call(model="acme-1", provider="other"))
    newest, acme, other = stored(persistence)[1:]
    assert newest.cost_usd == Decimal("0.0012")
    assert str(newest.price_version).startswith("own ")
    assert (acme.cost_usd, other.cost_usd) == (Decimal("0.0105"), None)
    assert persistence.prices.of("acme", "acme-1", **TOKENS).prices == {
        "input_mtok": Decimal("0.5"),
        "output_mtok": Decimal(0),
        "request": Decimal("0.01"),
    }
    assert [entry["model"] for entry in persistence.prices.own()] == ["gpt-4o*", "acme-*"]


def test_history_follows_new_prices_of_ones_own(open_again: Open) -> None:
    persistence = open_again()
    persistence.log_llm_usages([call(), call(model="acme-1", provider="acme")])
    from curio_persistence.pricing import Pricing

    persistence.prices._pricing = Pricing(OURS)
    report = persistence.prices.reprice(dry_run=False)
    assert (report.changed, report.unknown) == (2, 0)
    assert costs(persistence) == [Decimal("0.0012"), Decimal("0.0105")]
