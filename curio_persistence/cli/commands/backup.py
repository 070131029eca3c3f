"""Write a copy of the whole database while agents go on writing.

DEST is a file, if it has an ending such as .db; or else a directory, or the URL of an object store
such as s3://bucket/prefix, whose credentials are in the environment (AWS_ACCESS_KEY_ID and so on).
There the copy gets the name of the database and the time in UTC, so that names sort by time. It
gets its name when it is complete and was read back, and replaces nothing. A schema of PostgreSQL is
copied by pg_dump, which has to be on PATH.

restore-backup makes a database of it, and verify compares with it. Prints its path or URL; as JSON,
with its size and its hash.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from curio_persistence.cli.arguments.options import add_json_option, open_for_export
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.interrupts import tidied_when_interrupted
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line

EXAMPLES = """\
  curio-persistence backup backups/
  curio-persistence backup agents-backup.db
  curio-persistence backup backups/ --db-path agent_sdk.db --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("destination", metavar="DEST", help="a file, a directory or a URL")
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    with (
        open_for_export(options) as persistence,
        progress_line("Copying") as progress,
        tidied_when_interrupted(),
    ):
        report = persistence.backup(options.destination, progress=progress)
        say(f"{persistence.location} was copied: {report.size / 1e6:,.1f} MB.")
    if output.for_people:
        output.line(report.path)
    else:
        output.json(report.to_dict())
    return OK
