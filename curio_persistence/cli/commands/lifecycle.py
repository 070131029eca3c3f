"""Archive and expire runs again and again, once a day, until the program is stopped.

With CURIO_ARCHIVE_DESTINATION runs are moved there first, CURIO_HOT_DAYS after their end (7). Then
what the stored policies let go is deleted (see: curio-persistence retention), or else by
CURIO_RETENTION_DAYS and CURIO_MAX_DISK_MB; not if the archive failed. A round that would delete all
runs of the database is refused, unless --yes is given.

Several programs may run this for one database: each round is done by one of them. After a failure,
as of the network, the next round tries again. doctor tells when runs last expired, and when they
will. As JSON, a report on each line.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.options import add_json_option, length_of_time, open_for_work
from curio_persistence.cli.commands.expire import add_pace_option, tell
from curio_persistence.cli.exit_codes import OK, exit_code
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.errors import ConfigurationError, PersistenceError

if TYPE_CHECKING:
    from curio_persistence import ExpireReport, LifecycleConfig, Persistence

EXAMPLES = """\
  curio-persistence lifecycle --once
  curio-persistence lifecycle --once --pace 1
  curio-persistence lifecycle --once --archive old-runs
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
    parser.add_argument(
        "--archive",
        metavar="DESTINATION",
        help="where runs are moved (default: CURIO_ARCHIVE_DESTINATION, or nowhere)",
    )
    parser.add_argument(
        "--yes", action="store_true", help="go on if all runs of the database would be deleted"
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
        config = _config(persistence, options)
        persistence.lifecycle.run_forever(
            options.every,
            default=config.policy,
            pace=options.pace,
            archive=_archive(persistence, config, options.pace),
            allow_all=options.yes,
            stop=stop,
            on_round=on_round,
        )
    return failed


def _config(persistence: Persistence, options: Namespace) -> LifecycleConfig:
    """Return what to do; refuse to go on without anything."""
    from curio_persistence import LifecycleConfig

    named = {"CURIO_ARCHIVE_DESTINATION": options.archive, "CURIO_ARCHIVE_ENABLED": "1"}
    config = LifecycleConfig.from_env(given={"--archive": named} if options.archive else None)
    if config.policy or config.archive_destination or persistence.lifecycle.policies():
        return config
    raise ConfigurationError(
        "Nothing says what expires: set CURIO_RETENTION_DAYS or CURIO_ARCHIVE_DESTINATION, or "
        "store a policy: curio-persistence retention set default --keep 90d"
    )


def _archive(
    persistence: Persistence, config: LifecycleConfig, pace: float
) -> Callable[[], ExpireReport] | None:
    """Return the function that moves runs, if there is somewhere to move them to."""
    from curio_persistence import archive_runs

    if config.archive_destination is None:
        return None
    return partial(
        archive_runs,
        persistence,
        config.archive_destination,
        older_than=timedelta(days=config.hot_days),
        pace=pace,
    )
