"""A received span is had back as it came, from every backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curio_persistence import InMemoryPersistence, Persistence, SQLitePersistence
from curio_persistence.interop.otel.facts import facts_in, facts_text, without_words
from curio_persistence.interop.otel.records import record_of, source_of, source_record, span_of
from curio_persistence.interop.otel.spans import (
    Call,
    Meaning,
    MeaningKind,
    OtelEvent,
    OtelLink,
    OtelSpan,
    Source,
    ToolUse,
)
from curio_persistence.interop.otel.values import json_of, values_in
from curio_persistence.store.base import Store

INT64 = st.integers(-(2**63), 2**63 - 1)
UINT32 = st.integers(0, 2**32 - 1)
TIMES = st.integers(0, 2**64 - 1)
TEXTS = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["", "\0", "\ud800", "é" * 300, "$bytes", '"$', "\ufdd0"]
)
NAMES = TEXTS | st.sampled_from(["gen_ai.usage.input_tokens", "$map", "$double"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | INT64 | st.floats() | TEXTS | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
ATTRIBUTES = st.dictionaries(NAMES, VALUES, max_size=4)
EVENTS = st.builds(OtelEvent, TEXTS, TIMES, ATTRIBUTES, UINT32)
TRACE_IDS = st.text("0123456789abcdef", min_size=32, max_size=32)
SPAN_IDS = st.text("0123456789abcdef", min_size=16, max_size=16)
LINKS = st.builds(OtelLink, TRACE_IDS, SPAN_IDS, TEXTS, ATTRIBUTES, UINT32, UINT32)
SOURCES = st.builds(Source, ATTRIBUTES, TEXTS, UINT32, TEXTS, TEXTS, ATTRIBUTES, TEXTS, UINT32)


@st.composite
def spans(draw: st.DrawFn) -> OtelSpan:
    start = draw(TIMES)
    return OtelSpan(
        draw(TRACE_IDS),
        draw(SPAN_IDS),
        draw(st.none() | SPAN_IDS),
        draw(TEXTS),
        start,
        draw(st.just(0) | st.integers(start, 2**64 - 1)),
        draw(st.integers(0, 5)),
        draw(st.integers(0, 2)),
        draw(TEXTS),
        draw(ATTRIBUTES),
        tuple(draw(st.lists(EVENTS, max_size=2))),
        tuple(draw(st.lists(LINKS, max_size=2))),
        draw(TEXTS),
        draw(UINT32),
        draw(UINT32),
        draw(UINT32),
        draw(UINT32),
        draw(SOURCES),
    )


MEANINGS = st.builds(
    Meaning,
    st.sampled_from(MeaningKind),
    st.sampled_from(["completed", "error", "running", "cancelled"]),
    st.none() | TEXTS,
    st.none() | TEXTS,
    st.none() | TEXTS,
    st.booleans(),
    st.none() | TEXTS,
    st.none() | TEXTS,
    st.none() | TEXTS,
    st.lists(TEXTS, max_size=2).map(tuple),
    st.none() | TEXTS,
    st.none() | TEXTS,
    st.none() | TEXTS,
    st.none()
    | st.builds(
        Call,
        st.none() | TEXTS,
        st.none() | TEXTS,
        st.none() | TEXTS,
        *[st.none() | st.integers(0, 2**40)] * 5,
        st.none() | st.decimals(0, 100, places=9),
        *[st.none() | TEXTS] * 2,
        *[st.none() | ATTRIBUTES] * 2,
    ),
    st.none() | st.builds(ToolUse, TEXTS, st.none() | TEXTS, VALUES, VALUES, st.none() | TEXTS),
)


def comparable(value: Any) -> Any:
    """Return a value whose equality tells apart what Python does not: 1, 1.0, True, NaN."""
    if isinstance(value, dict):
        return {name: comparable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [comparable(each) for each in value]
    if isinstance(value, float):
        return ("float", "nan" if math.isnan(value) else value.hex())
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: comparable(getattr(value, field.name)) for field in fields(value)}
    return (type(value).__name__, value)


@given(ATTRIBUTES)
def test_attributes_keep_their_types(attributes: dict[str, Any]) -> None:
    assert comparable(values_in(json_of(attributes))) == comparable(attributes)


@pytest.fixture(scope="module")
def persistences(
    postgres: tuple[Store, Callable[[], None]],
) -> Iterator[list[Persistence]]:
    store, empty = postgres
    empty()
    with InMemoryPersistence() as memory, SQLitePersistence(":memory:") as sqlite:
        yield [memory, sqlite, Persistence(store)]


@given(spans(), MEANINGS)
def test_a_span_is_had_back_as_it_came(
    persistences: list[Persistence], span: OtelSpan, meaning: Meaning
) -> None:
    source = source_record(span.source)
    for persistence in persistences:
        persistence.traces.delete(span.trace_id)
        persistence.traces.save_span(record_of(span, meaning, "source"))
        [stored] = persistence.traces.spans(trace_id=span.trace_id)
        assert comparable(span_of(stored, source_of(source))) == comparable(span)


@given(MEANINGS)
def test_the_meaning_of_a_span_is_kept_without_its_words(meaning: Meaning) -> None:
    brief = without_words(meaning)
    assert facts_in(facts_text(meaning)) == brief
    assert facts_text(brief) == facts_text(meaning)
