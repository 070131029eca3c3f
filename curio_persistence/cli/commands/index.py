"""Index what search has not indexed yet, or switch search on or off.

Writes do not index: new records are indexed by the next search, or by this command. It may be
interrupted at any time, and continues where it stopped. What was done is said on stderr.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.options import open_for_work
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.errors import UnsupportedError

if TYPE_CHECKING:
    from curio_persistence import Persistence

EXAMPLES = """\
  curio-persistence index
  curio-persistence index --rebuild
  curio-persistence index --disable --db-path agent_sdk.db
  curio-persistence index --enable
"""


def add_arguments(parser: ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--rebuild", action="store_true", help="index everything anew")
    group.add_argument("--enable", action="store_true", help="switch search on, and index")
    group.add_argument(
        "--disable", action="store_true", help="switch search off, and drop the index"
    )


def run(options: Namespace, output: Output) -> int:
    with open_for_work(options) as persistence:
        if options.disable:
            persistence.search.disable()
            say(f"{persistence.location}: search is off.")
            return OK
        if options.enable:
            persistence.search.enable()
        if not persistence.search.enabled:
            raise UnsupportedError(f"{persistence.location} has search switched off: use --enable.")
        indexed = _index(persistence, anew=options.rebuild)
        say(f"{persistence.location}: {_done(indexed, persistence.search.pending())}.")
    return OK


def _done(indexed: int, waiting: int) -> str:
    if waiting:
        return f"{indexed:,} records indexed; {waiting:,} wait, because other programs index them"
    return f"{indexed:,} records indexed" if indexed else "nothing waits to be indexed"


def _index(persistence: Persistence, *, anew: bool) -> int:
    with progress_line("Indexing") as progress:
        if anew:
            return persistence.search.rebuild(progress=progress)
        return persistence.search.index_pending(progress=progress)
