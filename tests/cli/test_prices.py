"""`prices` explains costs, lists calls without one, and computes them anew."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from curio_persistence import AgentLLMUsage, connect
from tests.cli.program import Program

OWN = '[[prices]]\nmodel = "acme-*"\ninput = 1\noutput = 2\n'


@pytest.fixture
def unpriced(url: str) -> str:
    """A database with calls that were written without prices."""
    with connect(url, prices=False) as persistence:
        for model in ("gpt-4o", "gpt-4o", "acme-1"):
            persistence.log_llm_usage(
                AgentLLMUsage("a", None, "", model, input_tokens=1000, output_tokens=100)
            )
        persistence.log_llm_usage(AgentLLMUsage("a", None, "", "acme-1", cost_usd=Decimal(1)))
    return url


@pytest.fixture
def own(program: Program) -> str:
    path: Path = program.folder / "prices.toml"
    path.write_text(OWN)
    return str(path)


def test_a_price_needs_no_database(program: Program) -> None:
    asked = ("prices", "show", "gpt-4o", "--input", "1000", "--output", "100", "--tier", "batch")
    price = program(*asked).json()
    assert (price["cost_usd"], price["model"]) == ("0.001750", "gpt-4o")
    assert price["prices"]["input_mtok"] == "1.25"
    shown = program.on_terminal(*asked)
    assert "input_mtok" in shown.out
    assert "The call costs $0.001750, by genai-prices" in shown.out
    old = program(
        "prices", "show", "o3", "--input", "1000", "--output", "100", "--at", "2025-05-01"
    )
    assert old.json()["cost_usd"] == "0.014000"
    assert (
        "nobody: no price." in program.on_terminal("prices", "show", "nobody", "--input", "1").out
    )
    assert "nobody: no price." in program.on_terminal("prices", "show", "nobody").out
    assert "--input, --output" in program.on_terminal("prices", "show", "gpt-4o").out
    cached = program.on_terminal(*asked[:5], "--output", "1", "--cache-read", "2000")
    assert "the tokens contradict one another" in cached.out


def test_the_sources_of_prices_are_listed(program: Program, own: str) -> None:
    version = program("prices").json()
    assert version["price_version"].startswith("genai-prices ")
    assert version["own"] == []
    told = program("prices", CURIO_PRICES=own).json()
    assert [entry["model"] for entry in told["own"]] == ["acme-*"]
    assert "acme-*" in program.on_terminal("prices", CURIO_PRICES=own).out
    assert "switched off" in program.on_terminal("prices", CURIO_PRICES="0").out


def test_calls_without_a_cost_are_listed(program: Program, unpriced: str) -> None:
    found = program("prices", "unpriced", "--url", unpriced).json()
    assert [(each["model"], each["calls"], each["reason"]) for each in found] == [
        ("gpt-4o", 2, "has a price"),
        ("acme-1", 1, "no price"),
    ]
    shown = program.on_terminal("prices", "unpriced", "--url", unpriced)
    assert "prices reprice" in shown.lines[-1]
    nothing = program.on_terminal("prices", "unpriced", "--url", unpriced, "--agent", "nobody")
    assert nothing.lines == ["Every call has a known cost."]


def test_costs_are_computed_anew_if_that_is_agreed_to(
    program: Program, unpriced: str, own: str
) -> None:
    command = ("prices", "reprice", "--url", unpriced)
    planned = program(*command, "--dry-run").json()
    assert (planned["dry_run"], planned["changed"], planned["given"]) == (True, 2, 1)
    assert program(*command).code == 2
    done = program(*command, "--yes")
    assert done.json()["by_model"][0]["after_usd"] == "0.007000"
    assert "2 costs were stored." in done.said
    assert "0 change" in program(*command, "--yes").said
    ours = program(*command, "--model", "acme-1", "--given", "--yes", CURIO_PRICES=own)
    assert ours.json()["changed"] == 1
    shown = program.on_terminal(*command, "--dry-run", CURIO_PRICES=own)
    assert "Of 4 calls" in shown.out
    audit = program("audit", "--url", unpriced, "--action", "reprice").json()
    assert len(audit) == 2


def test_prices_are_saved_in_the_database_and_removed(
    program: Program, unpriced: str, own: str
) -> None:
    there = ("--url", unpriced)
    [version] = program("prices", "add", own, *there).json()["price_versions"]
    assert [entry["model"] for entry in program("prices", *there).json()["own"]] == ["acme-*"]
    assert "acme-*" in program.on_terminal("prices", *there).out
    shown = ("prices", "show", "acme-1", "--input", "1000", "--output", "100", *there)
    assert program(*shown).json()["cost_usd"] == "0.001200"
    assert program("prices", "reprice", "--dry-run", *there).json()["changed"] == 3
    assert f"Removed: {version}." in program.on_terminal("prices", "remove", version, *there).out
    again = program("prices", "remove", version, *there)
    assert again.code == 3
    assert f"No saved price has the version '{version}'" in again.said
    assert program("prices", *there).json()["own"] == []
    assert program("prices", "add", "/nowhere.toml", *there).code == 2
    assert program("prices", "add", own).code == 3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["show", "--input", "3"], "Name the MODEL"),
        (["unpriced", "gpt-4o"], "prices unpriced does not take a NAME."),
        (["reprice", "--tier", "batch", "--yes"], "prices reprice does not take --tier."),
        (["show", "gpt-4o", "--agent", "a"], "prices show does not take --agent."),
        (["show", "gpt-4o", "--yes"], "prices show does not take --yes."),
        (["show", "gpt-4o", "--at", "never"], "--at takes a date or time, not 'never'."),
        (["show", "gpt-4o", "--provider", "a", "--provider", "b"], "takes one --provider"),
        (["list"], "invalid choice: 'list'"),
        (["add"], "prices add needs a FILE of prices."),
        (["remove"], "prices remove needs a VERSION"),
        (["add", "prices.toml", "--since", "7d"], "prices add does not take --since."),
        (["show", "gpt-4o", "--input", "-1"], "not a whole number"),
    ],
)
def test_mistakes_are_told(program: Program, wrong: list[str], said: str) -> None:
    ended = program("prices", *wrong)
    assert ended.code == 2
    assert said in ended.said


def test_a_file_of_prices_is_checked(program: Program, unpriced: str) -> None:
    path = program.folder / "wrong.json"
    path.write_text(json.dumps({"prices": [{"model": "m", "input": -1, "output": 1}]}))
    ended = program("prices", CURIO_PRICES=str(path))
    assert ended.code == 2
    assert "entry 1: input must be from 0" in ended.said
    assert program("runs", "--url", unpriced, CURIO_PRICES="/nowhere").code == 2
