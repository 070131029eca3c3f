"""Positions of streams are texts, from which they can be read again."""

from __future__ import annotations

import pytest

from curio_persistence import InvalidValueError
from curio_persistence.capabilities.live.positions import Batch, parse_position, text_of
from curio_persistence.store.change_feed import Gaps, Watermark

WAITING = frozenset({"3/4"})
PLAIN = tuple(map(Watermark, (12, 40, 3, 0, 7)))
WITH_GAPS = (Watermark(12, (Gaps(((2, 4), (9, 10)), WAITING),)), *PLAIN[1:])


def test_a_position_without_gaps_is_five_numbers() -> None:
    assert text_of(PLAIN) == "12.40.3.0.7"


@pytest.mark.parametrize("position", [PLAIN, WITH_GAPS])
def test_a_position_is_read_again(position: tuple[Watermark, ...]) -> None:
    text = text_of(position)
    assert parse_position("after", text) == position
    assert text.isascii()
    assert not set(text) & set(' "\n,')


@pytest.mark.parametrize(
    "text", ["", "1.2.3.4", "1.2.3.4.5.6", "1.2.3.4.-5", "1.2.3.4.٣", "~.1.1.1.1", "1.1.1.1.1e9"]
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError) as refused:
        parse_position("until", text)
    assert refused.value.field == "until"


def test_behind_a_row_that_filled_a_gap_the_other_gaps_are_left() -> None:
    batch = Batch(WITH_GAPS, 0, Watermark(15, (Gaps(((3, 4), (14, 15)), WAITING),)), [2, 9, 13, 15])
    assert batch.after(0)[0] == Watermark(12, (Gaps(((3, 4), (9, 10)), WAITING),))
    assert batch.after(1)[0] == Watermark(12, (Gaps(((3, 4),), WAITING),))


def test_behind_a_new_row_only_the_gaps_before_it_are_left() -> None:
    batch = Batch(WITH_GAPS, 0, Watermark(15, (Gaps(((3, 4), (14, 15)), WAITING),)), [2, 9, 13, 15])
    assert batch.after(2)[0] == Watermark(13, (Gaps(((3, 4),), WAITING),))
    assert batch.after(3)[0] == Watermark(15, (Gaps(((3, 4), (14, 15)), WAITING),))
    assert batch.after(3)[1:] == PLAIN[1:]
