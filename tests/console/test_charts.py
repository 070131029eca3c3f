"""Charts: where bars and points stand, what they say, and that recorded names cannot break them."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from curio_persistence.console.render.charts import (
    Chart,
    Column,
    Series,
    histogram,
    line,
    log_bar,
    share_bar,
    stacked_bars,
    with_others,
)
from curio_persistence.console.render.charts.axes import axis_of, every

_HOSTILE = "<script>alert(1)</script>\"'&\x00\u202e\ud800{x} 東京"

_FORMS = (stacked_bars, partial(histogram, ends=("yesterday", "now")), line)


def _say(value):
    return "unknown" if value is None else f"${value:,.2f}"


def _chart(*series, columns=3, colours=None):
    named = [
        Column(f"Wednesday {n} November", f"{n} Nov", f"/runs?day={n}&x=1")
        for n in range(1, columns + 1)
    ]
    return Chart("Cost by day", "Day", named, with_others(series), _say)


def _drawn(markup: Markup):
    return ElementTree.fromstring(markup)


def _columns(figure):
    return [each for each in figure.iter("a") if each.get("class") == "column"]


def _pieces(column):
    return [each for each in column.iter("rect") if each.get("class") != "hit"]


# --- axes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([26.3], (0, 10, 20, 30)),
        ([Decimal("0.0003")], (0, 0.0001, 0.0002, 0.0003)),
        ([0.3], (0, 0.1, 0.2, 0.3)),
        ([12_000, 7], (0, 5_000, 10_000, 15_000)),
        ([-3, 4], (-4, -2, 0, 2, 4)),
        ([], (0, 0.5, 1)),
        ([0], (0, 0.5, 1)),
    ],
)
def test_an_axis_has_round_numbers_that_enclose_the_values(values, ticks):
    assert axis_of(values).ticks == ticks


def test_counts_have_whole_numbers_only():
    assert axis_of([1], whole=True).ticks == (0, 1)
    assert axis_of([3], whole=True).ticks == (0, 1, 2, 3)


def test_an_axis_without_zero_begins_below_the_lowest_value():
    assert axis_of([0.82, 0.91], zero=False).ticks == (0.8, 0.85, 0.9, 0.95)
    low, *_, high = axis_of([5, 5], zero=False).ticks
    assert low < 5 < high


@pytest.mark.parametrize(
    "values", [[1e308, -1e308], [1e-320], [float("inf"), float("nan")], [10**400], [-(10**400)]]
)
def test_an_axis_of_any_numbers_has_finite_ticks_in_order(values):
    ticks = axis_of(values, zero=False).ticks
    assert list(ticks) == sorted({*ticks})
    assert all(0 <= axis_of(values).share(value) <= 1 for value in values)


def test_at_most_ten_columns_have_a_label():
    assert [every(columns) for columns in (0, 1, 7, 10, 11, 30, 90)] == [1, 1, 1, 1, 2, 3, 9]


# --- bars -----------------------------------------------------------------------------------------


def test_bars_are_stacked_in_the_order_of_their_series():
    figure = _drawn(stacked_bars(_chart(("a", {0: 1}), ("b", {0: 3, 2: 4}))))
    first, second, third = map(_pieces, _columns(figure))
    assert [piece.get("class") for piece in first] == ["s1", "s2"]
    (below, above) = first
    assert float(above.get("y")) + float(above.get("height")) == float(below.get("y"))
    assert float(above.get("height")) == pytest.approx(3 * float(below.get("height")), abs=0.2)
    assert second == []
    assert [piece.get("class") for piece in third] == ["s2"]


def test_a_column_is_a_link_whose_title_tells_its_values():
    figure = _drawn(stacked_bars(_chart(("a", {0: Decimal("1.50")}), ("b", {0: None, 1: 2}))))
    first, second, third = _columns(figure)
    assert first.get("href") == "/runs?day=1&x=1"
    assert first.find("title").text == "Wednesday 1 November\na: $1.50\nb: unknown"
    assert second.find("title").text == "Wednesday 2 November\nb: $2.00"
    assert third.find("title").text == "Wednesday 3 November"


def test_only_the_last_column_is_a_stop_of_the_tab_key():
    stops = [each.get("tabindex") for each in _columns(_drawn(stacked_bars(_chart(("a", {0: 1})))))]
    assert stops == ["-1", "-1", "0"]


def test_a_column_of_unknown_values_differs_from_one_without_any():
    figure = _drawn(stacked_bars(_chart(("a", {0: None, 1: 1}))))
    unknown, known, nothing = map(_pieces, _columns(figure))
    assert [piece.get("class") for piece in unknown] == ["unknown"]
    assert [piece.get("class") for piece in known] == ["s1"]
    assert nothing == []


def test_the_smallest_value_is_still_seen():
    [piece] = _pieces(_columns(_drawn(stacked_bars(_chart(("a", {0: 1e-9, 1: 1000})))))[0])
    assert float(piece.get("height")) == 1


def test_from_the_ninth_on_series_are_others():
    series = with_others([(f"m{n}", {0: n, 1: None}) for n in range(11)])
    assert [each.colour for each in series] == [*(f"s{n}" for n in range(1, 9)), "s-others"]
    assert series[-1] == Series("3 others", {0: 8 + 9 + 10, 1: None}, "s-others")
    assert len(with_others([(f"m{n}", {}) for n in range(8)])) == 8


def test_every_chart_has_a_table_with_all_its_numbers():
    for draw in _FORMS:
        figure = _drawn(draw(_chart(("a", {0: 1, 1: None}), ("b", {1: 2}))))
        rows = [["".join(cell.itertext()) for cell in row] for row in figure.iter("tr")]
        assert rows == [
            ["Day", "a", "b"],
            ["Wednesday 1 November", "$1.00", "–"],
            ["Wednesday 2 November", "unknown", "$2.00"],
            ["Wednesday 3 November", "–", "–"],
        ]


def test_a_histogram_has_no_axis_and_labels_its_ends():
    figure = _drawn(histogram(_chart(("a", {0: 1})), ends=("yesterday", "now")))
    assert [each.text for each in figure.iter("text")] == ["yesterday", "now"]


@pytest.mark.parametrize("draw", _FORMS)
def test_a_chart_of_nothing_is_drawn(draw):
    assert not _columns(_drawn(draw(Chart("Nothing", "Day", [], [], _say))))
    assert len(_columns(_drawn(draw(_chart())))) == 3


# --- lines ----------------------------------------------------------------------------------------


def test_a_line_is_interrupted_where_there_is_no_value():
    figure = _drawn(line(_chart(("a", {0: 1, 1: 2, 3: 3, 4: 4}), columns=5)))
    [path] = figure.iter("path")
    assert [part[0] for part in path.get("d").split() if part[0].isalpha()] == ["M", "L", "M", "L"]


def test_points_of_many_columns_are_drawn_only_where_they_stand_alone():
    values = dict.fromkeys([*range(100), 150], 1)
    figure = _drawn(line(_chart(("a", values), columns=200)))
    assert len(list(figure.iter("circle"))) == 1
    assert len(list(_drawn(line(_chart(("a", {0: 1, 1: 2})))).iter("circle"))) == 2


# --- small charts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "whole", "width"),
    [(1, 4, "25.00%"), (Decimal(5), Decimal(4), "100.00%"), (0, 0, "0.00%"), (-1, 2, "0.00%")],
)
def test_the_bar_of_a_share_is_never_longer_than_the_whole(part, whole, width):
    assert _drawn(share_bar(part, whole)).findall("rect")[1].get("width") == width


def test_lengths_of_time_have_logarithmic_bars():
    widths = [
        float(_drawn(log_bar(ms)).findall("rect")[1].get("width").rstrip("%"))
        for ms in (-5, 0, 100, 1_000, 10_000, 1e12)
    ]
    assert widths == pytest.approx([0, 0, 100 / 6, 200 / 6, 50, 100], abs=0.5)
    assert log_bar(None) == ""


# --- recorded names -------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", _FORMS)
def test_recorded_names_are_text_and_nothing_else(draw):
    markup = draw(_chart((_HOSTILE, {0: 1})))
    assert "<script" not in markup
    assert not {*markup} & {"\x00", "\u202e", "\ud800"}
    told = _columns(_drawn(markup))[0].find("title").text
    assert told.startswith("Wednesday 1 November\n<script>alert(1)</script>\"'&\\x00\\u202e\\ud800")


@pytest.mark.parametrize("draw", _FORMS)
def test_charts_have_no_style_and_no_script(draw):
    markup = draw(_chart(("a", {0: 1, 1: 2})))
    assert "style=" not in markup
    assert " on" not in markup.replace(" only", "")
