"""For any payload and filter, each backend finds the same as the reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from curio_persistence import AgentRunEvent, Persistence
from curio_persistence.backends.memory.store import MemoryStore
from curio_persistence.backends.sqlite.store import SQLiteStore
from curio_persistence.store.base import Store
from tests.properties.strategies import any_text
from tests.support import soak

keys = st.sampled_from(["a", "b", "a.b", "", "é", '"', "\\", "/", "*", "[a]"])
texts = st.sampled_from(["", "a", "1", "true", "é", "a/b", '"', "\\", "null", "%s"]) | any_text
words = st.none() | st.booleans() | texts.filter(lambda text: "\0" not in text)
written_numbers = st.sampled_from(
    ["0", "-0", "1", "1.0", "10e-1", "0.1", "1e-1", "1e400", "1.0000000000000000001", "-1", "1E+5"]
)


def spelt(number: Decimal, exponent: int, zeros: str) -> str:
    """Return a number with its decimal point moved, and possibly trailing zeros."""
    digits = f"{number.scaleb(-exponent):f}"
    return f"{digits}{zeros if '.' in digits else ''}e{exponent}"


spelt_numbers = st.builds(
    spelt,
    st.decimals(-1300, 1300, places=2),
    st.integers(-6, 6),
    st.sampled_from(["", "0", "000"]),
)


def written(value: Any, ascii_only: bool) -> str:
    return json.dumps(value, ensure_ascii=ascii_only)


def objects(inner: SearchStrategy[str]) -> SearchStrategy[str]:
    """JSON objects as text, with repeated keys and white space anywhere."""
    member = st.tuples(keys, st.booleans(), st.sampled_from([":", ": ", " :\n "]), inner)
    return st.lists(member, max_size=4).map(
        lambda members: (
            "{" + ", ".join(written(k, a) + between + v for k, a, between, v in members) + "}"
        )
    )


scalars = (
    st.builds(written, st.none() | st.booleans() | texts, st.booleans())
    | written_numbers
    | spelt_numbers
    | st.integers().map(str)
    | st.sampled_from(["NaN", "01", "'a'", r'"\u0000"', r'"\ud800"', r'"\ud83d\ude00"'])
)
values = st.recursive(
    scalars,
    lambda inner: objects(inner) | st.lists(inner, max_size=3).map(lambda i: f"[{','.join(i)}]"),
    max_leaves=6,
)
payloads = objects(values) | values | any_text
asked_numbers = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | written_numbers.map(Decimal)
    | st.sampled_from([0, 1, -1, 0.1, 10**400])
)
filters = st.dictionaries(
    st.lists(keys, min_size=1, max_size=3).map(tuple), words | asked_numbers, max_size=2
)


def answer(store: Store, stored: list[str], asked: list[dict[Any, Any]]) -> list[list[str]]:
    persistence = Persistence(store, initialize=False)
    persistence.log_agent_run_events(
        AgentRunEvent("agent", "run", event_type=str(number), data=payload)
        for number, payload in enumerate(stored)
    )
    return [
        sorted(event.event_type for event in persistence.query_events(payload=payload))
        for payload in asked
    ]


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[str], list[dict[Any, Any]]]:
    """Payloads and a filter, often of a value that one of them contains."""
    stored = draw(st.lists(payloads, min_size=1, max_size=6))
    asked = draw(st.lists(filters, min_size=1, max_size=4))
    for text in stored:
        try:
            value = json.loads(text, parse_float=Decimal)
        except ValueError:
            continue
        path = []
        while isinstance(value, dict) and value:
            key = draw(st.sampled_from(sorted(value)))
            path.append(key)
            value = value[key]
        # A float can only be NaN, which JSON lacks.
        if path and not isinstance(value, dict | list | float) and "\0" not in f"{path}{value}":
            asked.append({tuple(path): value})
    return stored, asked


@given(questions())
@settings(max_examples=150 * soak.FACTOR)
def test_sqlite_finds_the_payloads_that_memory_finds(
    question: tuple[list[str], list[dict[Any, Any]]],
) -> None:
    store = SQLiteStore(":memory:")
    store.initialize()
    try:
        assert answer(store, *question) == answer(MemoryStore(), *question)
    finally:
        store.close()


@given(question=questions())
@settings(max_examples=150 * soak.FACTOR)
def test_postgres_finds_the_payloads_that_memory_finds(
    postgres: tuple[Store, Callable[[], None]],
    question: tuple[list[str], list[dict[Any, Any]]],
) -> None:
    store, empty = postgres
    empty()
    assert answer(store, *question) == answer(MemoryStore(), *question)
