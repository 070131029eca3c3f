"""Expire runs again and again, once a day, until the program is stopped.

The stored policies decide (see: curio-persistence retention), or else CURIO_RETENTION_DAYS. Several
programs may run this for one database: one of them works at a time. After a failure, as of the
network, the next round tries again. doctor tells when runs last expired. As JSON, a report on each
line.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import timedelta
from threading import Event
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.options import add_json_option, length_of_time, open_for_work
from curio_persistence.cli.commands.expire import add_pace_option, default_policy, tell
from curio_persistence.cli.exit_codes import OK, exit_code
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.errors import PersistenceError

if TYPE_CHECKING:
    from curio_persistence import ExpireReport

EXAMPLES = """\
  curio-persistence lifecycle --once
  curio-persistence lifecycle --once --pace 1
  curio-persistence lifecycle --once --db-path agent_sdk.db --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="end after one round")
    parser.add_argument(
        "--every",
        metavar="TIME",
        type=length_of_time,
        default=timedelta(days=1),
        help="the time from one round to the next, or up to a tenth less (default: 1d)",
    )
    add_pace_option(parser)
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    stop, failed = Event(), OK

    def on_round(outcome: ExpireReport | PersistenceError) -> None:
        nonlocal failed
        failed = OK
        if isinstance(outcome, PersistenceError):
            failed = exit_code(outcome)
            say(f"{persistence.location}: {outcome}")
        else:
            tell(persistence.location, outcome)
            if not output.for_people:
                output.json_line(outcome.to_dict())
                output.flush()
        if options.once:
            stop.set()

    with open_for_work(options) as persistence:
        persistence.lifecycle.run_forever(
            options.every,
            default=default_policy(persistence),
            pace=options.pace,
            stop=stop,
            on_round=on_round,
        )
    return failed
