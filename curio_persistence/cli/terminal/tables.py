"""Aligned tables that fit the terminal they stand on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from curio_persistence.cli.terminal.text import cells, one_line, padded, shortened
from curio_persistence.views.wording import NOTHING

Paint = Callable[[str, str], str]

GAP = "  "
"""The blanks between two columns."""
_INDENT = "    "
_LEAST = 12


class Column(NamedTuple):
    """A column, `most` cells wide at most; one that `grows` takes what room its line has left."""

    title: str
    right: bool = False
    most: int = 32
    grows: bool = False


class Cell(NamedTuple):
    """A text on one line, and how to paint it."""

    text: str
    style: str


def cell(value: Any, style: str = "") -> Cell:
    """Any value; a dash for None."""
    return Cell(NOTHING if value is None else one_line(value), style)


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], room: int, paint: Paint, header: str
) -> Iterator[str]:
    """Yield the lines of a table, its header painted in the style `header`.

    Columns that do not fit beside the others continue on an indented line below them: nothing is
    lost on a narrow terminal.
    """
    titles = [cell(column.title, header) for column in columns]
    widths = [
        _natural_width(column, texts) for column, *texts in zip(columns, titles, *rows, strict=True)
    ]
    places = _fold(columns, widths, room)
    for row in (titles, *rows):
        for place in places:
            yield place.line(columns, row, paint)


def _natural_width(column: Column, texts: Sequence[Cell]) -> int:
    widest = max(cells(text) for text, _ in texts)
    return widest if column.grows else min(widest, column.most)


class _Line(NamedTuple):
    """A part of a row that stands on one line: which columns, and how wide."""

    indent: str
    widths: dict[int, int]

    def line(self, columns: Sequence[Column], row: Sequence[Cell], paint: Paint) -> str:
        last = max(self.widths)
        parts = []
        for index, width in self.widths.items():
            text = shortened(row[index].text, width)
            if columns[index].right or index != last:
                text = padded(text, width, right=columns[index].right)
            parts.append(paint(text, row[index].style))
        return (self.indent + GAP.join(parts)).rstrip()


def _fold(columns: Sequence[Column], widths: Sequence[int], room: int) -> list[_Line]:
    folded = [_Line("", {})]
    left = room
    for index, (column, width) in enumerate(zip(columns, widths, strict=True)):
        needed = min(width, _LEAST) if column.grows else width
        if folded[-1].widths and needed > left:
            folded.append(_Line(_INDENT, {}))
            left = room - len(_INDENT)
        taken = min(width, max(left, needed)) if column.grows else width
        folded[-1].widths[index] = taken
        left -= taken + len(GAP)
    return folded
