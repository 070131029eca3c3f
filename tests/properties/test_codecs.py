"""The stored form of every text, time, cost and JSON value decodes to the same value."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from curio_persistence.store import codecs
from curio_persistence.store.json_text import json_text
from tests.properties.strategies import a_cost, any_text, json_values

PICODOLLAR = Decimal("1e-12")

moments = st.datetimes(timezones=st.none() | st.timezones() | st.just(UTC)) | st.datetimes(
    timezones=st.builds(
        timezone, st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59))
    )
)


def in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError):
        assume(False)
        raise


@given(any_text)
@example("\0")
@example("\ufdd0")
@example("\ufdd00000")
@example("\ufdd0fdd00041")
@example("\ud83d\ude00")
def test_any_text_round_trips(text: str) -> None:
    kept = codecs.encode_text(text)
    assert "\0" not in kept
    kept.encode("utf-8")
    assert codecs.decode_text(kept) == text
    assert list(codecs.decode_texts([kept, None, "a"])) == [text, None, "a"]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufdd0")))
def test_text_that_a_database_accepts_is_stored_unchanged(text: str) -> None:
    assert codecs.encode_text(text) == text


@given(any_text, any_text)
def test_different_texts_have_different_stored_forms(one: str, other: str) -> None:
    assert (codecs.encode_text(one) == codecs.encode_text(other)) == (one == other)


@given(moments)
@example(datetime.min.replace(tzinfo=UTC))
@example(datetime.max.replace(tzinfo=UTC))
def test_any_time_round_trips(moment: datetime) -> None:
    expected = in_utc(moment)
    kept = codecs.encode_time(moment)
    read = codecs.decode_time(kept)
    assert read == expected
    assert read is not None
    assert read.tzinfo is UTC
    assert list(codecs.decode_stored_times([kept])) == [expected]
    assert list(codecs.decode_times([None, kept])) == [None, expected]


@given(moments, moments)
def test_stored_times_sort_like_times(one: datetime, other: datetime) -> None:
    first, second = in_utc(one), in_utc(other)
    kept, kept_other = codecs.encode_time(one), codecs.encode_time(other)
    assert len(kept) == len(kept_other) == len("2026-11-20T12:00:00.000000+00:00")
    assert (kept < kept_other) == (first < second)


@given(a_cost)
def test_any_cost_in_picodollars_round_trips(cost: Decimal) -> None:
    kept = codecs.encode_money(cost)
    assert codecs.decode_money(kept) == cost
    assert Decimal(kept) * PICODOLLAR == cost


@given(
    st.decimals(0, 9_000_000, allow_nan=False) | st.floats(0, 9_000_000),
    st.integers(1, 30),
)
def test_a_finer_cost_is_rounded_once_at_any_decimal_precision(
    cost: Decimal | float, precision: int
) -> None:
    with localcontext(prec=60):
        exact = Decimal(str(cost)).quantize(PICODOLLAR, ROUND_HALF_EVEN)
    with localcontext(prec=precision):
        read = codecs.decode_money(codecs.encode_money(cost))
    assert read == exact


@given(st.lists(a_cost, max_size=20))
def test_stored_costs_sum_exactly(costs: list[Decimal]) -> None:
    with localcontext(prec=60):
        assert codecs.decode_money(sum(map(codecs.encode_money, costs))) == sum(costs)


@given(st.integers())
def test_an_integer_is_stored_unchanged_or_refused(number: int) -> None:
    if -(2**63) <= number < 2**63:
        assert codecs.encode_integer(number) == number
    else:
        with pytest.raises(ValueError, match="64 bits"):
            codecs.encode_integer(number)


@given(json_values)
def test_any_json_value_round_trips(value: Any) -> None:
    kept = codecs.encode_json(value)
    text = codecs.decode_text(kept)
    assert text is not None
    assert json.loads(text) == value


anything = st.recursive(
    json_values | st.floats() | st.binary() | st.decimals() | st.dates() | st.uuids() | st.none(),
    lambda inner: (
        st.tuples(inner, inner)
        | st.frozensets(st.integers() | st.text())
        | st.lists(inner)
        | st.dictionaries(
            st.floats() | st.none() | st.booleans() | st.tuples(st.integers()) | st.text(), inner
        )
    ),
    max_leaves=8,
)


@given(anything)
def test_any_value_but_text_becomes_json_that_every_parser_can_read(value: Any) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    text = json_text(value)
    json.loads(text, parse_constant=refuse)
