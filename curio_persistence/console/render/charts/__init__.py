"""Charts as SVG that needs no script: each column is a link with a title, and each has its table.

Sizes across are percentages and sizes downwards are pixels, so that a chart fits any width and its
text keeps its size. Colours are classes of `charts.css`.
"""

from curio_persistence.console.render.charts.data import (
    Chart,
    Column,
    Number,
    Series,
    leading,
    with_others,
)
from curio_persistence.console.render.charts.marks import histogram, line, stacked_bars
from curio_persistence.console.render.charts.small import log_bar, share_bar, swatch

__all__ = [
    "Chart",
    "Column",
    "Number",
    "Series",
    "histogram",
    "leading",
    "line",
    "log_bar",
    "share_bar",
    "stacked_bars",
    "swatch",
    "with_others",
]
