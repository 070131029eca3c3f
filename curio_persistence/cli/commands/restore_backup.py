"""Create a database from a backup: a SQLite file that is not there yet, or an empty schema.

SOURCE is what backup printed, a path or the URL of an object. It is compared with its hash and
checked before anything is created, and nothing is ever replaced. The options below name the new
database. A schema of PostgreSQL keeps its name, and is restored by pg_restore, which has to be on
PATH. As JSON, an object with the path, size and hash of the backup.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from curio_persistence.cli.arguments.options import add_json_option, database
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.interrupts import tidied_when_interrupted
from curio_persistence.cli.terminal.output import Output, say

EXAMPLES = """\
  curio-persistence restore-backup agents-backup.db --db-path restored.db
  curio-persistence restore-backup agents-backup.db --url sqlite:///again.db
  curio-persistence restore-backup agents-backup.db --db-path third.db --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="the path or URL of a backup")
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    from curio_persistence import restore_backup

    config = database(options)
    with tidied_when_interrupted():
        report = restore_backup(options.source, config)
    with config.get_persistence(initialize=False) as persistence:
        say(f"{persistence.location} was restored from {report.path}.")
    if report.sha256 is None:
        say("There was no hash beside the backup: only its structure was checked.")
    if not output.for_people:
        output.json(report.to_dict())
    return OK
