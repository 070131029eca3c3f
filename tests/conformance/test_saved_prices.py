"""Own prices that are saved in the database: who opens it computes by them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import AgentLLMUsage, ConfigurationError, InvalidValueError, Persistence
from curio_persistence.pricing.own import read_prices
from curio_persistence.store.filters import Filter
from curio_persistence.tables import PRICES

Open = Callable[..., Persistence]
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ENTRY: dict[str, Any] = {"model": "acme-*", "input": "1", "output": "2"}


def call(**values: Any) -> AgentLLMUsage:
    tokens = {"input_tokens": 1000, "output_tokens": 100, "created_at": NOON}
    return AgentLLMUsage("a", None, "acme", "acme-1", **{**tokens, **values})


def cost(persistence: Persistence, **values: Any) -> Decimal | None:
    """Return what a call is stored with."""
    logged = call(**values)
    persistence.log_llm_usage(logged)
    return logged.cost_usd


@pytest.mark.usefixtures("lasting")
def test_a_saved_price_counts_at_once_and_wherever_the_database_is_opened(
    open_again: Open,
) -> None:
    persistence = open_again()
    assert cost(persistence) is None
    [version] = persistence.prices.save([ENTRY])
    assert cost(persistence) == Decimal("0.0012")
    again = open_again()
    assert cost(again) == Decimal("0.0012")
    [stored] = again.query_llm_usage(limit=1)
    assert (stored.price_version, stored.cost_source) == (version, "computed")
    assert [entry["price_version"] for entry in again.prices.own()] == [version]
    with again.buffered() as buffered:
        assert buffered.prices.of("acme", "acme-1", input_tokens=10, output_tokens=0).cost_usd


@pytest.mark.usefixtures("lasting")
def test_history_is_computed_by_what_another_program_saved(open_again: Open) -> None:
    persistence, other = open_again(), open_again()
    persistence.log_llm_usage(call())
    other.prices.save([ENTRY])
    assert [each.reason for each in persistence.prices.unpriced()] == ["has a price"]
    assert persistence.prices.reprice(dry_run=False).after_usd == Decimal("0.0012")


def test_those_that_were_saved_last_come_first(persistence: Persistence) -> None:
    old = [ENTRY | {"since": "2026-01-01"}, ENTRY | {"output": 0}]
    first, second = persistence.prices.save(old)
    assert cost(persistence) == Decimal("0.0012")
    assert cost(persistence, created_at=NOON - timedelta(days=400)) == Decimal("0.001")
    third, *_ = persistence.prices.save([ENTRY | {"input": 5}, ENTRY | {"input": 5}])
    order = [entry["price_version"] for entry in persistence.prices.own()]
    assert order == [third, first, second]
    assert cost(persistence) == Decimal("0.0052")
    persistence.prices.save([old[0]])
    assert cost(persistence) == Decimal("0.0012")
    assert len(persistence.prices.own()) == 3


@pytest.mark.usefixtures("lasting")
def test_what_is_given_comes_before_what_is_saved(open_again: Open) -> None:
    open_again().prices.save([ENTRY])
    given = open_again(prices=[ENTRY | {"input": 3}])
    assert cost(given) == Decimal("0.0032")
    assert [entry["input"] for entry in given.prices.own()] == ["3", "1"]
    switched_off = open_again(prices=False)
    assert cost(switched_off) is None


def test_a_removed_price_counts_no_longer(persistence: Persistence) -> None:
    [version] = persistence.prices.save([ENTRY])
    assert cost(persistence) == Decimal("0.0012")
    assert persistence.prices.remove(version)
    assert not persistence.prices.remove(version)
    assert cost(persistence) is None
    actions = [(line.action, line.resource) for line in persistence.audit.query()]
    assert actions == [("delete", version), ("create", version)]
    with pytest.raises(InvalidValueError, match="price_version"):
        persistence.prices.remove("")


def test_entries_of_one_database_can_be_saved_in_another(open_again: Open) -> None:
    free = ENTRY | {"cache_read": 0, "until": "2027-01-01", "service_tier": "Batch", "request": 1}
    persistence = open_again()
    versions = persistence.prices.save([free, ENTRY | {"input": "0.10"}])
    own = persistence.prices.own()
    assert own[0]["cache_read"] == "0"
    assert read_prices(own).to_dicts() == own
    assert persistence.prices.save(own) == versions
    assert persistence.prices.own() == own


def test_a_file_is_saved_or_refused_as_a_whole(persistence: Persistence, tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('[[prices]]\nmodel = "acme-*"\ninput = 1\noutput = 2\n')
    assert len(persistence.prices.save(path)) == 1
    with pytest.raises(ConfigurationError, match="entry 2 needs output"):
        persistence.prices.save([ENTRY | {"input": 7}, {"model": "m", "input": 1}])
    assert [entry["input"] for entry in persistence.prices.own()] == ["1"]
    assert persistence.prices.save([]) == []


@pytest.mark.parametrize(
    "entry", [{"input": 2, "request": 0.0}, {"request": "0E+3"}, {"model": "\ud800*"}]
)
def test_the_version_of_a_saved_price_is_the_one_that_was_returned(
    persistence: Persistence, entry: dict[str, Any]
) -> None:
    versions = persistence.prices.save([ENTRY | entry])
    assert [each["price_version"] for each in persistence.prices.own()] == versions
    assert persistence.prices.save(persistence.prices.own()) == versions
    assert persistence.prices.remove(versions[0])


@pytest.mark.usefixtures("lasting")
@pytest.mark.parametrize("damaged", ["{", "[]", '{"model": "x", "input": "1"}'])
def test_a_damaged_price_is_named_and_can_be_removed(
    open_again: Open, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Programs record without it."""
    persistence = open_again()
    [version] = persistence.prices.save([ENTRY])
    where = (Filter("price_version", "=", version),)
    persistence._store.update(PRICES, where, {"entry": damaged})
    opened = open_again()
    assert version in caplog.text
    assert "prices remove" in caplog.text
    assert cost(opened) is None
    with pytest.raises(ConfigurationError, match=f"{version}.*prices remove"):
        opened.prices.own()
    assert opened.prices.remove(version)
    caplog.clear()
    assert cost(open_again()) is None
    assert not caplog.records
