"""Measures writing to a table that has millions of rows: `python benchmarks/scale.py`.

Ten million take seven gigabytes and some minutes. `--quick` shows in some seconds that it works.
A full run writes SCALE.md; others write only with `--output`.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # For `benchmarks`, from any working directory.

from benchmarks.raw import RawSQLite  # noqa: E402
from benchmarks.support import fill, report, rows  # noqa: E402
from benchmarks.support.report import Goal, Line, rows_per_second  # noqa: E402
from benchmarks.support.timing import Chunk, interleave, timed  # noqa: E402
from benchmarks.support.workspace import disk  # noqa: E402
from curio_persistence import AgentRunEvent, SQLitePersistence  # noqa: E402

_FULL = (0, 1_000_000, 10_000_000)
_QUICK = (0, 20_000)
_REPETITIONS = 11
_BATCH = 1_000
_SINGLES = 100
_WRITTEN_RUNS = range(20)
PAGE = Path(__file__).with_name("SCALE.md")
_TEXT = """\
# Writing beside millions of rows

Written by `make bench-scale`. {facts}.

{table}

Raw and ours write to the same file in turn, {singles} single events or one batch each, so that both
find the same number of rows, and the same neighbours in every index. Raw has our
`wal_autocheckpoint`, since the side that fills the log checkpoints it for both. The table without
events has those written into it meanwhile.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="curio-bench-", dir=options.directory) as folder:
        path = Path(folder, "events.db")
        lines = list(_lines(path, sorted(options.rows), options.repetitions))
        known = report.facts(path.parent, None)
    table = report.table(lines)
    print(table)
    print(f"{time.monotonic() - begin:.0f} s", file=sys.stderr)
    is_full = tuple(options.rows) == _FULL and options.repetitions == _REPETITIONS
    if output := options.output or (PAGE if is_full else None):
        text = _TEXT.format(facts=" · ".join(known), table=table, singles=_SINGLES)
        output.write_text(text, encoding="utf-8")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--rows", type=int, nargs="+", metavar="N", help="how many rows to measure at")
    add("--quick", action="store_true", help="small tables and few repetitions")
    add("--repetitions", type=int, metavar="N", help="how often each is measured")
    add("--output", type=Path, metavar="FILE", help="the page to write")
    add("--directory", type=Path, default=disk(), help="for the file (default: %(default)s)")
    options = parser.parse_args(arguments)
    options.rows = options.rows or (_QUICK if options.quick else _FULL)
    options.repetitions = options.repetitions or (2 if options.quick else _REPETITIONS)
    return options


def _lines(path: Path, sizes: Iterable[int], repetitions: int) -> Iterator[Line]:
    fill.sqlite_file(path, fill.events(0, 0, idle=len(_WRITTEN_RUNS)))
    runs = len(_WRITTEN_RUNS)
    for size in sizes:
        more = max(size - _count(path), 0) // rows.EVENTS_OF_A_RUN
        print(f"{size:,} …", file=sys.stderr, flush=True)
        fill.sqlite_rows(path, fill.events(more, rows.EVENTS_OF_A_RUN, first=runs))
        runs += more
        with path.open("rb+") as file:
            os.fsync(file)
        yield from _measured(path, size, repetitions)


def _count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        [(count,)] = connection.execute("SELECT count(*) FROM agent_run_events")
    return int(count)


def _measured(path: Path, size: int, repetitions: int) -> Iterator[Line]:
    stored = f"{size:,} events stored" if size else "no event stored"
    with (
        SQLitePersistence(path) as ours,
        closing(RawSQLite(path)) as raw,
    ):
        yield Line(
            f"{stored}: one event per call",
            Goal(0.85, 0.92, "speed"),
            interleave(
                _one_by_one(raw.log_event),
                _one_by_one(ours.log_agent_run_event),
                calls=_SINGLES,
                chunks=5,
                repetitions=repetitions,
            ),
        )
        yield Line(
            f"{stored}: batches of {_BATCH:,}",
            Goal(0.72, 0.85, "speed"),
            interleave(
                _together(raw.log_events),
                _together(ours.log_agent_run_events),
                calls=_BATCH,
                chunks=5,
                repetitions=repetitions,
            ),
            unit=rows_per_second,
        )


def _one_by_one(write: Callable[[AgentRunEvent], object]) -> Chunk:
    events = _events()
    return lambda: timed(write, events.take(_SINGLES))


def _together(write: Callable[[list[AgentRunEvent]], object]) -> Chunk:
    events = _events()
    return lambda: timed(write, [events.take(_BATCH)])


def _events() -> rows.EventStream:
    return rows.EventStream(_WRITTEN_RUNS, now=lambda: datetime.now(UTC))


if __name__ == "__main__":
    main()
