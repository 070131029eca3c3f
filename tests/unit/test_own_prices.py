"""Prices of one's own: what a file may have, and what is said of anything else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import AgentLLMUsage, ConfigurationError, DatabaseConfig
from curio_persistence.pricing import Pricing
from curio_persistence.pricing.calls import call_in

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ENTRY = {"model": "acme-1", "input": "1", "output": "2"}


def cost(entries: Any, provider: str = "acme", model: str = "acme-1", **values: Any) -> int | None:
    """Return the picodollars of a call of a thousand tokens and a hundred."""
    tokens = {"input_tokens": 1000, "output_tokens": 100, "created_at": NOON}
    record = AgentLLMUsage("a", None, provider, model, **{**tokens, **values})
    priced = Pricing(entries).price(call_in(record))
    return None if priced is None else priced.cost


def test_each_part_of_the_tokens_has_its_price() -> None:
    parts = {"cache_read": "0.1", "cache_write": "1.25", "reasoning": 3, "request": Decimal("0.01")}
    found = cost(
        [ENTRY | parts], cache_read_tokens=500, cache_write_tokens=200, reasoning_tokens=40
    )
    tokens = 300 * 1 + 500 * Decimal("0.1") + 200 * Decimal("1.25") + 60 * 2 + 40 * 3
    assert found == tokens * 10**6 + 10**10


def test_a_part_without_a_price_costs_what_its_whole_does() -> None:
    whole = cost([ENTRY])
    assert whole == 1_200_000_000
    assert cost([ENTRY], cache_read_tokens=500, cache_write_tokens=5, reasoning_tokens=9) == whole


def test_prices_are_exact_whatever_their_digits() -> None:
    third = ENTRY | {"input": "0.333333333333333333", "output": 0}
    assert cost([third], input_tokens=3) == 1_000_000
    assert cost([ENTRY | {"input": 0.1, "output": 0.2}]) == 120_000_000


@pytest.mark.parametrize("unknown", [{"input_tokens": None}, {"output_tokens": None}])
def test_unknown_tokens_have_no_cost(unknown: dict[str, None]) -> None:
    assert cost([ENTRY], **unknown) is None


def test_more_cached_tokens_than_input_have_no_cost() -> None:
    assert cost([ENTRY | {"cache_read": 0}], cache_read_tokens=1001) is None


def test_the_first_entry_that_is_about_a_call_counts() -> None:
    entries = [
        ENTRY | {"model": "ACME-2", "input": 9},
        ENTRY | {"provider": "other", "input": 8},
        ENTRY | {"until": "2026-11-20", "input": 7},
        ENTRY | {"since": "2026-11-20T12:00:01Z", "input": 6},
        ENTRY | {"service_tier": "Batch", "input": 5},
        ENTRY | {"model": "Acme*", "provider": "AC*", "since": "2026-11-20T12:00:00Z"},
        ENTRY | {"input": 4},
    ]
    assert cost(entries) == 1_200_000_000
    assert cost(entries, provider="") == 4_200_000_000
    assert cost(entries, usage_metrics={"service_tier": "batch"}) == 5_200_000_000


def test_an_entry_names_the_model_that_answered_or_that_was_asked() -> None:
    answered = {"response_model": "acme-1-2026-11-01"}
    assert cost([ENTRY | {"model": "acme-1-*"}], usage_metrics=answered) == 1_200_000_000
    assert cost([ENTRY], usage_metrics=answered) == 1_200_000_000


def test_only_the_star_has_a_meaning_in_a_pattern() -> None:
    assert cost([ENTRY | {"model": "a[1]?*"}], model="a[1]?b") == 1_200_000_000
    assert cost([ENTRY | {"model": "acme-?"}]) is None
    assert cost([ENTRY | {"model": "*e*1"}]) == 1_200_000_000


def test_the_version_of_an_entry_changes_with_it() -> None:
    versions = {
        Pricing([ENTRY | changed]).own.to_dicts()[0]["price_version"]
        for changed in ({}, {"input": 2}, {"provider": "x"}, {"since": "2026-01-01"})
    }
    assert len(versions) == 4


TOML = """
[[prices]]
model = "acme-1"
input = 1.00
output = 2
since = 2026-01-01
until = 2027-01-01T00:00:00+01:00
"""


def test_a_file_is_toml_or_json(tmp_path: Path) -> None:
    toml, json_list, json_object = (tmp_path / name for name in ("p.toml", "l.json", "o.json"))
    toml.write_text(TOML)
    json_list.write_text(json.dumps([ENTRY]), encoding="utf-8-sig")  # As Windows writes it.
    json_object.write_text(json.dumps({"prices": [ENTRY]}))
    for path in (toml, str(json_list), json_object):
        assert cost(path) == 1_200_000_000


def test_a_file_that_a_dotenv_names_is_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("CURIO_PRICES=prices.toml\n")
    below = tmp_path / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    assert DatabaseConfig.from_env({}).prices == str(tmp_path / "prices.toml")
    (tmp_path / ".env").write_text("CURIO_PRICES=0\n")
    assert DatabaseConfig.from_env({}).prices is False


WRONG = [
    ({"input": -1}, "entry 1: input must be from 0 to 1,000,000 US dollars, not -1."),
    ({"output": "-0.1"}, "entry 1: output must be from 0"),
    ({"input": 10**7}, "entry 1: input must be from 0"),
    ({"input": "cheap"}, "entry 1: input must be a number of US dollars, not 'cheap'."),
    ({"input": True}, "entry 1: input must be a number"),
    ({"input": float("nan")}, "entry 1: input must be a number"),
    ({"input": None}, "entry 1 needs input"),
    ({"output": None}, "entry 1 needs output"),
    ({"model": ""}, "entry 1: model must be text"),
    ({"model": 7}, "entry 1: model must be text, not 7."),
    ({"provider": []}, "entry 1: provider must be text"),
    ({"inputs": 1}, "entry 1 has 'inputs'; it may have model, provider"),
    ({"since": "soon"}, "entry 1: since must be a date, such as 2026-11-20, not 'soon'."),
    ({"since": 20261120}, "entry 1: since must be a date"),
    ({"since": datetime(2026, 1, 1)}, "entry 1: since needs an offset"),
    ({"since": "2026-01-02", "until": "2026-01-02"}, "entry 1: until is not later than since."),
]


@pytest.mark.parametrize(("changed", "said"), WRONG)
def test_an_entry_that_is_none_is_named(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said.replace("(", r"\(")):
        Pricing([ENTRY | changed])


@pytest.mark.parametrize("prices", [7, {"prices": []}, b"x", None])
def test_what_is_no_list_of_prices_is_refused(prices: Any) -> None:
    with pytest.raises(ConfigurationError, match="prices is True, False, a TOML or JSON file"):
        Pricing(prices)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.toml", "[[prices]\n", "are not TOML"),
        ("p.json", "{", "are not JSON"),
        ("p.toml", "version = 1\n", "must have `prices`, and nothing else"),
        ("p.json", "7", "must have a list of prices"),
        ("p.json", '{"prices": {"model": "m"}}', "must have a list of prices"),
        ("p.json", '["m"]', "entry 1 is str, not a table"),
        ("p.json", "[" * 100_000, "are not JSON"),
        ("p.json", "\ufeffx", "are not JSON"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=said):
        Pricing(path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "missing.toml", tmp_path, tmp_path / "binary.toml"):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            Pricing(path)
