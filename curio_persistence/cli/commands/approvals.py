"""List the tickets by which runs ask for approval, and approve or deny them.

Without an action, list the tickets that wait, newest first, or with --status others. WHEN is the
time at which a ticket was decided or withdrawn, or else at which it expires. Each ticket is decided
once, until it expires. --by names the person in the ticket and in the audit log; without it that is
the user, machine and process. Exits with 1 if a ticket was decided before or has expired, and with
3 for an unknown one. As JSON, a list of tickets, or the ticket that was decided.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from curio_persistence.cli.arguments.filters import add_filters, filters
from curio_persistence.cli.arguments.listing import Question, add_listing_options, nothing, show
from curio_persistence.cli.arguments.options import add_action, open_for_reading, open_for_work
from curio_persistence.cli.arguments.run_ids import resolve_run, short_ids
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import CYAN, DIM, GREEN, RED, Output, say
from curio_persistence.cli.terminal.tables import Cell, Column, cell
from curio_persistence.errors import ConfigurationError, NotFoundError
from curio_persistence.views.wording import local_time

if TYPE_CHECKING:
    from curio_persistence import Approval, Persistence

EXAMPLES = """\
  curio-persistence approvals
  curio-persistence approvals --status all --run run-42
  curio-persistence approvals show ticket-7
  curio-persistence approvals approve ticket-7 --by ada --reason 'Within the budget.'
  curio-persistence approvals --status denied --since 7d --json
"""

_ACTIONS = ("list", "show", "approve", "deny", "expire")
_DECISIONS = {"approve": "approved", "deny": "denied"}
_FILTERS = ("run_id", "agent_id", "session_id", "user_id")
_STATUSES = ("pending", "approved", "denied", "expired", "all")
_STYLES = {"pending": CYAN, "approved": GREEN, "denied": RED, "expired": DIM}


def add_arguments(parser: ArgumentParser) -> None:
    add_action(
        parser,
        _ACTIONS,
        "list (the default), show, approve, deny, or expire, which withdraws a ticket",
    )
    parser.add_argument("ticket", metavar="TICKET", nargs="?", help="the id of a ticket")
    parser.add_argument("--by", metavar="NAME", help="the person who decides")
    parser.add_argument("--reason", metavar="TEXT", help="the reason of the decision")
    add_filters(parser, "tickets", *_FILTERS)
    parser.add_argument("--tool", metavar="NAME", help="only tickets about this tool")
    parser.add_argument(
        "--status",
        action="append",
        choices=_STATUSES,
        metavar="STATUS",
        help=f"only tickets with this status: {', '.join(_STATUSES)} (default: pending); given "
        "more than once, with one of these",
    )
    add_listing_options(parser)


def run(options: Namespace, output: Output) -> int:
    _check(options)
    if options.action == "list":
        with open_for_reading(options) as persistence:
            _list(persistence, options, output)
    elif options.action == "show":
        with open_for_reading(options) as persistence:
            _show_one(_found(persistence, options.ticket), output)
    else:
        with open_for_work(options) as persistence:
            _show_one(_decide(persistence, options), output)
    return OK


def _check(options: Namespace) -> None:
    """Refuse options that the action does not take."""
    action = options.action
    if action == "list" and options.ticket is not None:
        raise ConfigurationError(f"approvals list takes no TICKET: approvals show {options.ticket}")
    if action != "list" and options.ticket is None:
        raise ConfigurationError(f"approvals {action} needs the id of a TICKET.")
    if action in ("list", "show") and (options.by or options.reason):
        raise ConfigurationError("--by and --reason are of approve, deny and expire.")
    given = [name for name, value in _filters(options).items() if value is not None]
    if action != "list" and (given or options.status):
        raise ConfigurationError(f"approvals {action} takes one TICKET, and no filters.")


def _filters(options: Namespace) -> dict[str, Any]:
    given = filters(options)
    return {name: given[name] for name in (*_FILTERS, "since", "until")} | {"tool": options.tool}


def _list(persistence: Persistence, options: Namespace, output: Output) -> None:
    resolve_run(persistence, options)
    statuses = options.status or ["pending"]
    wanted = {**_filters(options), "status": None if "all" in statuses else statuses}
    question = Question(persistence.approvals.query, persistence.approvals.iterate, wanted)
    show(persistence, question, options, output, _rows, nothing(persistence, "tickets", True))


def _rows(tickets: Sequence[Approval]) -> tuple[Sequence[Column], list[list[Cell]]]:
    columns = (
        Column("TICKET", most=255),
        Column("STATUS"),
        Column("WHEN"),
        Column("RUN", most=48),
        Column("TOOL", most=32),
        Column("ARGUMENTS", grows=True),
    )
    short = short_ids(ticket.run_id for ticket in tickets)
    return columns, [
        [
            cell(ticket.ticket_id),
            cell(ticket.status, _STYLES[ticket.status]),
            cell(local_time(ticket.resolved_at or ticket.expires_at, "minutes")),
            cell(short[ticket.run_id]),
            cell(ticket.tool),
            cell(ticket.arguments),
        ]
        for ticket in tickets
    ]


def _found(persistence: Persistence, ticket_id: str) -> Approval:
    ticket = persistence.approvals.get(ticket_id)
    if ticket is None:
        raise NotFoundError(f"{persistence.location} has no approval ticket {ticket_id!r}.")
    return ticket


def _decide(persistence: Persistence, options: Namespace) -> Approval:
    approvals, ticket = persistence.approvals, options.ticket
    if options.action == "expire":
        return approvals.expire(ticket, by=options.by, reason=options.reason)
    decision: Any = _DECISIONS[options.action]
    done = approvals.resolve(ticket, decision, by=options.by, reason=options.reason)
    say(f"{persistence.location}: ticket {ticket} is {done.status}.")
    return done


def _show_one(ticket: Approval, output: Output) -> None:
    if not output.for_people:
        output.json(ticket.to_dict())
        return
    output.fields(
        {
            "ticket": ticket.ticket_id,
            "status": ticket.status,
            "run": ticket.run_id,
            "agent": ticket.agent_id,
            "step": ticket.step_id,
            "tool": ticket.tool,
            "arguments": ticket.arguments,
            "hash": ticket.arguments_hash,
            "requested": local_time(ticket.requested_at),
            "expires": local_time(ticket.expires_at),
            "resolved": ticket.resolved_at and local_time(ticket.resolved_at),
            "by": ticket.resolved_by,
            "reason": ticket.reason,
            "response": ticket.response,
            "metadata": ticket.metadata,
        }
    )
