"""Two ways of doing the same, timed in turn so that whatever disturbs one disturbs the other."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

WRITES_IN_A_ROW = 100

Chunk = Callable[[], int]
"""Makes some calls and returns how many nanoseconds they took."""


@dataclass(frozen=True)
class Timing:
    """Nanoseconds of one call in each repetition, `raw[n]` and `ours[n]` measured side by side."""

    raw: list[float]
    ours: list[float]

    @property
    def ratios(self) -> list[float]:
        """Our time in terms of raw's."""
        return [ours / raw for raw, ours in zip(self.raw, self.ours, strict=True)]


def interleave(raw: Chunk, ours: Chunk, *, chunks: int, repetitions: int, calls: int = 1) -> Timing:
    """Time raw, ours, raw, ours, …: so many chunks of so many calls make one repetition.

    The garbage collector runs as it does in a program, but does not look through what the
    benchmark itself holds.
    """
    raw()
    ours()
    times = Timing([], [])
    for _ in range(repetitions):
        gc.collect()
        gc.freeze()
        pairs = [(raw(), ours()) for _ in range(chunks)]
        gc.unfreeze()
        times.raw.append(sum(taken for taken, _ in pairs) / chunks / calls)
        times.ours.append(sum(taken for _, taken in pairs) / chunks / calls)
    return times


def timed(call: Callable[[Any], object], arguments: Iterable[Any]) -> int:
    """The nanoseconds that one call with each of the arguments takes."""
    begin = perf_counter_ns()
    for argument in arguments:
        call(argument)
    return perf_counter_ns() - begin


def median(values: Iterable[float]) -> float:
    return statistics.median(values)
