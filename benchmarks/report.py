"""What was measured, as a table beside what was wanted."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from benchmarks.rows import EVENTS_OF_A_RUN
from benchmarks.timing import WRITES_IN_A_ROW, Timing, median
from benchmarks.workspace import Sizes

Scale = Literal["speed", "time", "added"]

_UNITS = (("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1.0))
_HEADINGS = ("", "raw", "ours", "ratio", "spread", "floor", "aim", "")
_PAGE = """\
# What a call costs

Written by `make bench`. {facts}.

{table}

*Raw* is the same work by hand through the bare driver (`benchmarks/raw.py`): the same dataclasses
encoded without any check, into the same tables with the same indexes, foreign keys and settings
(SQLite: WAL, `synchronous=NORMAL`, `foreign_keys=ON`; PostgreSQL: autocommit, `RETURNING id`), one
open connection, constant statement texts; reading yields bare tuples; statistics take the fastest
statements found. Both sides are checked to give the same answer before they are measured.

One process measures both sides in turn: {writes_in_a_row} writes of raw, {writes_in_a_row} of ours,
…, or one read each. This is repeated {repetitions} times: {writes:,} writes, 20 reads, or one
summary of all agents. Times are the medians per call, the ratio is the median of the ratios of the
repetitions, *spread* their extremes. The garbage collector runs as it does in a program. With
PostgreSQL this process and the server's sessions have processors of their own.

The written events, and those that are read, are in tables of {events:,}, with about 280 bytes of
JSON each; one in twenty is a tool call. Writes are compared by speed, ours in terms of raw's;
everything else by time; an import by what it adds to the start of an interpreter.
"""


@dataclass(frozen=True)
class Goal:
    """How good is good enough, and how good it should be.

    On the scale `speed`, how fast we are in terms of raw (more is better); on `time`, how much time
    we take in terms of raw; on `added`, how many milliseconds we add to it (less is better).
    """

    floor: float
    aim: float
    scale: Scale = "time"

    def values(self, timing: Timing) -> list[float]:
        """What each repetition says, on this scale."""
        if self.scale == "added":
            pairs = zip(timing.ours, timing.raw, strict=True)
            return [(ours - raw) / 1e6 for ours, raw in pairs]
        return [1 / ratio if self.scale == "speed" else ratio for ratio in timing.ratios]

    def verdict(self, value: float) -> str:
        if self._reaches(value, self.aim):
            return "aim met"
        return "floor met" if self._reaches(value, self.floor) else "**missed**"

    def _reaches(self, value: float, mark: float) -> bool:
        return value >= mark if self.scale == "speed" else value <= mark

    def mark(self, value: float) -> str:
        return f"{'≥' if self.scale == 'speed' else '≤'} {self.number(value)}"

    def number(self, value: float) -> str:
        match self.scale:
            case "speed":
                return f"{value:.2f}"
            case "time":
                return f"{value:.2f} ×"
            case "added":
                return f"{value:.0f} ms"


@dataclass(frozen=True)
class Line:
    """One line of the table. `remark` tells what a number cannot."""

    title: str
    goal: Goal
    timing: Timing
    remark: str = ""

    def cells(self) -> tuple[str, ...]:
        values = self.goal.values(self.timing)
        middle = median(values)
        number = self.goal.number
        return (
            self.title,
            _duration(median(self.timing.raw)),
            _duration(median(self.timing.ours)),
            number(middle),
            f"{number(min(values))} … {number(max(values))}",
            self.goal.mark(self.goal.floor),
            self.goal.mark(self.goal.aim),
            self.goal.verdict(middle) + (f" ({self.remark})" if self.remark else ""),
        )


def table(lines: Iterable[Line]) -> str:
    """All lines, in columns that are straight in a terminal as well."""
    rows = [_HEADINGS, *(line.cells() for line in lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
        for row in rows
    )


def page(lines: Sequence[Line], known: Sequence[str], sizes: Sizes) -> str:
    """RESULTS.md."""
    return _PAGE.format(
        facts=" · ".join(known),
        table=table(lines),
        repetitions=sizes.repetitions,
        writes=sizes.writes,
        writes_in_a_row=WRITES_IN_A_ROW,
        events=sizes.runs * EVENTS_OF_A_RUN,
    )


def facts(directory: Path, postgres: str | None) -> Sequence[str]:
    """What the numbers depend on beside the code."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}",
        f"{os.cpu_count()} processors ({platform.machine()}, {platform.system()})",
        f"Python {platform.python_version()}",
        f"SQLite {sqlite3.sqlite_version}, in {directory} ({_filesystem(directory)})",
        f"PostgreSQL {postgres}, over a Unix socket" if postgres else "no PostgreSQL",
    )


def _duration(nanoseconds: float) -> str:
    """Three digits and a unit."""
    unit, size = next((u for u in _UNITS if nanoseconds >= u[1]), _UNITS[-1])
    value = nanoseconds / size
    return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f} {unit}"


def _filesystem(directory: Path) -> str:
    """The kind of file system, where the system tells."""
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
