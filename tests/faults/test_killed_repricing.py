"""A killed repricing is completed by the next, beside others that write and reprice."""

from __future__ import annotations

import random
import time
from decimal import Decimal
from pathlib import Path

import pytest

from curio_persistence import AgentLLMUsage, Persistence, connect
from tests.support import soak
from tests.support.backends import chosen
from tests.support.children import Child

pytestmark = pytest.mark.slow

KILLS = 3 * soak.FACTOR
CALLS = 3_000
REPRICE = """
with connect(sys.argv[1]) as persistence:
    persistence.prices.version()
    print("begun", flush=True)
    print(persistence.prices.reprice(dry_run=False).unknown, flush=True)
"""


@pytest.fixture(params=chosen("sqlite", "postgres18"))
def url(request: pytest.FixtureRequest, tmp_path: Path, schema_name: str) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'calls.db'}"
    return f"{request.getfixturevalue(request.param)}&schema={schema_name}"


def call(tokens: int) -> AgentLLMUsage:
    return AgentLLMUsage("a", None, "openai", "gpt-4o", input_tokens=tokens, output_tokens=0)


def fill(url: str) -> None:
    with connect(url, prices=False) as persistence:
        persistence.log_llm_usages(call(number) for number in range(CALLS))


def wrong(persistence: Persistence) -> list[AgentLLMUsage]:
    """Return the calls that have a cost which is not theirs, or half of one."""
    return [
        each
        for each in persistence.iter_llm_usage()
        if each.cost_usd not in (None, each.input_tokens * Decimal("2.5e-6"))
        or (each.cost_usd is None) != (each.price_version is None)
    ]


def test_a_killed_repricing_is_completed_by_the_next(url: str) -> None:
    fill(url)
    for _ in range(KILLS):
        with Child(REPRICE, url) as child:
            assert child.read() == "begun"
            time.sleep(random.uniform(0, 0.2))
            child.kill()
        with connect(url) as persistence:
            assert wrong(persistence) == []
    with connect(url) as persistence:
        assert persistence.prices.reprice(dry_run=False).calls == CALLS
        assert wrong(persistence) == []
        assert persistence.prices.unpriced() == []


def test_several_may_reprice_while_others_write(url: str) -> None:
    fill(url)
    with Child(REPRICE, url) as one, Child(REPRICE, url) as other, connect(url) as persistence:
        assert {one.read(), other.read()} == {"begun"}
        for number in range(200):
            persistence.log_llm_usage(call(number))
        assert {one.read(), other.read()} == {"0"}
        assert wrong(persistence) == []
        assert persistence.count_llm_usage() == CALLS + 200
        assert persistence.prices.unpriced() == []
