"""Watermarks as text, and the size of that text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curio_persistence import InvalidValueError
from curio_persistence.store.change_feed import Gaps, Watermark, holes

RANGES = st.sets(st.integers(1, 10**12)).map(sorted).map(lambda edges: edges[: len(edges) // 2 * 2])
GAPS = st.builds(
    lambda edges, waiting: Gaps(tuple(zip(edges[::2], edges[1::2], strict=True)), waiting),
    RANGES,
    st.frozensets(st.text()),
)
WATERMARKS = st.builds(Watermark, st.integers(0, 2**63 - 1), st.tuples(GAPS, GAPS))


@given(WATERMARKS)
def test_a_watermark_round_trips_through_text(watermark: Watermark) -> None:
    assert Watermark.parse(watermark.text()) == watermark


@pytest.mark.parametrize("text", ["", "x", "5", "[]", '["x",[[],[1]]]', "[1,[[],[1]]]", "[1,2]"])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError):
        Watermark.parse(text)


def test_a_gap_takes_some_bytes() -> None:
    ranges = holes(1_000_000_001, 1_000_020_001, range(1_000_000_001, 1_000_020_001, 5))
    assert len(ranges) == 4_000
    assert len(Watermark(1_000_020_001, (Gaps(ranges, frozenset({"3/42"})),)).text()) < 20_000


@given(st.sets(st.integers(0, 30)))
def test_gaps_are_the_missing_ids(ids: set[int]) -> None:
    found = [ident for first, end in holes(5, 25, sorted(ids)) for ident in range(first, end)]
    assert found == [ident for ident in range(5, 25) if ident not in ids]
