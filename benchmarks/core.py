"""Measures the package against the bare drivers: `make bench`, or `python benchmarks/core.py`.

`--quick` shows in some seconds that it works; its numbers mean little. RESULTS.md is written by a
full run, and by others only with `--output`.
"""

from __future__ import annotations

import argparse
import compileall
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # For `benchmarks` and `tests.support`, from any working directory.

from benchmarks.cases import CASES, THEMES  # noqa: E402
from benchmarks.support import fill, report  # noqa: E402
from benchmarks.support.workspace import Sizes, Workspace, disk  # noqa: E402
from tests.support.postgres import PostgresServer  # noqa: E402
from tests.support.server import ServerUnavailable  # noqa: E402

_FULL = Sizes(
    repetitions=7,
    slow_repetitions=3,
    rounds=100,
    writes=2_000,
    batched=25_000,
    runs=100,
    history_runs=1_000,
    usage_rows=1_000_000,
    metrics=1_000_000,
)
_QUICK = Sizes(
    repetitions=3,
    slow_repetitions=1,
    rounds=100,
    writes=400,
    batched=2_000,
    runs=10,
    history_runs=20,
    usage_rows=20_000,
    metrics=20_000,
)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    # As in an installed package: some environments do not write bytecode when they import.
    compileall.compile_dir(ROOT / "curio_persistence", quiet=2)
    begin = time.monotonic()
    with ExitStack() as stack:
        directory = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="curio-bench-", dir=options.directory)
            )
        )
        names = options.only or list(CASES)
        dsn = options.postgres
        if own_server := not dsn and any(name.startswith("postgres-") for name in names):
            dsn = _start_postgres(stack)
        work = Workspace(_sizes(options), directory, dsn, stack, own_server=own_server)
        lines = {name: _measure(name, work) for name in names}
        known = report.facts(directory, fill.server_version(dsn) if dsn else None)
    themes = _by_theme(lines)
    print(report.tables(themes))
    print(f"{time.monotonic() - begin:.0f} s", file=sys.stderr)
    is_full = not options.only and work.sizes == _FULL
    if output := options.output or (report.RESULTS if is_full else None):
        output.write_text(report.page(themes, known, work.sizes), encoding="utf-8")


def _by_theme(measured: Mapping[str, Sequence[report.Line]]) -> dict[str, list[report.Line]]:
    themes = {
        theme: [line for name in cases for line in measured.get(name, ())]
        for theme, cases in THEMES.items()
    }
    return {theme: lines for theme, lines in themes.items() if lines}


def _measure(name: str, work: Workspace) -> list[report.Line]:
    print(f"{name} …", end=" ", file=sys.stderr, flush=True)
    begin = time.monotonic()
    lines = list(CASES[name](work))
    print(f"{time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return lines


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("only", nargs="*", metavar="CASE", help=f"{', '.join(CASES)} (default: all)")
    add("--quick", action="store_true", help="smaller tables and fewer repetitions")
    add("--repetitions", type=int, metavar="N", help="how often each case is measured")
    add("--slow-repetitions", type=int, metavar="N", help="the same, for cases that take seconds")
    add("--rounds", type=int, metavar="N", help="the maximum number of queries in each repetition")
    add("--writes", type=int, metavar="N", help="single events written in each repetition")
    add("--batched", type=int, metavar="N", help="rows written in batches in each repetition")
    add("--runs", type=int, metavar="N", help="runs of 1,000 events in cases that write events")
    add("--history-runs", type=int, metavar="N", help="the same, in cases that read all events")
    add("--usage-rows", type=int, metavar="N", help="rows in the tables of usage")
    add("--metrics", type=int, metavar="N", help="values of a metric")
    add("--output", type=Path, metavar="FILE", help="the page to write")
    add("--directory", type=Path, default=disk(), help="for SQLite files (default: %(default)s)")
    add("--postgres", metavar="DSN", default="", help="a server to use instead of a new one")
    options = parser.parse_args(arguments)
    if unknown := set(options.only) - set(CASES):
        parser.error(f"no case {', '.join(sorted(unknown))}: {', '.join(CASES)}")
    return options


def _sizes(options: argparse.Namespace) -> Sizes:
    given = {field.name: getattr(options, field.name) for field in fields(Sizes)}
    return replace(
        _QUICK if options.quick else _FULL,
        **{name: value for name, value in given.items() if value is not None},
    )


def _start_postgres(stack: ExitStack) -> str:
    """Return the DSN of a server of our own."""
    try:
        return stack.enter_context(PostgresServer()).dsn
    except ServerUnavailable as error:
        sys.exit(f"{error}\nOr name the cases that need none.")


if __name__ == "__main__":
    main()
