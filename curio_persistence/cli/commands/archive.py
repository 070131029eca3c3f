"""Move finished runs that no retention policy keeps into an archive.

DESTINATION is a directory, or the URL of an object store, as s3://bucket/prefix; its credentials
are in the environment (AWS_ACCESS_KEY_ID and so on). Runs are written as Parquet files and read
back before they are deleted. restore brings them back. Otherwise this is what expire does.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.consent import agreed
from curio_persistence.cli.arguments.options import open_for_reading, open_for_work
from curio_persistence.cli.commands import expire
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line

if TYPE_CHECKING:
    from curio_persistence import ExpireReport, Persistence

EXAMPLES = """\
  curio-persistence archive old-runs --older-than 90d --dry-run
  curio-persistence archive old-runs --older-than 90d --yes
  curio-persistence archive old-runs --older-than 12w --yes --pace 1 --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("destination", metavar="DESTINATION", help="a directory or a URL")
    expire.add_arguments(parser)


def run(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence:
        report = expire.plan(persistence, options)
    if report.runs and agreed(options, f"Move them to {options.destination}?"):
        with open_for_work(options) as persistence:
            report = _archive(persistence, options)
        expire.tell(persistence.location, report)
        say(f"They are in {options.destination}.")
    if not output.for_people:
        output.json(report.to_dict())
    return OK


def _archive(persistence: Persistence, options: Namespace) -> ExpireReport:
    from curio_persistence import archive_runs

    with progress_line("Archiving") as progress:
        return archive_runs(
            persistence,
            options.destination,
            progress=progress,
            **expire.choice(persistence, options),
        )
