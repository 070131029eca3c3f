"""The number of rounds of randomised tests: few, unless `CURIO_SOAK` multiplies them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count

FACTOR = int(os.environ.get("CURIO_SOAK", "1"))


def times(rounds: int) -> range:
    """Return this number of rounds, multiplied by `CURIO_SOAK`."""
    return range(rounds * FACTOR)


def points(first: int, step: int) -> Iterator[int]:
    """Yield 0, 1, 2 and so on: each of the `first` points, then every `step`-th without end.

    For tests that stop an action at each of its points in turn; `CURIO_SOAK` tests all of them.
    """
    yield from range(first)
    yield from count(first, 1 if FACTOR > 1 else step)
