"""List sessions, newest first; or show one: its counters, and what was asked, done and answered.

A session is the runs with one session id. Its counters are those of what is stored now. An active
session is idle when nothing came for half an hour. With --timeline, a session's runs, events and
model calls are shown in one order, each with the time since the one before.

As JSON, a list of sessions, each an object of its fields and counters; of one session, an object of
the `session` and its `conversation`, or a list of the entries of its timeline.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from curio_persistence.cli.arguments.filters import add_filters, filters
from curio_persistence.cli.arguments.listing import Question, add_listing_options, nothing, show
from curio_persistence.cli.arguments.options import length_of_time, open_for_reading
from curio_persistence.cli.arguments.run_ids import resolve_run, short_ids
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.run_view import fitted, headline
from curio_persistence.cli.terminal.output import BOLD, CYAN, DIM, GREEN, RED, Output, say
from curio_persistence.cli.terminal.tables import Cell, Column, cell
from curio_persistence.cli.terminal.text import one_line
from curio_persistence.errors import ConfigurationError, NotFoundError
from curio_persistence.views.wording import local_time, money, span

if TYPE_CHECKING:
    from curio_persistence import Persistence, Session
    from curio_persistence.views.sessions import Exchange, TimelineEntry

EXAMPLES = """\
  curio-persistence sessions
  curio-persistence sessions --status active --status idle --user ann
  curio-persistence sessions --any-tag beta --since 7d --json
  curio-persistence sessions --run run-42
"""

_STATUSES = ("active", "idle", "completed", "error")
_STYLES = {"active": CYAN, "idle": DIM, "completed": GREEN, "error": RED}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("session", metavar="ID", nargs="?", help="show this session")
    parser.add_argument(
        "--timeline", action="store_true", help="with ID: all that happened, the oldest first"
    )
    add_filters(parser, "sessions", "agent_id", "user_id", "run_id")
    parser.add_argument(
        "--status",
        action="append",
        choices=_STATUSES,
        metavar="STATUS",
        help=f"only sessions with this status: {', '.join(_STATUSES)}; given more than once, with "
        "one of these",
    )
    add_filters(parser, "sessions", "tags", "any_tags", "metadata")
    parser.add_argument(
        "--idle-after",
        metavar="TIME",
        type=length_of_time,
        help="how long nothing came for an idle session (default: 30m)",
    )
    add_listing_options(parser)


def run(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence:
        if options.session is not None:
            _show_one(persistence, options, output)
            return OK
        if options.timeline:
            raise ConfigurationError("--timeline is of one session: name its ID.")
        resolve_run(persistence, options)
        sessions = persistence.sessions
        question = Question(sessions.query, sessions.iterate, filters(options) | _idle(options))
        show(
            persistence,
            question,
            options,
            output,
            _rows,
            nothing(persistence, "sessions", question.is_narrowed),
        )
    return OK


def _idle(options: Namespace) -> dict[str, Any]:
    return {} if options.idle_after is None else {"idle_after": options.idle_after}


def _rows(sessions: Sequence[Session]) -> tuple[Sequence[Column], list[list[Cell]]]:
    """Return the table of some sessions; users have a column where there are any."""
    users = any(session.user_id for session in sessions)
    columns = (
        Column("SESSION", most=255),
        Column("AGENT", most=20),
        *([Column("USER", most=20)] if users else []),
        Column("STATUS"),
        Column("STARTED"),
        Column("RUNS", right=True),
        Column("EVENTS", right=True),
        Column("ERRORS", right=True),
        Column("COST", right=True),
    )
    return columns, [_row(session, users) for session in sessions]


def _row(session: Session, users: bool) -> list[Cell]:
    return [
        cell(session.session_id),
        cell(session.agent_id),
        *([cell(session.user_id)] if users else []),
        cell(session.status, _STYLES.get(session.status, "")),
        cell(local_time(session.started_at, "minutes")),
        cell(f"{session.runs:,}"),
        cell(f"{session.events:,}"),
        cell(f"{session.errors:,}", RED if session.errors else ""),
        cell(money(session.cost_usd)),
    ]


# --- one session ----------------------------------------------------------------------------------


def _show_one(persistence: Persistence, options: Namespace, output: Output) -> None:
    if any(value is not None for value in filters(options).values()):
        raise ConfigurationError("ID names one session: drop the filters.")
    if options.timeline:
        _show_timeline(persistence, options, output)
        return
    session = persistence.sessions.get(options.session, **_idle(options))
    if session is None:
        raise NotFoundError(f"{persistence.location} has no session {options.session!r}.")
    told = persistence.sessions.conversation(
        options.session, limit=options.limit, cursor=options.cursor
    )
    if not output.for_people:
        output.json(
            {"session": session.to_dict(), "conversation": [each.to_dict() for each in told]}
        )
        return
    output.fields(_fields(session))
    for exchange in told:
        output.line()
        _show_exchange(exchange, output)
    if told.next_cursor is not None:
        say(f"There are earlier runs: add --cursor {told.next_cursor} for them, or --limit all.")


def _fields(session: Session) -> dict[str, Any]:
    name = f" ({session.agent_name})" if session.agent_name else ""
    tokens = f"{session.input_tokens:,} in, {session.output_tokens:,} out"
    unpriced = f", {session.unpriced:,} of unknown cost" if session.unpriced else ""
    return {
        "session": session.session_id,
        "agent": f"{session.agent_id}{name}" if session.agent_id else None,
        "user": session.user_id,
        "status": session.status,
        "started": local_time(session.started_at),
        "last event": local_time(session.last_event_at),
        "ended": local_time(session.ended_at) if session.ended_at else None,
        "runs": f"{session.runs:,}",
        "events": f"{session.events:,}, {session.tool_calls:,} of them tool calls",
        "model calls": f"{session.model_calls:,}{unpriced}",
        "errors": f"{session.errors:,}",
        "tokens": tokens,
        "cost": money(session.cost_usd),
        "tags": ", ".join(session.tags) if session.tags else None,
        "metadata": session.metadata,
    }


def _show_exchange(exchange: Exchange, output: Output) -> None:
    took = "" if exchange.duration_ms is None else span(exchange.duration_ms)
    done = ", ".join(part for part in (exchange.status, took, exchange.done) if part)
    output.line(output.paint(f"{local_time(exchange.at)}  {exchange.run_id}", DIM))
    answers = (("error", exchange.error, RED), ("answered", exchange.answered, ""))
    for word, said, style in (("asked", exchange.asked, BOLD), ("did", done, DIM), *answers):
        if said:
            room = output.width - _WORD
            output.line(f"{word:<{_WORD}}{fitted([cell(said, style)], room, output)}")


_WORD = len("answered") + 2


def _show_timeline(persistence: Persistence, options: Namespace, output: Output) -> None:
    page = persistence.sessions.timeline(
        options.session, limit=options.limit, cursor=options.cursor
    )
    if not output.for_people:
        output.json_list(entry.to_dict() for entry in page)
    elif page.entries:
        _write_entries(page.entries, output)
    else:
        say(f"Nothing happened in session {options.session!r}.")
    if page.next_cursor is not None:
        say(f"There are more: add --cursor {page.next_cursor} for the next, or --limit all.")


def _write_entries(entries: Sequence[TimelineEntry], output: Output) -> None:
    """Write a line for each entry: when, since the one before, how long, whose, and what."""
    ids = short_ids(entry.run_id for entry in entries)
    rows = [
        (
            "" if entry.gap_ms is None else f"+{span(entry.gap_ms)}",
            "" if entry.duration_ms is None else span(entry.duration_ms),
            one_line(ids[entry.run_id]),
        )
        for entry in entries
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for (gap, took, run_id), entry in zip(rows, entries, strict=True):
        times = f"{local_time(entry.at)}  {gap:>{widths[0]}}  {took:>{widths[1]}}"
        left = f"{times}  {run_id:<{widths[2]}}  "
        words = fitted(headline(entry.step), output.width - len(left), output)
        output.line((output.paint(left, DIM) + words).rstrip())
