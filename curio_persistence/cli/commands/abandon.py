"""Close runs that still look as if they ran, although their agent is gone.

A run is closed that is `running` and gave no sign of life for some time: no event, no model call,
no change, nor any of its child runs. Its status becomes `error`, and it ended at its last sign of
life. As JSON, a list of these runs, each an object of its fields, as to_dict() gives it.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import timedelta

from curio_persistence.cli.arguments.options import (
    add_json_option,
    length_of_time,
    open_for_reading,
    open_for_work,
)
from curio_persistence.cli.commands.runs import show_runs
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import Output, say

EXAMPLES = """\
  curio-persistence abandon --dry-run
  curio-persistence abandon --older-than 24h
  curio-persistence abandon --older-than 90m --db-path agent_sdk.db --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--older-than",
        metavar="TIME",
        type=length_of_time,
        default=timedelta(hours=1),
        help="how long a run was silent (90s, 30m, 2h, 7d; default: 1h)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only show which runs would be closed"
    )
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    if options.dry_run:
        with open_for_reading(options) as persistence:
            runs = persistence.runs.stale(older_than=options.older_than)
    else:
        with open_for_work(options) as persistence:
            runs = persistence.runs.abandon(older_than=options.older_than)
    if not output.for_people:
        output.json([run.to_dict() for run in runs])
    elif runs:
        show_runs(runs, output)
    say(
        f"{persistence.location}: {len(runs):,} runs {'to close' if options.dry_run else 'closed'}."
    )
    return OK
