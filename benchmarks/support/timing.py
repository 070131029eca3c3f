"""Ways of doing the same, timed in turn so that disturbances affect all of them."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Any, TypeVar

WRITES_IN_A_ROW = 100

Chunk = Callable[[], int]
"""Makes some calls and returns the nanoseconds they took."""
Samples = list[list[int]]
"""The time of each chunk of one side, in each repetition."""
T = TypeVar("T")
Summary = Callable[[Sequence[float]], float]
"""The summary of the chunks of a repetition."""


@dataclass(frozen=True)
class Timing:
    """A number for each repetition, `raw[n]` and `ours[n]` measured side by side.

    Nanoseconds of one call, unless stated otherwise.
    """

    raw: list[float]
    ours: list[float]

    @property
    def ratios(self) -> list[float]:
        """Return ours relative to raw's."""
        return [ours / raw for raw, ours in zip(self.raw, self.ours, strict=True)]


def sample(
    *sides: Callable[[], T], chunks: int, repetitions: int, warm_up: bool = True
) -> list[list[list[T]]]:
    """Run one chunk of each side in turn, with so many of these rounds for one repetition.

    Returns for each side the repetitions, and for each of them the measurements of its chunks.

    The garbage collector runs as in a program, but does not visit the objects that the
    benchmark itself holds: these are frozen, otherwise each repetition would visit them.
    """
    if warm_up:
        for side in sides:
            side()
    samples: list[list[list[T]]] = [[] for _ in sides]
    for _ in range(repetitions):
        gc.collect()
        gc.freeze()
        rounds = [[side() for side in sides] for _ in range(chunks)]
        for of_side, taken in zip(samples, zip(*rounds, strict=True), strict=True):
            of_side.append(list(taken))
    return samples


def interleave(
    raw: Chunk,
    ours: Chunk,
    *,
    chunks: int,
    repetitions: int,
    calls: int = 1,
    warm_up: bool = True,
) -> Timing:
    """Time raw, ours, raw, ours, …: so many chunks of so many calls make one repetition."""
    samples = sample(raw, ours, chunks=chunks, repetitions=repetitions, warm_up=warm_up)
    return Timing(*(each(side, mean, calls) for side in samples))


def each(samples: Samples, summary: Summary, calls: int = 1) -> list[float]:
    """Return a summary of each repetition, for one call if a chunk has several."""
    return [summary(chunks) / calls for chunks in samples]


def timed(call: Callable[[Any], object], arguments: Iterable[Any]) -> int:
    """Return the nanoseconds of one call with each of the arguments."""
    begin = perf_counter_ns()
    for argument in arguments:
        call(argument)
    return perf_counter_ns() - begin


def timed_each(call: Callable[[Any], object], arguments: Iterable[Any]) -> list[int]:
    """Return the nanoseconds of each of the calls."""
    taken = []
    for argument in arguments:
        begin = perf_counter_ns()
        call(argument)
        taken.append(perf_counter_ns() - begin)
    return taken


def worked(
    call: Callable[[Any], object], arguments: Iterable[Any], sessions: Iterable[int] = ()
) -> int:
    """Return the nanoseconds of processors that the calls took, here and in a server's sessions.

    These do not grow with what other programs do meanwhile, as time does.
    """
    begin = _work(sessions)
    for argument in arguments:
        call(argument)
    return _work(sessions) - begin


def _work(sessions: Iterable[int]) -> int:
    return process_time_ns() + sum(map(_work_of, sessions))


def _work_of(process: int) -> int:
    """Return the nanoseconds of a process on a processor; 0 of one that has ended meanwhile."""
    try:
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[0])
    except FileNotFoundError:
        return 0


def mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def quantile(q: float) -> Summary:
    """Return a summary: the value below which this fraction of all values lies."""
    return lambda values: sorted(values)[min(int(len(values) * q), len(values) - 1)]


def tail(values: Sequence[float]) -> float:
    """Return a summary: p95 relative to p50."""
    return quantile(0.95)(values) / quantile(0.5)(values)
