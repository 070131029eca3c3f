"""Bring the database of an original Curio into today's tables: every row and every id.

It succeeds as a whole, or changes nothing. It can be repeated, also after a crash, and does not
change what is upgraded already. The old SQLite file is kept as a copy beside it (agent_sdk.db.bak),
the old tables of a PostgreSQL schema under other names. Stop the programs that write to it first:
afterwards an original Curio gets errors.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from curio_persistence.cli.arguments.options import add_json_option, database
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from curio_persistence import DatabaseConfig, UpgradeReport

EXAMPLES = """\
  curio-persistence upgrade sqlite:///agent_sdk.db --dry-run
  curio-persistence upgrade sqlite:///agent_sdk.db --timezone Europe/Paris
  curio-persistence upgrade 'postgresql:///agents?schema=agent_sdk' --timezone UTC
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("where", metavar="URL", nargs="?", help="the database, same as --url")
    parser.add_argument(
        "--timezone",
        metavar="ZONE",
        help="time zone of the stored times, such as Europe/Paris (default: this machine's)",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="read everything, show what would be done, and change nothing",
    )
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    from curio_persistence import upgrade

    what = "Reading" if options.dry_run else "Upgrading"
    with progress_line(what) as progress:
        report = upgrade(
            _database(options),
            timezone=options.timezone,
            dry_run=options.dry_run,
            progress=progress,
        )
    say(f"{report.location} {_what_was_done(report)}.")
    if output.for_people:
        if not report.already:
            output.fields(_fields(report))
    else:
        output.json(report.to_dict())
    return OK


def _database(options: Namespace) -> DatabaseConfig:
    if options.where is None:
        return database(options)
    if any(value is not None for value in (options.url, options.db_path, options.backend)):
        raise ConfigurationError("URL names the database: drop --url, --db-path and --backend.")
    options.url = options.where
    return database(options)


def _what_was_done(report: UpgradeReport) -> str:
    if report.already:
        return "has today's tables already: nothing was done"
    return "was read, and nothing was changed" if report.dry_run else "was upgraded"


def _fields(report: UpgradeReport) -> dict[str, Any]:
    """Return the fields to show; those without a value are left out."""
    assumed = ", which is this machine's: use --timezone for another"
    examples = "; ".join(f"{e.table} {e.id}: {e.column} {e.value!r}" for e in report.examples)
    return {
        "runs": report.runs,
        "events": report.events,
        "model calls": report.usage,
        "stubs": _if_any(report.stubs, "runs that were never created, though they have events"),
        "times are of": report.timezone + (assumed if report.timezone_assumed else ""),
        "ambiguous": _if_any(report.ambiguous, "times that the clock showed twice"),
        "missing": _if_any(report.missing, "times that the clock left out"),
        "unreadable": _if_any(report.unreadable, f"values that could not be kept: {examples}"),
        "left out": ", ".join(report.left_out) or None,
        "old ones kept": report.kept_in,
    }


def _if_any(count: int, what: str) -> str | None:
    return f"{count} {what}" if count else None
