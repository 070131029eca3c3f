"""Copy all records of one database into another, beside what that has.

Interrupted or killed, run it again: what is there already is not copied twice. Times and event_ids
are kept, and the ids of rows wherever they are free. In the end each run's hash is compared; runs
that differ are told, and the exit code is 1. As JSON, an object with the numbers.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from curio_persistence.cli.arguments.options import (
    add_archive_option,
    add_json_option,
    database_named,
    open_for_export,
    with_archive,
)
from curio_persistence.cli.exit_codes import FAILED, OK
from curio_persistence.cli.kinds import WORDS, told
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from curio_persistence import Persistence

EXAMPLES = """\
  curio-persistence copy agent_sdk.db 'postgresql:///agents?schema=copied'
  curio-persistence copy agent_sdk.db copied.db
  curio-persistence copy second.db
  curio-persistence copy agent_sdk.db whole.db --archive old-runs
"""

_SHOWN = 20


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        nargs="?",
        help="a URL, or the name of a SQLite file; by default the database that is meant below",
    )
    parser.add_argument("destination", metavar="DESTINATION", help="a URL, or the name of a file")
    add_archive_option(parser)
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    from curio_persistence import copy_records

    with (
        _source(options) as source,
        database_named("DESTINATION", options.destination).get_persistence() as destination,
        progress_line("Copying") as progress,
    ):
        report = copy_records(source, destination, progress=progress)
    counts = report.to_dict()
    if output.for_people:
        output.fields({WORDS[kind]: _counted(counts, kind) for kind in told(report)})
    else:
        output.json(counts)
    for run_id in report.differing[:_SHOWN]:
        say(f"Run {run_id!r} is not the same in both.")
    differing = len(report.differing) + report.more_differing
    if differing > _SHOWN:
        say(f"… and {differing - _SHOWN:,} more runs.")
    return OK if report.ok else FAILED


def _counted(counts: Mapping[str, Any], kind: str) -> str:
    return f"{counts[kind]:,}, {counts[f'new_{kind}']:,} of them new"


def _source(options: Namespace) -> Persistence:
    if options.source is None:
        return open_for_export(options)
    if any(given is not None for given in (options.url, options.db_path, options.backend)):
        raise ConfigurationError(
            "The source is named twice: drop it, or drop --url, --db-path and --backend."
        )
    named = database_named("SOURCE", options.source)
    named.get_persistence(read_only=True).close()  # Which tells what is missing.
    return with_archive(named.get_persistence(initialize=False), options.archive)
