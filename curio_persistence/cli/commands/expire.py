"""Delete finished runs that no retention policy keeps, with all that belongs to them.

Without --older-than the stored policies decide (see: curio-persistence retention), or else
CURIO_RETENTION_DAYS and CURIO_MAX_DISK_MB. A run goes together with the runs that it started, and
only when all of them are finished and old enough. Statistics and totals keep their numbers, and
other programs that have copies find a tombstone. Empty space goes back to the disk (SQLite).

Other programs may write meanwhile: they wait for a twentieth of the time at most, or for the share
that --pace gives. An expiry that was killed continues when it is started again.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from curio_persistence.cli.arguments.consent import add_consent_options, agreed
from curio_persistence.cli.arguments.options import (
    add_json_option,
    length_of_time,
    open_for_reading,
    open_for_work,
)
from curio_persistence.cli.commands.retention import told
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.kinds import BESIDE_RUNS, WORDS
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from curio_persistence import ExpireReport, Persistence, RetentionPolicy

EXAMPLES = """\
  curio-persistence expire --older-than 90d --dry-run
  curio-persistence expire --older-than 90d --yes
  curio-persistence expire --older-than 12w --yes --pace 1 --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--older-than",
        metavar="TIME",
        type=length_of_time,
        help="how long ago a run finished (36h, 90d, 12w), whatever the policies say",
    )
    add_pace_option(parser)
    add_clock_option(parser)
    add_consent_options(parser, "only tell what would be deleted")
    add_json_option(parser)


def add_clock_option(parser: ArgumentParser) -> None:
    """`--no-clock-check`."""
    parser.add_argument(
        "--no-clock-check",
        action="store_true",
        help="go on if nothing was stored for a year",
    )


def add_pace_option(parser: ArgumentParser) -> None:
    """`--pace`."""
    parser.add_argument(
        "--pace",
        metavar="SHARE",
        type=float,
        default=0.05,
        help="share of the time for which other writers may wait (default: 0.05; 1: no pauses)",
    )


def run(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence:
        report = plan(persistence, options)
    some = report.runs or report.usage or report.stripped
    if some and agreed(options, "Delete them?" if report.runs or report.usage else "Go on?"):
        with open_for_work(options) as persistence, progress_line("Deleting") as progress:
            report = persistence.lifecycle.expire(progress=progress, **choice(persistence, options))
        tell(persistence.location, report)
    if not output.for_people:
        output.json(report.to_dict())
    return OK


def plan(persistence: Persistence, options: Namespace) -> ExpireReport:
    """Say what would be deleted, and by which policies."""
    if options.older_than is None:
        tell_policies(persistence)
    with progress_line("Looking") as progress:
        report = persistence.lifecycle.expire(
            dry_run=True, progress=progress, **choice(persistence, options)
        )
    tell_plan(persistence, report)
    return report


def tell_plan(persistence: Persistence, report: ExpireReport, *, moves: bool = False) -> None:
    """Say what would be deleted, or moved."""
    tell(persistence.location, report, moves=moves)
    if report.runs and report.runs == persistence.count_agent_runs():
        say("These are all runs of the database.")


def choice(persistence: Persistence, options: Namespace) -> dict[str, Any]:
    """Return the arguments of `expire` that the options give."""
    return {
        "older_than": options.older_than,
        "default": default_policy(persistence) if options.older_than is None else None,
        "pace": options.pace,
        "check_clock": not options.no_clock_check,
    }


def default_policy(persistence: Persistence) -> RetentionPolicy | None:
    """Return the policy of the environment; refuse to go on without any."""
    from curio_persistence import LifecycleConfig

    policy = LifecycleConfig.from_env().policy
    if policy is None and not persistence.lifecycle.policies():
        raise ConfigurationError(
            "No policy is set: pass --older-than, set CURIO_RETENTION_DAYS, or store one: "
            "curio-persistence retention set default --keep 90d"
        )
    return policy


def tell_policies(persistence: Persistence) -> None:
    """Say which policies decide."""
    default = default_policy(persistence)
    for policy in persistence.lifecycle.policies() or filter(None, [default]):
        say(f"Policy {policy.name}: {told(policy.to_dict())}.")


def tell(place: str, report: ExpireReport, *, moves: bool = False) -> None:
    """Say what a report says; `moves` is True for one of an archive."""
    moves = moves or 0 < report.archived == report.runs
    words = ("to move", "moved") if moves else ("to delete", "deleted")
    done = words[0] if report.dry_run else words[1]
    counts = {WORDS[kind]: getattr(report, kind) for kind in BESIDE_RUNS}
    with_them = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)
    finished = f" that finished before {report.cutoff:%Y-%m-%d %H:%M} UTC" if report.cutoff else ""
    say(f"{place}: {report.runs:,} runs {done}{finished}{with_them and f', with {with_them}'}.")
    if report.archived and not moves:
        say(f"{report.archived:,} of them are in the archive.")
    if report.stripped:
        say(f"{report.stripped:,} runs {'lose' if report.dry_run else 'lost'} their texts only.")
    if report.sessions:
        say(f"{report.sessions:,} sessions have no other runs.")
    if report.held:
        say(f"{report.held:,} trees of runs are kept by a hold.")
    if report.unfinished:
        say(f"{report.unfinished:,} trees of runs are kept because a run in them is not finished.")
    if not report.dry_run and report.bytes_freed:
        say(f"{report.bytes_freed / 1e6:,.1f} MB went back to the disk.")
    elif report.runs and not report.dry_run and not report.advice:
        say("New records use the space again.")
    if report.advice:
        say(report.advice)
