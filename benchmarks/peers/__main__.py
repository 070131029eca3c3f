"""Compares the package with others from PyPI: `make bench-peers`.

Each of them is installed into its own environment in `.venv-peers`, and stays there.
`--quick` shows in half a minute that it works; its numbers mean little. PEERS.md is written by a
full run, and by others only with `--output`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)  # For `benchmarks`, from any working directory.

from benchmarks.peers import page  # noqa: E402
from benchmarks.peers.crew import assemble  # noqa: E402
from benchmarks.peers.measure import OURS, RAW, Comparison, Sizes  # noqa: E402
from benchmarks.peers.sides import SIDES  # noqa: E402
from benchmarks.support import report  # noqa: E402

_FULL = Sizes(
    repetitions=7,
    written_to=100_000,
    listed=1_000_000,
    usage_rows=1_000_000,
    singles=500,
    in_hundreds=2_000,
    in_thousands=5_000,
)
_QUICK = Sizes(
    repetitions=2,
    written_to=5_000,
    listed=10_000,
    usage_rows=10_000,
    singles=50,
    in_hundreds=200,
    in_thousands=1_000,
)
_ALWAYS = (RAW, OURS)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    begin = time.monotonic()
    sizes = _sizes(options)
    names = [name for name in SIDES if name in _ALWAYS or not options.only or name in options.only]
    with ExitStack() as stack:
        directory = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="curio-peers-", dir=options.directory)
            )
        )
        peers = assemble(names, directory, stack)
        results = Comparison(peers, sizes, directory, _tell).run()
        known = report.facts(directory, None)[:-1]
    print(page.tables(results))
    _tell(f"{time.monotonic() - begin:.0f} s")
    output = options.output or (
        None if options.quick or options.only else ROOT / "benchmarks" / "PEERS.md"
    )
    if output:
        output.write_text(page.page(results, known, sizes), encoding="utf-8")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__.partition("\n")[0]
    )
    add = parser.add_argument
    add("only", nargs="*", metavar="SIDE", help=f"beside us: {', '.join(SIDES)} (default: all)")
    add("--quick", action="store_true", help="smaller tables and fewer repetitions")
    add("--repetitions", type=int, metavar="N", help="how often everything is measured")
    add("--written-to", type=int, metavar="N", help="events in the tables that are written to")
    add("--listed", type=int, metavar="N", help="events in the tables of which pages are listed")
    add("--usage-rows", type=int, metavar="N", help="model calls of which statistics are computed")
    add("--singles", type=int, metavar="N", help="events written one by one in a repetition")
    add("--in-hundreds", type=int, metavar="N", help="events written in batches of 100")
    add("--in-thousands", type=int, metavar="N", help="events written in batches of 1,000")
    add("--output", type=Path, metavar="FILE", help="the page to write")
    add("--directory", type=Path, default=_disk(), help="for SQLite files (default: %(default)s)")
    options = parser.parse_args(arguments)
    if unknown := set(options.only) - set(SIDES):
        parser.error(f"no side {', '.join(sorted(unknown))}: {', '.join(SIDES)}")
    return options


def _disk() -> Path:
    """Return a directory for temporary files on a disk; /tmp is often memory."""
    lasting = Path("/var/tmp")
    return lasting if lasting.is_dir() else Path(tempfile.gettempdir())


def _sizes(options: argparse.Namespace) -> Sizes:
    given = {field.name: getattr(options, field.name) for field in fields(Sizes)}
    return replace(
        _QUICK if options.quick else _FULL,
        **{name: value for name, value in given.items() if value is not None},
    )


if __name__ == "__main__":
    main()
