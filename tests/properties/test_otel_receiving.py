"""The tables do not depend on how spans come: made-up traces, and those of the corpus."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import pytest

from curio_persistence import InMemoryPersistence, Receiver
from curio_persistence.interop.otel.spans import OtelSpan
from tests.support import soak
from tests.support.otel_dumps import dump
from tests.support.otel_traces import Traces
from tests.support.otlp_corpus import CAPTURES, spans


def tables(batches: Iterable[Sequence[OtelSpan]]) -> dict[str, list[object]]:
    with InMemoryPersistence(prices=False) as persistence:
        receiver = Receiver(persistence)
        for batch in batches:
            receiver.spans(batch)
        return dump(persistence)


def batches(some: Sequence[OtelSpan], at_once: int) -> Iterable[Sequence[OtelSpan]]:
    """Yield spans, so many at a time, each batch twice."""
    for begin in range(0, len(some), at_once):
        yield some[begin : begin + at_once]
        yield some[begin : begin + at_once]


@pytest.mark.parametrize("number", soak.times(25))
def test_made_up_traces_are_the_same_in_any_order(number: int) -> None:
    made = Traces(number, versions=False).spans()
    whole = tables([made])
    random.Random(number).shuffle(made)
    for at_once in (1, 3):
        assert tables(batches(made, at_once)) == whole


@pytest.mark.parametrize("number", soak.times(15))
def test_versions_of_spans_may_come_in_any_order(number: int) -> None:
    made = Traces(number, versions=True).spans()
    whole = tables([made])
    random.Random(number).shuffle(made)
    assert tables(batches(made, 1)) == whole


@pytest.mark.thorough
@pytest.mark.parametrize("capture", CAPTURES)
def test_captures_are_the_same_in_any_order(capture: str) -> None:
    some = [*spans(capture)]
    whole = tables([some])
    for seed in range(3 if soak.FACTOR == 1 else 30):
        random.Random(seed).shuffle(some)
        for at_once in (1, 8, 512):
            assert tables(batches(some, at_once)) == whole
