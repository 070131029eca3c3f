"""Move finished runs that no retention policy keeps into an archive.

DESTINATION is a directory, or the URL of an object store, as s3://bucket/prefix; its credentials
are in the environment (AWS_ACCESS_KEY_ID and so on). Without it, CURIO_ARCHIVE_DESTINATION says
where, and CURIO_HOT_DAYS how many days after their end runs are moved (7). Runs are written as
Parquet files and read back before they are deleted. restore brings them back. Otherwise this is
what expire does.

With --keep the runs are copied, and nothing is deleted; with --since the runs that finished lately.
What was copied, and has not changed, is not copied again.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import timedelta
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.consent import agreed
from curio_persistence.cli.arguments.options import length_of_time, open_for_reading, open_for_work
from curio_persistence.cli.commands import expire
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.kinds import BESIDE_RUNS, said
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from curio_persistence import ExpireReport, Persistence

EXAMPLES = """\
  curio-persistence archive old-runs --older-than 90d --dry-run
  curio-persistence archive old-runs --older-than 90d --yes
  curio-persistence archive old-runs --older-than 12w --yes --pace 1 --json
  curio-persistence archive copies --since 30
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "destination", metavar="DESTINATION", nargs="?", help="a directory or a URL"
    )
    parser.add_argument("--keep", action="store_true", help="copy the runs, and delete nothing")
    parser.add_argument(
        "--since",
        metavar="DAYS",
        type=_days,
        help="copy the runs that finished in these days (30, 36h), and delete nothing",
    )
    parser.add_argument(
        "--format",
        choices=("parquet", "ndjson"),
        default="parquet",
        help="of the files; other programs query parquet, the default",
    )
    expire.add_arguments(parser)


def _days(text: str) -> timedelta:
    return length_of_time(f"{text}d" if text.isdecimal() else text)


def run(options: Namespace, output: Output) -> int:
    if options.destination is None:
        _take_destination(options)
    if options.keep or options.since is not None:
        return _copy(options, output)
    with open_for_reading(options) as persistence:
        if options.older_than is None:
            expire.tell_policies(persistence)
        report = _archive(persistence, options, "Looking", dry_run=True)
        expire.tell_plan(persistence, report, moves=True)
    if report.runs and agreed(options, f"Move them to {options.destination}?"):
        with open_for_work(options) as persistence:
            report = _archive(persistence, options, "Archiving")
        expire.tell(persistence.location, report, moves=True)
        say(f"They are in {options.destination}.")
    if not output.for_people:
        output.json(report.to_dict())
    return OK


def _take_destination(options: Namespace) -> None:
    """Take the destination of the environment, and the age that it gives."""
    from curio_persistence import LifecycleConfig

    config = LifecycleConfig.from_env()
    if config.archive_destination is None:
        raise ConfigurationError(
            "Say where: archive DESTINATION, or set CURIO_ARCHIVE_DESTINATION."
        )
    options.destination = config.archive_destination
    if options.older_than is None:
        options.older_than = timedelta(days=config.hot_days)


def _copy(options: Namespace, output: Output) -> int:
    """Copy runs, without asking for consent: nothing is deleted."""
    opened = open_for_reading if options.dry_run else open_for_work
    with opened(options) as persistence:
        report = _archive(persistence, options, "Copying", dry_run=options.dry_run)
    done = "to copy" if report.dry_run else "copied"
    say(
        f"{persistence.location}: {report.runs:,} runs {done} to {options.destination}, with "
        f"{said(report, BESIDE_RUNS)}."
    )
    if not output.for_people:
        output.json(report.to_dict())
    return OK


def _archive(
    persistence: Persistence, options: Namespace, label: str, *, dry_run: bool = False
) -> ExpireReport:
    from curio_persistence import archive_runs

    choice = {} if options.since is not None else expire.choice(persistence, options)
    with progress_line(label) as progress:
        return archive_runs(
            persistence,
            options.destination,
            since=options.since,
            format=options.format,
            keep=options.keep,
            dry_run=dry_run,
            progress=progress,
            **choice,
        )
