"""The three forms of chart: stacked bars, bars without an axis, and lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from markupsafe import Markup

from curio_persistence.console.render.charts.axes import Axis, axis_of, drawn
from curio_persistence.console.render.charts.data import Chart, Series
from curio_persistence.console.render.charts.figure import Place, figure

_HEIGHT, _LOW = 216, 84
"""Pixels of a chart with an axis, and of one without."""
_BAR = 0.76
"""The part of a column that its bar takes."""
_DOTS = 120
"""Columns of a chart that still shows each point of a line; more would touch."""

# Numbers and classes only, so nothing has to be escaped: hundreds of these make a chart.
_RECT = '<rect class="{}" x="{:.3f}%" y="{:.1f}" width="{:.3f}%" height="{:.1f}"/>'
_DOT = '<circle class="{}" cx="{:.3f}%" cy="{:.1f}" r="2.5"/>'
_LINES = Markup(
    '<svg class="lines" width="100%" height="{}" y="{}" viewBox="0 0 1000 {}" '
    'preserveAspectRatio="none" aria-hidden="true">{}</svg>'
)
_PATH = Markup('<path class="{}" d="{}" vector-effect="non-scaling-stroke"/>')


def stacked_bars(chart: Chart, *, whole: bool = False) -> Markup:
    """Return a bar for each column, of one piece for each series, with an axis; `whole` counts."""
    axis = axis_of(_totals(chart), whole=whole)
    place = Place(len(chart.columns), _HEIGHT)
    marks = (_bar(chart, axis, place, n) for n in range(place.columns))
    return figure(chart, place, marks, axis=axis)


def histogram(
    chart: Chart, *, ends: tuple[str, str], legend: bool = False, height: int = _LOW
) -> Markup:
    """Return bars without an axis; below them stand the `ends` of the window."""
    axis = Axis((0.0, max([*_totals(chart), 1.0])))
    place = Place(len(chart.columns), height)
    marks = (_bar(chart, axis, place, n) for n in range(place.columns))
    return figure(chart, place, marks, ends=ends, legend=legend)


def line(chart: Chart, *, zero: bool = False) -> Markup:
    """Return a line for each series, which is interrupted where a column has no value."""
    values = (v for s in chart.series for v in s.values.values() if v is not None)
    axis = axis_of(values, zero=zero)
    place = Place(len(chart.columns), _HEIGHT)
    paths = Markup("").join(
        _PATH.format(f"line {s.colour}", " ".join(_path(s, axis, place))) for s in chart.series
    )
    behind = _LINES.format(place.height, place.top, place.height, paths)
    marks = (_dots(chart, axis, place, n) for n in range(place.columns))
    return figure(chart, place, marks, axis=axis, behind=behind)


def _totals(chart: Chart) -> Iterator[float]:
    """Yield the height of each bar."""
    for column in range(len(chart.columns)):
        yield sum(drawn(series.values.get(column) or 0) for series in chart.series)


def _bar(chart: Chart, axis: Axis, place: Place, column: int) -> Markup:
    """Return the pieces of one bar, the first series at the bottom."""
    begin, width = place.of(column, _BAR)
    top, pieces = float(place.bottom), []
    for series in chart.series:
        value = series.values.get(column)
        if value is not None and value > 0:
            height = max(axis.share(value) * place.height, 1.0)
            top -= height
            pieces.append(_RECT.format(series.colour, begin, top, width, height))
    if not pieces and any(column in series.values for series in chart.series):
        # Something was recorded: its value is unknown, or is nothing.
        pieces.append(_RECT.format("unknown", begin, place.bottom - 3, width, 3))
    return Markup("".join(pieces))


def _dots(chart: Chart, axis: Axis, place: Place, column: int) -> Markup:
    """Return the points of one column: all, or of many columns those without a neighbour."""
    middle = place.middle(column)
    return Markup(
        "".join(
            _DOT.format(series.colour, middle, place.bottom - axis.share(value) * place.height)
            for series in chart.series
            if (value := series.values.get(column)) is not None
            and (place.columns <= _DOTS or not _has_neighbours(series, column))
        )
    )


def _has_neighbours(series: Series, column: int) -> bool:
    return any(series.values.get(near) is not None for near in (column - 1, column + 1))


def _path(series: Series, axis: Axis, place: Place) -> Iterable[str]:
    """Yield the commands of a path; each part of a line begins by moving the pen."""
    command = "M"
    for column in range(place.columns):
        value = series.values.get(column)
        if value is None:
            command = "M"
        else:
            x, y = place.middle(column) * 10, (1 - axis.share(value)) * place.height
            yield f"{command}{x:.1f} {y:.1f}"
            command = "L"
