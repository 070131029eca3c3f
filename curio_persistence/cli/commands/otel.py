"""Show what was received by OpenTelemetry, or read it anew.

  otel                the services and scopes that have sent spans, and what these were read as
  otel reinterpret    read all received spans anew, as this version understands them

Spans that are no agent, model call, tool, retrieval or chain count as unread: traces show them, and
nothing is derived from them. As JSON, a list of senders, or the numbers of what changes.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.consent import add_consent_options, agreed
from curio_persistence.cli.arguments.options import (
    add_json_option,
    open_for_reading,
    open_for_work,
)
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.cli.terminal.tables import Column, cell
from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from curio_persistence import Persistence, Reinterpreted

EXAMPLES = """\
  curio-persistence otel
  curio-persistence otel --json
  curio-persistence otel reinterpret --dry-run
"""

_COLUMNS = (
    Column("SERVICE", most=24),
    Column("SCOPE", most=48),
    Column("VERSION", most=12),
    Column("SPANS", right=True),
    Column("UNREAD", right=True),
    Column("READ AS", grows=True),
)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "what",
        metavar="ACTION",
        nargs="?",
        default="show",
        choices=("show", "reinterpret"),
        help="show (the default) or reinterpret",
    )
    add_consent_options(parser, "with reinterpret: only tell what would change")
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    if options.what == "reinterpret":
        return _reinterpret(options, output)
    if options.yes or options.dry_run:
        raise ConfigurationError("--yes and --dry-run are for otel reinterpret.")
    with open_for_reading(options) as persistence:
        _show(persistence, output)
    return OK


def _show(persistence: Persistence, output: Output) -> None:
    from curio_persistence import span_senders

    found = span_senders(persistence)
    if not output.for_people:
        output.json([each.to_dict() for each in found])
        return
    if not found:
        say("No spans were received. Point OTEL_EXPORTER_OTLP_ENDPOINT at curio-persistence serve.")
        return
    rows = [
        [
            cell(each.service_name or None),
            cell(each.scope_name or None),
            cell(each.scope_version or None),
            cell(f"{each.spans:,}"),
            cell(f"{each.unread:,}"),
            cell(", ".join(f"{n:,} {kind}" for kind, n in each.kinds.items() if kind != "span")),
        ]
        for each in found
    ]
    output.table(_COLUMNS, rows)


def _reinterpret(options: Namespace, output: Output) -> int:
    from curio_persistence import reinterpret_spans

    with open_for_work(options) as persistence:
        if not options.yes:
            with progress_line("Reading") as progress:
                report = reinterpret_spans(persistence, dry_run=True, progress=progress)
            say(_told(report, "would change"))
        if options.yes or (_changes(report) and agreed(options, "Store the changes?")):
            with progress_line("Reading") as progress:
                report = reinterpret_spans(persistence, progress=progress)
            say(_told(report, "changed"))
    if not output.for_people:
        output.json(report.to_dict())
    return OK


def _changes(report: Reinterpreted) -> bool:
    return any((report.changed, report.runs, report.calls, report.events))


def _told(report: Reinterpreted, verb: str) -> str:
    records = f"{report.runs:,} runs, {report.calls:,} model calls and {report.events:,} events"
    return f"{report.changed:,} of {report.spans:,} spans, {records} {verb}."
