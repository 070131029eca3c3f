"""Measures the console on a million events: `python benchmarks/console.py`.

The history takes 1.5 GB and some minutes. `--quick` shows in some seconds that it works. A full run
writes CONSOLE.md; others write only with `--output`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # For `benchmarks` and `tests.support`, from any working directory.

from benchmarks.support import report  # noqa: E402
from benchmarks.support.console_browser import browser_lines  # noqa: E402
from benchmarks.support.console_history import History, now  # noqa: E402
from benchmarks.support.console_pages import page_lines, reading_lines  # noqa: E402
from benchmarks.support.console_viewers import viewer_lines  # noqa: E402
from benchmarks.support.workspace import disk  # noqa: E402
from curio_persistence import SQLitePersistence  # noqa: E402

PAGE = Path(__file__).with_name("CONSOLE.md")
_TEXT = """\
# What a page of the console costs

Written by `make bench-console`. {facts}.

{events:,} events, {calls:,} model calls and {runs:,} runs of 90 days, in a SQLite file of
{megabytes:,} MB. One run has 10,000 steps. Times are processor time of the whole process, medians
of {rounds} rounds in which the pages take turns; *p95* is the 95th percentile of the rounds.
*Budget* is what a page was meant to cost; `!` marks what costs more. {load}

## Pages

{pages}

## Readings, and the fewest statements of the bare driver for the same

{readings}

## In a browser

{browser}

## While events are stored

{viewers}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    begin = time.monotonic()
    with _database(options) as path:
        print(f"history after {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
        with SQLitePersistence(path, search=False) as persistence:
            text = _TEXT.format(
                facts=" · ".join(report.facts(path.parent, None)),
                events=persistence.count_events(),
                calls=persistence.count_llm_usage(),
                runs=persistence.count_agent_runs(),
                megabytes=path.stat().st_size // 10**6,
                rounds=options.rounds,
                load=_load(),
                pages=_table(page_lines(persistence, options.rounds)),
                readings=_table(reading_lines(path, persistence, options.rounds)),
                browser=_table(browser_lines(persistence, options.chromium)),
                viewers=_table(viewer_lines(path, options.seconds)),
            )
    print(text)
    print(f"{time.monotonic() - begin:.0f} s", file=sys.stderr)
    if output := options.output or (None if options.quick or options.database else PAGE):
        output.write_text(text, encoding="utf-8")


def _load() -> str:
    """Return what else the machine does."""
    running = os.getloadavg()[0]
    return f"Other programs kept the machine busy: its load was {running:.0f}." * (running > 2)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="a small history and few rounds")
    add("--database", type=Path, metavar="FILE", help="a history that an earlier run has kept")
    add("--keep", type=Path, metavar="FILE", help="where to keep the history")
    add("--output", type=Path, metavar="FILE", help="the page to write")
    add("--chromium", default="/usr/bin/chromium", help="the browser (default: %(default)s)")
    add("--directory", type=Path, default=disk(), help="for the history (default: %(default)s)")
    options = parser.parse_args(arguments)
    options.events = 5_000 if options.quick else 1_000_000
    options.rounds = 3 if options.quick else 21
    options.seconds = 2 if options.quick else 10
    return options


@contextmanager
def _database(options: argparse.Namespace) -> Iterator[Path]:
    """Yield the path of the history, which is made if none is given."""
    if options.database:
        yield options.database
        return
    with tempfile.TemporaryDirectory(prefix="curio-bench-", dir=options.directory) as folder:
        path = options.keep or Path(folder, "console.db")
        with SQLitePersistence(path, search=False, prices=False) as persistence:
            History(options.events, now()).store(persistence)
        yield path


def _table(lines: Iterator[Sequence[str]]) -> str:
    heading, *rows = lines
    rule = ["-" * len(each) for each in heading]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heading, rule, *rows))


if __name__ == "__main__":
    main()
