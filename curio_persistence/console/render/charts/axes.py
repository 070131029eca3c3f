"""Axes with round numbers, and the places of values on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from math import ceil, floor, isfinite, log10
from typing import NamedTuple

_LARGEST, _LEAST = 1e300, 1e-290
"""Beyond these the steps of an axis would not be finite, or not be numbers that differ."""
_NEARLY = 1e-9
_ROUND = (1, 2, 5, 10)


class Axis(NamedTuple):
    """Round numbers from the lowest to the highest."""

    ticks: tuple[float, ...]

    def share(self, value: int | float | Decimal) -> float:
        """Return how far up a value stands, from 0 to 1."""
        low, high = self.ticks[0], self.ticks[-1]
        return min(max((drawn(value) - low) / (high - low), 0.0), 1.0)


def drawn(value: int | float | Decimal) -> float:
    """Return a value as a number that can be calculated with."""
    try:
        number = float(value)
    except OverflowError:
        number = _LARGEST if value > 0 else -_LARGEST
    if not isfinite(number) or abs(number) < _LEAST:
        return 0.0
    return min(max(number, -_LARGEST), _LARGEST)


def axis_of(
    values: Iterable[int | float | Decimal],
    *,
    steps: int = 4,
    whole: bool = False,
    zero: bool = True,
) -> Axis:
    """Return an axis that has all values in about as many steps.

    It begins at zero unless `zero` is False, and has whole numbers only if `whole`.
    """
    low, high = _ends([drawn(value) for value in values] or [0.0], zero=zero)
    step = _step((high / steps - low / steps), whole=whole)
    # Three tenths divided by a tenth is not quite three.
    numbers = range(floor(low / step + _NEARLY), ceil(high / step - _NEARLY) + 1)
    return Axis(tuple(float(f"{number * step:.12g}") for number in numbers))


def _ends(numbers: Sequence[float], *, zero: bool) -> tuple[float, float]:
    """Return two numbers that differ, between which all of these stand."""
    low, high = min(numbers), max(numbers)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    around = max(abs(low), abs(high)) / 2
    if high / 2 - low / 2 > around * _NEARLY:
        return low, high
    return (low - around, high + around) if around else (0.0, 1.0)


def _step(least: float, *, whole: bool) -> float:
    """Return the round number that is not below `least`."""
    power = floor(log10(least))
    tenfold = 10.0 ** (max(power, 0) if whole else power)
    return next(size * tenfold for size in _ROUND if size * tenfold >= least * (1 - _NEARLY))


def every(columns: int, *, most: int = 10) -> int:
    """Return the distance between labelled columns, so that at most `most` have a label."""
    return max(ceil(columns / most), 1)
