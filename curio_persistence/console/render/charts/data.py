"""The data of a chart: columns from left to right, and series with a value in some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

Number = int | float | Decimal
Values = Mapping[int, Number | None]
"""Values by the number of their column. None is one that is unknown; a column may have none."""

COLOURS = 8
"""Colours of series; the series behind these are added up to one, which has no colour."""
OTHERS = "s-others"
NOTHING = "–"


class Column(NamedTuple):
    """A period or a range: its whole name, what stands below it, and where it leads."""

    title: str
    label: str
    href: str


class Series(NamedTuple):
    """Values of one kind, and the class of their colour."""

    name: str
    values: Values
    colour: str = "s1"


@dataclass(frozen=True)
class Chart:
    """A chart; `label` names it to readers who do not see it, `heading` the kind of its columns."""

    label: str
    heading: str
    columns: Sequence[Column]
    series: Sequence[Series]
    say: Callable[[Any], str]

    def values(self, column: int) -> list[str]:
        """Return what each series has in a column, as text."""
        return [
            self.say(each.values[column]) if column in each.values else NOTHING
            for each in self.series
        ]

    def told(self, column: int) -> str:
        """Return the title of a column, and below it a line for each value that there is."""
        told = zip(self.series, self.values(column), strict=True)
        values = (f"{series.name}: {text}" for series, text in told if column in series.values)
        return "\n".join((self.columns[column].title, *values))


def leading(series: Iterable[tuple[str, Values]], *, most: int = COLOURS) -> list[Series]:
    """Return the first series with colours: those of values that cannot be added up."""
    return [
        Series(name, values, f"s{n}") for n, (name, values) in enumerate(series, 1) if n <= most
    ]


def with_others(series: Iterable[tuple[str, Values]], *, most: int = COLOURS) -> list[Series]:
    """Return series with colours in this order; those behind the first `most` become "others"."""
    given = list(series)
    shown = leading(given, most=most)
    rest = [values for _, values in given[most:]]
    return [*shown, *([Series(f"{len(rest)} others", _sum(rest), OTHERS)] if rest else [])]


def _sum(many: Sequence[Values]) -> Values:
    """Add up values by column; one is unknown where all of them are."""
    total: dict[int, Number | None] = {}
    for values in many:
        for column, value in values.items():
            known = total.get(column)
            total[column] = value if known is None else known + (value or 0)  # type: ignore[operator]
    return total
