"""Delete finished runs that ended more than some days ago, whatever the policies say.

With --max-disk-mb more runs go, those that finished first, until the database is no larger than
that. A hold is heeded. Otherwise this is what expire does.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.consent import add_consent_options, agreed
from curio_persistence.cli.arguments.options import (
    add_json_option,
    count,
    open_for_reading,
    open_for_work,
)
from curio_persistence.cli.commands.expire import (
    add_clock_option,
    add_pace_option,
    tell,
    tell_plan,
)
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import Output
from curio_persistence.cli.terminal.progress import progress_line

if TYPE_CHECKING:
    from curio_persistence import ExpireReport, Persistence

EXAMPLES = """\
  curio-persistence vacuum --hot-days 7 --dry-run
  curio-persistence vacuum --hot-days 7 --yes
  curio-persistence vacuum --hot-days 30 --max-disk-mb 500 --yes --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--hot-days",
        metavar="DAYS",
        type=count,
        help="how many days after their end runs are kept (default: CURIO_HOT_DAYS, or 7)",
    )
    parser.add_argument(
        "--max-disk-mb",
        metavar="N",
        type=count,
        help="how many megabytes the database may use (default: CURIO_MAX_DISK_MB, or any number)",
    )
    add_pace_option(parser)
    add_clock_option(parser)
    add_consent_options(parser, "only tell what would be deleted")
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    _complete(options)
    with open_for_reading(options) as persistence:
        report = _vacuum(persistence, options, "Looking", dry_run=True)
        tell_plan(persistence, report)
    if (report.runs or report.usage) and agreed(options, "Delete them?"):
        with open_for_work(options) as persistence:
            report = _vacuum(persistence, options, "Deleting")
        tell(persistence.location, report)
    if not output.for_people:
        output.json(report.to_dict())
    return OK


def _complete(options: Namespace) -> None:
    """Take what the options leave open from the environment."""
    from curio_persistence import LifecycleConfig

    config = LifecycleConfig.from_env()
    if options.hot_days is None:
        options.hot_days = config.hot_days
    if options.max_disk_mb is None:
        options.max_disk_mb = config.max_disk_mb


def _vacuum(
    persistence: Persistence, options: Namespace, label: str, *, dry_run: bool = False
) -> ExpireReport:
    with progress_line(label) as progress:
        return persistence.lifecycle.vacuum(
            options.hot_days,
            options.max_disk_mb,
            dry_run=dry_run,
            pace=options.pace,
            check_clock=not options.no_clock_check,
            progress=progress,
        )
