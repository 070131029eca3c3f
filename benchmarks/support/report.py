"""The results as tables beside the goals."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from benchmarks.support.rows import EVENTS_OF_A_RUN
from benchmarks.support.timing import WRITES_IN_A_ROW, Timing, median
from benchmarks.support.workspace import Sizes

ScaleName = Literal["speed", "times", "time", "added", "over", "alone"]
Unit = Callable[[float], str]
"""Formats a measured number."""

_HEADINGS = ("", "raw", "ours", "ratio", "spread", "floor", "aim", "")
RESULTS = Path(__file__).parents[1] / "RESULTS.md"
_PAGE = """\
# What a call costs

Written by `make bench`. {facts}.

{tables}

## How it was measured

*Raw* is the same work by hand with the bare driver (`benchmarks/raw`): the same dataclasses
encoded without any check, into the same tables with the same indexes, foreign keys and settings
(SQLite: WAL, `synchronous=NORMAL`, `foreign_keys=ON`; PostgreSQL: autocommit, `RETURNING id`), one
open connection, constant statement texts. Reading returns bare tuples, and statistics use the
fastest statements found. The results of both sides, or their stored rows, are checked to be equal.
If a line says *against* something else, the column *raw* has the numbers of that.

One process measures both sides in turn: {writes_in_a_row} writes of raw, {writes_in_a_row} of ours,
…, or one read each, or one batch. This is repeated {repetitions} times: {writes:,} writes,
{batched:,} rows in batches, 20 reads, or one summary of all agents; {slow_repetitions} times if
it takes seconds. Times are the medians per call, the ratio is the median of the ratios of the
repetitions, *spread* their extremes. The garbage collector runs as in a program. With PostgreSQL
this process and the server's sessions have separate processors, and the server does not wait for
its disk.

Events are written to, and a run's events are read from, tables of {events:,} events at first, with
about 280 bytes of JSON each; one in twenty is a tool call. Every side that writes has its own
tables, which grow alike. Writes are compared by speed, ours relative to raw's; everything else by
time; an import by the time that it adds to the start of an interpreter.
"""


class Scale(NamedTuple):
    """A way to combine the two numbers of a repetition into the judged one."""

    judge: Callable[[float, float], float]
    """Combines raw's number and ours."""
    shown: Unit | None
    """The unit of the line, if None."""
    more_is_better: bool = False


def _ratio(value: float) -> str:
    return f"{value:.2f} ×"


SCALES: Mapping[ScaleName, Scale] = {
    # Our speed relative to raw.
    "speed": Scale(lambda raw, ours: raw / ours, lambda value: f"{value:.2f}", True),
    # The same, if we should be much faster.
    "times": Scale(lambda raw, ours: raw / ours, _ratio, True),
    # Our time relative to raw.
    "time": Scale(lambda raw, ours: ours / raw, _ratio),
    # The milliseconds that we add.
    "added": Scale(lambda raw, ours: (ours - raw) / 1e6, lambda value: f"{value:.0f} ms"),
    # The time that we take beyond raw.
    "over": Scale(lambda raw, ours: ours - raw, None),
    # Our own number, independent of raw's.
    "alone": Scale(lambda raw, ours: ours, None),
}


@dataclass(frozen=True)
class Goal:
    """The required and the desired value on one of the scales.

    None is for a number that is only informative.
    """

    floor: float | None
    aim: float | None
    scale: ScaleName = "time"

    def verdict(self, value: float) -> str:
        if self.floor is None or self.aim is None:
            return ""
        if self._reaches(value, self.aim):
            return "aim met"
        return "floor met" if self._reaches(value, self.floor) else "**missed**"

    def _reaches(self, value: float, mark: float) -> bool:
        return value >= mark if SCALES[self.scale].more_is_better else value <= mark

    def mark(self, value: float | None, number: Unit) -> str:
        if value is None:
            return ""
        return f"{'≥' if SCALES[self.scale].more_is_better else '≤'} {number(value)}"


def duration(nanoseconds: float) -> str:
    """Format with three digits and a unit."""
    return _three_digits(nanoseconds, (("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1.0)))


def rows_per_second(nanoseconds: float) -> str:
    """Format the rate for the time that a row takes."""
    return _three_digits(1e9 / nanoseconds, (("M/s", 1e6), ("k/s", 1e3), ("/s", 1.0)))


def megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB"


def factor(value: float) -> str:
    return f"{value:.1f} ×"


@dataclass(frozen=True)
class Line:
    """One line of the table. `remark` adds what numbers cannot express.

    `at_most` is the limit of our own number, independent of raw's.
    """

    title: str
    goal: Goal
    timing: Timing
    remark: str = ""
    unit: Unit = duration
    at_most: float | None = None

    def cells(self) -> tuple[str, ...]:
        goal, scale = self.goal, SCALES[self.goal.scale]
        values = list(map(scale.judge, self.timing.raw, self.timing.ours))
        number = scale.shown or self.unit
        return (
            self.title,
            self.unit(median(self.timing.raw)),
            self.unit(median(self.timing.ours)),
            number(median(values)),
            f"{number(min(values))} … {number(max(values))}",
            goal.mark(goal.floor, number),
            goal.mark(goal.aim, number),
            ", ".join(filter(None, (goal.verdict(median(values)), self._limit(), self.remark))),
        )

    def _limit(self) -> str:
        if self.at_most is None:
            return ""
        reached = median(self.timing.ours) <= self.at_most
        return f"{'within' if reached else '**missed** the'} {self.unit(self.at_most)}"


def table(lines: Iterable[Line]) -> str:
    return in_columns([_HEADINGS, *(line.cells() for line in lines)])


def in_columns(rows: list[tuple[str, ...]]) -> str:
    """Return a table of cells, headings first, with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    headings, *others = rows
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
        for row in (headings, tuple("-" * width for width in widths), *others)
    )


def tables(themes: Mapping[str, Sequence[Line]]) -> str:
    """Return a table for each theme, below its heading."""
    return "\n\n".join(f"## {theme}\n\n{table(lines)}" for theme, lines in themes.items())


def page(themes: Mapping[str, Sequence[Line]], known: Sequence[str], sizes: Sizes) -> str:
    """Return the text of RESULTS.md."""
    return _PAGE.format(
        facts=" · ".join(known),
        tables=tables(themes),
        repetitions=sizes.repetitions,
        slow_repetitions=sizes.slow_repetitions,
        writes=sizes.writes,
        batched=sizes.batched,
        writes_in_a_row=WRITES_IN_A_ROW,
        events=sizes.runs * EVENTS_OF_A_RUN,
    )


def facts(directory: Path, postgres: str | None) -> Sequence[str]:
    """Return the facts, apart from the code, on which the numbers depend."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}",
        f"{os.cpu_count()} processors ({platform.machine()}, {platform.system()})",
        f"Python {platform.python_version()}",
        f"SQLite {sqlite3.sqlite_version}, on {_filesystem(directory)}",
        *([f"PostgreSQL {postgres}, over a Unix socket"] if postgres else []),
    )


def _filesystem(directory: Path) -> str:
    """Return the type of the file system, if the system reports it."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "file system unknown"
    above = [
        (len(Path(mount[1]).parts), mount[2])
        for mount in mounts
        if directory.resolve().is_relative_to(mount[1])
    ]
    return max(above, default=(0, "file system unknown"))[1]


def _three_digits(value: float, units: Sequence[tuple[str, float]]) -> str:
    """Format in the largest unit with a digit before the point."""
    unit, size = next((u for u in units if value >= u[1]), units[-1])
    value /= size
    return f"{value:.{max(0, 3 - len(str(int(value))))}f} {unit}"
