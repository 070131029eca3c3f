"""Words about costs, and cells of CSV."""

from __future__ import annotations

import csv
from decimal import Decimal

import pytest

from curio_persistence.console.figures.spending import Spent, compared
from curio_persistence.console.render.csv import csv_text

_THAT = "the 30 days before"


def _spent(cost, calls=1):
    return Spent(calls=calls, cost_usd=None if cost is None else Decimal(cost))


@pytest.mark.parametrize(
    ("now", "before", "words"),
    [
        ("285.49", "6.50", "44 times the 30 days before"),
        ("5", "2", "2.5 times the 30 days before"),
        ("2", "1", "2 times the 30 days before"),
        ("1.12", "1", "12 % more than the 30 days before"),
        ("0.88", "1", "12 % less than the 30 days before"),
        ("1.001", "1", "as much as the 30 days before"),
        ("0", "1", "100 % less than the 30 days before"),
        ("1", "0", "$0.00 in the 30 days before"),
        ("1", None, "unknown in the 30 days before"),
        (None, "1", "$1.00 in the 30 days before"),
    ],
)
def test_costs_are_compared_in_words(now, before, words):
    assert compared(_spent(now), _spent(before), _THAT) == words


def test_nothing_before_is_not_a_cost_of_zero():
    assert compared(_spent("1"), _spent(None, calls=0), _THAT) == "no calls in the 30 days before"


def test_a_call_costs_what_calls_of_known_cost_do():
    assert Spent(calls=10, unpriced=6, cost_usd=Decimal(2)).per_call == Decimal("0.5")
    assert Spent(calls=10, unpriced=10).per_call is None
    assert Spent().per_call is None


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_recorded_text_is_a_formula(formula):
    lines = csv_text(("model",), [(formula,)])
    assert list(csv.reader(lines.splitlines(keepends=True), strict=True))[1][0][0] == "'"


def test_csv_keeps_numbers_and_other_texts():
    rows = [("a,b", '"c"\nd', Decimal("-0.5"), -3, None, "東京 \ud800")]
    assert csv_text(("1", "2"), rows) == '1,2\r\n"a,b","""c""\nd",-0.5,-3,,東京 \\ud800\r\n'
