"""Measures as SQL expressions, and the numbers made of their values.

Databases add floats in the order in which they meet them, and round each time. Here they add
integers: each float is cut into two of them, whose sums tell the sum of the floats exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from curio_persistence.store.aggregates import as_number, average, one_zero

_SMALLEST, _LARGEST = 1e-9, 4e12
"""Between these, and at zero, a float is a multiple of 2^-82, and less than 2^42."""
_MASK = 2**31 - 1
_ONE = 2**82


class OutOfRange(Exception):
    """A float is too large, or too small, to be added as integers."""


class Expressions(NamedTuple):
    """The expressions of a measure, and the function that makes one number of their values."""

    texts: tuple[str, ...]
    combine: Callable[..., Any] = one_zero


def exact_sums(column: str) -> tuple[str, ...]:
    """Return the sums of both integers, each in an upper and a lower half, lest they overflow.

    Multiplied by powers of two, and with its whole part taken away, a float stays exact.
    """
    scaled = f"({column} * 1048576.0)"
    whole = f"CAST({scaled} AS BIGINT)"
    rest = f"CAST(({scaled} - {whole}) * 4611686018427387904.0 AS BIGINT)"
    halves = [half for part in (whole, rest) for half in (f"{part} >> 31", f"{part} & {_MASK}")]
    return (
        *(f"sum({half})" for half in halves),
        f"max(abs({column}))",
        f"min(nullif(abs({column}), 0))",
    )


def sum_of_reals(*sums: Any) -> Any:
    return None if sums[0] is None else as_number(_exact(*sums))


def average_of_reals(*sums: Any) -> Any:
    *sums_and_extremes, count = sums
    return average(_exact(*sums_and_extremes), count) if count else None


def _exact(
    upper: int, lower: int, rest_upper: int, rest_lower: int, largest: float, smallest: float | None
) -> float:
    if largest > _LARGEST or (smallest is not None and smallest < _SMALLEST):
        raise OutOfRange
    return ((((upper << 31) + lower) << 62) + (rest_upper << 31) + rest_lower) / _ONE


def sum_of_integers(total: int | None) -> int | None:
    return total


def average_of_integers(total: int | None, count: int) -> Any:
    return None if total is None else average(total, count)
