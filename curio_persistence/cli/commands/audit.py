"""List who did what, newest first; or verify the hash chains that prove it.

The library writes the lines itself: who deleted, expired, archived, redacted, exported or restored
records, and who changed policies and holds. With --verify the chain of these lines is read, and the
chains of events, if they were recorded with chain=True (CURIO_CHAIN=1); exits with 5 if one is
broken. With CURIO_AUDIT_KEY the signatures of their ends are checked too. As JSON, a list of lines,
or an object with the faults.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.consent import add_consent_options, agreed
from curio_persistence.cli.arguments.filters import add_filters, filters
from curio_persistence.cli.arguments.listing import Question, add_listing_options, nothing, show
from curio_persistence.cli.arguments.options import (
    age,
    open_for_reading,
    open_for_work,
)
from curio_persistence.cli.arguments.run_ids import resolve_run
from curio_persistence.cli.exit_codes import DAMAGED, OK
from curio_persistence.cli.terminal.output import DIM, Output, say
from curio_persistence.cli.terminal.tables import Cell, Column, cell
from curio_persistence.errors import ConfigurationError, NotFoundError
from curio_persistence.views.wording import local_time

if TYPE_CHECKING:
    from curio_persistence import AuditEntry
    from curio_persistence.capabilities.verifying_chains import TrailReport

EXAMPLES = """\
  curio-persistence audit
  curio-persistence audit --action delete --action expire --since 30d
  curio-persistence audit --run run-42
  curio-persistence audit --verify
  curio-persistence audit --verify --json
  curio-persistence audit --expire 365d --dry-run
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--verify", action="store_true", help="verify the hash chains")
    parser.add_argument(
        "--head", metavar="HASH", help="with --verify: an earlier head, which must still be there"
    )
    parser.add_argument(
        "--sign",
        action="store_true",
        help="sign the ends of all chains with CURIO_AUDIT_KEY, if none is broken",
    )
    parser.add_argument(
        "--expire",
        metavar="AGE",
        type=age,
        help="delete the lines that are so old (365d); the rest verifies on",
    )
    add_consent_options(parser, "with --expire: only count the lines")
    add_filters(parser, "lines", "run_id", "agent_id", "action", "actor_id", "resource")
    add_listing_options(parser)


def run(options: Namespace, output: Output) -> int:
    _refuse_contradictions(options)
    if options.sign:
        with open_for_work(options) as persistence:
            say(f"Signed: {persistence.audit.sign():,} chains.")
        return OK
    if options.expire is not None:
        return _expire(options)
    with open_for_reading(options) as persistence:
        resolve_run(persistence, options)
        if options.verify:
            report = persistence.audit.verify(options.run_id, known_head=options.head)
            if options.run_id is not None and not report.chains:
                raise NotFoundError(
                    f"Run {options.run_id!r} has no hash chain: it was recorded without chain=True "
                    "(CURIO_CHAIN=1), or is not here."
                )
            return _show_report(report, output)
        question = Question(persistence.audit.query, persistence.audit.iterate, filters(options))
        said = nothing(persistence, "lines in its audit log", question.is_narrowed)
        show(persistence, question, options, output, _rows, said)
    return OK


def _expire(options: Namespace) -> int:
    with open_for_reading(options) as persistence:
        count = persistence.audit.count(until=options.expire)
        say(f"{persistence.location}: {count:,} lines of the audit log to delete.")
    if count and agreed(options, "Delete them?"):
        with open_for_work(options) as persistence:
            say(f"{persistence.audit.expire(options.expire):,} lines were deleted.")
    return OK


def _refuse_contradictions(options: Namespace) -> None:
    if options.verify and options.sign:
        raise ConfigurationError("--sign verifies as well: drop --verify.")
    if options.head is not None and not options.verify:
        raise ConfigurationError("--head needs --verify.")
    if options.expire is not None and (options.verify or options.sign):
        raise ConfigurationError("--expire verifies as well: drop --verify and --sign.")
    if options.expire is None and (options.yes or options.dry_run):
        raise ConfigurationError("--yes and --dry-run need --expire.")
    given = {name for name, value in filters(options).items() if value is not None}
    whole = options.verify or options.sign or options.expire is not None
    if whole and given - ({"run_id"} if options.verify else set()):
        raise ConfigurationError(
            "Whole chains are verified, and the log expires as a whole: drop the filters; only "
            "--verify takes --run."
        )


def _show_report(report: TrailReport, output: Output) -> int:
    if not output.for_people:
        output.json(report.to_dict())
    else:
        chains = "1 chain" if report.chains == 1 else f"{report.chains:,} chains"
        links = "1 link" if report.links == 1 else f"{report.links:,} links"
        output.line(f"{chains} with {links}")
        if report.head:
            output.line(f"head: {report.head}")
    if report.erased:
        named = ", ".join(report.erased_records)
        more = ", …" if report.erased > len(report.erased_records) else ""
        say(f"The content of {report.erased:,} was erased ({named}{more}); the rest was verified.")
    if report.foreign:
        say(f"{report.foreign:,} have hashes of another program: only their order was verified.")
    if not report.signed:
        say("Signatures were not checked: that needs CURIO_AUDIT_KEY.")
    for fault in report.faults:
        say(f"Broken: {fault}.")
    if report.ok:
        say("No chain is broken.")
    return OK if report.ok else DAMAGED


def _rows(entries: Sequence[AuditEntry]) -> tuple[Sequence[Column], list[list[Cell]]]:
    """Return the table of some lines."""
    columns = (
        Column("TIME"),
        Column("ACTOR", most=40),
        Column("ACTION"),
        Column("RESOURCE", most=48),
        Column("DETAILS", grows=True),
    )
    return columns, [
        [
            cell(local_time(entry.timestamp), DIM),
            cell(entry.actor_id),
            cell(entry.action),
            cell(" ".join(filter(None, (entry.resource_type, entry.resource))) or None),
            cell(entry.metadata),
        ]
        for entry in entries
    ]
