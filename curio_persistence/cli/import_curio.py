"""The kind `curio` of the command `import`, which replaces the tables of an original Curio."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from curio_persistence.cli.arguments.options import database, database_named
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from curio_persistence import CurioImportReport, DatabaseConfig


def run(options: Namespace, output: Output) -> int:
    """Import the database that PATH or the options name."""
    from curio_persistence import import_curio

    what = "Reading" if options.dry_run else "Importing"
    with progress_line(what) as progress:
        report = import_curio(
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
    if options.path is None:
        return database(options)
    if any(value is not None for value in (options.url, options.db_path, options.backend)):
        raise ConfigurationError("PATH names the database: drop --url, --db-path and --backend.")
    return database_named("PATH", options.path)


def _what_was_done(report: CurioImportReport) -> str:
    if report.already:
        return "has today's tables already: nothing was done"
    return "was read, and nothing was changed" if report.dry_run else "was imported"


def _fields(report: CurioImportReport) -> dict[str, Any]:
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
