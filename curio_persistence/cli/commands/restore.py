"""Bring runs back from an archive, with all that belongs to them.

Their times and hashes are as they were. DESTINATION is the directory or URL that archive was given.
Name runs, or restore those that were created in a window: --since, --until. As JSON, an object with
the numbers of records.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from curio_persistence.cli.arguments.options import (
    add_json_option,
    add_window_options,
    open_for_work,
)
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.kinds import BESIDE_RUNS, said
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line

EXAMPLES = """\
  curio-persistence restore old-runs run-42
  curio-persistence restore old-runs run-40 run-41 --json
  curio-persistence restore old-runs --since 2026-03-01 --until 2026-04-01
  curio-persistence restore old-runs run-42 --db-path agent_sdk.db
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("destination", metavar="DESTINATION", help="a directory or a URL")
    parser.add_argument("runs", metavar="RUN", nargs="*", help="a run to restore, by its whole id")
    parser.add_argument(
        "--source", metavar="FOLDER", help="the folder of another database in the archive"
    )
    add_window_options(parser)
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    from curio_persistence import restore_runs

    with open_for_work(options) as persistence, progress_line("Restoring") as progress:
        report = restore_runs(
            persistence,
            options.destination,
            options.runs or None,
            since=options.since,
            until=options.until,
            source=options.source,
            progress=progress,
        )
    say(f"{persistence.location}: {report.runs:,} runs restored, with {said(report, BESIDE_RUNS)}.")
    if not output.for_people:
        output.json(report.to_dict())
    return OK
