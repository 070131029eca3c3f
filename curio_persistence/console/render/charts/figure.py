"""The frame of each chart: the legend, the axes, a link for each column, and the table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from markupsafe import Markup, escape

from curio_persistence.console.render.charts.axes import Axis, every
from curio_persistence.console.render.charts.data import Chart
from curio_persistence.console.render.charts.small import swatch
from curio_persistence.views.html.text import harmless

_LABELS = 24
"""Pixels below the bars, for labels."""
_LETTER = 7.5
"""Pixels of a digit at most, which the labels of an axis consist of."""
_ZEROS = re.compile(r"\.0+(?!\d)|(\.\d*[1-9])0+(?!\d)")
"""Zeros at the end of a number, which an axis does without: `$10`, `$0.5`, `15 s`."""

_FIGURE = Markup('<figure class="chart">{}{}{}</figure>')
_LEGEND = Markup('<ul class="legend">{}</ul>')
_NAME = Markup("<li>{}<bdi>{}</bdi></li>")
_PLOT = Markup(
    '<div class="plot">{}<svg width="100%" height="{}" role="group" aria-label="{}">{}</svg></div>'
)
_SCALE = Markup('<svg class="scale" width="{:.0f}" height="{}" aria-hidden="true">{}</svg>')
_TICK = Markup('<text x="100%" dx="-9" y="{:.1f}" dy="0.32em" text-anchor="end">{}</text>')
_GRID = Markup('<line class="grid" x2="100%" y1="{0:.1f}" y2="{0:.1f}"/>')
# Texts, not Markup, whose parts are escaped one by one: a chart has hundreds of these, and
# formatting Markup takes three times as long.
_COLUMN = (
    '<a class="column" href="{}" tabindex="{}"><title>{}</title>'
    '<rect class="hit" x="{:.3f}%" y="{}" width="{:.3f}%" height="{}"/>{}</a>'
)
_ROW = '<tr><th scope="row"><a href="{}">{}</a></th>{}</tr>'
_LABEL = Markup('<text class="label{}" x="{:.3f}%" y="{}" text-anchor="{}">{}</text>')
_TABLE = Markup(
    '<details class="chart-table"><summary>Show as a table</summary><div class="scroll">'
    '<table><caption class="unseen">{}</caption><thead><tr><th scope="col">{}</th>{}</tr></thead>'
    "<tbody>{}</tbody></table></div></details>"
)
_HEAD = Markup('<th scope="col" class="num">{}<bdi>{}</bdi></th>')
_CELL = '<td class="num">{}</td>'


class Place(NamedTuple):
    """The places of columns: percentages across, pixels downwards."""

    columns: int
    height: int
    top: int = 8

    @property
    def bottom(self) -> int:
        """Return the line on which bars stand."""
        return self.top + self.height

    def of(self, column: int, part: float = 1.0) -> tuple[float, float]:
        """Return the begin and the width of a column, or of a part in its middle."""
        width = 100 / self.columns
        return width * (column + (1 - part) / 2), width * part

    def middle(self, column: int) -> float:
        return 100 * (column + 0.5) / self.columns


def figure(
    chart: Chart,
    place: Place,
    marks: Iterable[Markup],
    *,
    axis: Axis | None = None,
    behind: str = "",
    ends: tuple[str, str] | None = None,
    legend: bool = True,
) -> Markup:
    """Return a chart whose columns have these marks; with `ends` only those are labelled."""
    inside = [*_grid(axis, place), escape(behind), *_columns(chart, place, marks)]
    inside += _labels(chart, place) if ends is None else _ends(ends, place)
    plot = _PLOT.format(
        _scale(chart, axis, place), place.bottom + _LABELS, harmless(chart.label), _joined(inside)
    )
    return _FIGURE.format(_legend(chart) if legend else "", plot, _table(chart))


def _legend(chart: Chart) -> Markup:
    names = (_NAME.format(swatch(each.colour), harmless(each.name)) for each in chart.series)
    return _LEGEND.format(_joined(names))


def _scale(chart: Chart, axis: Axis | None, place: Place) -> Markup:
    if axis is None:
        return Markup("")
    said = {tick: _ZEROS.sub(r"\1", chart.say(tick)) for tick in axis.ticks}
    width = 12 + _LETTER * max(map(len, said.values()))
    ticks = (_TICK.format(_height(axis, tick, place), text) for tick, text in said.items())
    return _SCALE.format(width, place.bottom + _LABELS, _joined(ticks))


def _grid(axis: Axis | None, place: Place) -> Iterator[Markup]:
    if axis is not None:
        for tick in axis.ticks:
            yield _GRID.format(_height(axis, tick, place))


def _height(axis: Axis, value: float, place: Place) -> float:
    return place.bottom - axis.share(value) * place.height


def _columns(chart: Chart, place: Place, marks: Iterable[Markup]) -> Iterator[Markup]:
    """Yield a link for each column. The tab key stops at the last; arrows go to others."""
    for number, (column, mark) in enumerate(zip(chart.columns, marks, strict=True)):
        begin, width = place.of(number)
        stop = 0 if number == place.columns - 1 else -1
        href, told = escape(column.href), escape(harmless(chart.told(number)))
        yield Markup(
            _COLUMN.format(href, stop, told, begin, place.top, width, place.height, escape(mark))
        )


def _labels(chart: Chart, place: Place) -> Iterator[Markup]:
    """Yield labels below some columns; narrow screens show every second one of them."""
    distance = every(place.columns)
    for number in range(0, place.columns, distance):
        rare = " wide" if number // distance % 2 else ""
        yield _LABEL.format(
            rare, place.middle(number), place.bottom + 18, "middle", chart.columns[number].label
        )


def _ends(ends: tuple[str, str], place: Place) -> Iterator[Markup]:
    for text, x, anchor in ((ends[0], 0, "start"), (ends[1], 100, "end")):
        yield _LABEL.format("", x, place.bottom + 18, anchor, text)


def _table(chart: Chart) -> Markup:
    """Return the numbers of a chart as a table; a script shows its rows beside the columns."""
    heads = (_HEAD.format(swatch(each.colour), harmless(each.name)) for each in chart.series)
    rows = (
        Markup(
            _ROW.format(
                escape(column.href),
                escape(column.title),
                "".join(_CELL.format(escape(each)) for each in chart.values(number)),
            )
        )
        for number, column in enumerate(chart.columns)
    )
    return _TABLE.format(harmless(chart.label), chart.heading, _joined(heads), _joined(rows))


def _joined(parts: Iterable[Markup]) -> Markup:
    return Markup("".join(parts))
