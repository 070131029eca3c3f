"""Small charts inside of rows: a share, a length of time, the colour of a series."""

from __future__ import annotations

from functools import lru_cache
from math import log10

from markupsafe import Markup

from curio_persistence.console.render.charts.axes import drawn
from curio_persistence.console.render.charts.data import Number

_SWATCH = Markup(
    '<svg class="swatch" width="9" height="9" aria-hidden="true">'
    '<rect class="{}" width="9" height="9" rx="2"/></svg>'
)
_BAR = Markup(
    '<svg class="small-bar" width="{}" height="{}" aria-hidden="true">'
    '<rect class="rail-of" width="100%" height="100%"/>'
    '<rect class="{}" width="{:.2f}%" height="100%"/></svg>'
)
_SHORTEST_MS, _DECADES = 10.0, 6
"""A hundredth of a second has no bar; one for each ten thousand seconds is whole."""


def swatch(colour: str) -> Markup:
    """Return the square that shows the colour of a series."""
    return _SWATCH.format(colour)


def share_bar(part: Number, whole: Number, colour: str = "s1") -> Markup:
    """Return a bar for the share of a part; it is empty where there is no whole."""
    share = drawn(part) / drawn(whole) if drawn(whole) > 0 else 0.0
    return _BAR.format(110, 6, colour, 100 * min(max(share, 0.0), 1.0))


def log_bar(milliseconds: float | None, colour: str = "took") -> Markup:
    """Return a logarithmic bar for a length of time; an unknown one has none."""
    if milliseconds is None:
        return Markup("")
    tenfold = log10(max(drawn(milliseconds), _SHORTEST_MS) / _SHORTEST_MS)
    return _log_bar(colour, round(100 * min(tenfold / _DECADES, 1.0)))


@lru_cache(maxsize=512)
def _log_bar(colour: str, percent: int) -> Markup:
    return _BAR.format(84, 3, colour, percent)
