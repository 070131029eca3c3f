"""Show what happened in a run, oldest first; or without a run what happened at all, newest first.

As JSON, a list of events, each an object of its fields, as to_dict() gives it.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.cli.exits import OK
from curio_persistence.cli.listing import Question, add_listing_options, nothing, show
from curio_persistence.cli.options import open_for_reading
from curio_persistence.cli.output import DIM, RED, YELLOW, Output
from curio_persistence.cli.query import get_run
from curio_persistence.cli.tables import Cell, Column, cell
from curio_persistence.cli.text import local_time

if TYPE_CHECKING:
    from curio_persistence import AgentRunEvent

EXAMPLES = """\
  curio-persistence events run-42
  curio-persistence events run-42 --type tool_call --limit 3
  curio-persistence events --min-level warning --since 2h
  curio-persistence events --agent researcher --type run_error --type run_completed
  curio-persistence events --type tool_call --payload tool_name=search --since 1d
  curio-persistence events --since 7d --limit all --jsonl > events.jsonl
"""

STYLES = {"debug": DIM, "info": "", "warning": YELLOW, "error": RED, "critical": RED}
"""How levels look."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run_id", metavar="RUN", nargs="?", help="the run's id, as query shows it")
    add_event_filters(parser)
    add_listing_options(parser, default="20, of a run all")
    parser.set_defaults(limit=...)  # Which depends on whether a run is named.


def add_event_filters(parser: ArgumentParser) -> None:
    """What events are picked by."""
    parser.add_argument("--agent", metavar="ID", help="only this agent's events")
    parser.add_argument("--session", metavar="ID", help="only events of this session")
    parser.add_argument(
        "--type",
        action="append",
        help="only events of this type; given more than once, of one of these",
    )
    parser.add_argument(
        "--level",
        action="append",
        help="only events of this level: debug, info, warning, error, critical, or another that an "
        "agent gave; given more than once, of one of these",
    )
    parser.add_argument("--min-level", metavar="LEVEL", help="only events that are so severe")
    parser.add_argument(
        "--payload",
        metavar="PATH=VALUE",
        type=payload_value,
        action="append",
        help="only events whose payload has this value there, such as tool_name=search or "
        "result.count=3; JSON numbers, true, false, null and text in quotation marks are that, "
        "anything else is text; given more than once, all of these",
    )


def event_filters(options: Namespace) -> dict[str, Any]:
    """What `add_event_filters` was told."""
    return {
        "agent_id": options.agent,
        "session_id": options.session,
        "event_type": options.type,
        "level": options.level,
        "min_level": options.min_level,
        "payload": dict(options.payload) if options.payload else None,
    }


def payload_value(text: str) -> tuple[str, Any]:
    """A path into payloads, and the value that is to be there."""
    path, equals, value = text.partition("=")
    if not path or not equals:
        raise ArgumentTypeError(f"{text!r} is not PATH=VALUE, such as tool_name=search")
    try:
        read = json.loads(value, parse_float=Decimal, parse_constant=str)
    except (ValueError, RecursionError):
        return path, value
    return path, value if isinstance(read, dict | list) else read


def run(options: Namespace, output: Output) -> int:
    of_run = options.run_id is not None
    if options.limit is ...:
        options.limit = None if of_run else 20
    with open_for_reading(options) as persistence:
        said = nothing(persistence, "events", narrowed=True)
        if of_run:
            run_id = get_run(persistence, options.run_id).run_id
            said = f"Run {run_id} has no such events."
        question = Question(
            persistence.query_events,
            persistence.iter_agent_run_events,
            {
                "run_id": options.run_id,
                **event_filters(options),
                "since": options.since,
                "until": options.until,
            },
            order="oldest" if of_run else "newest",
        )
        show(question, options, output, partial(_rows, with_run=not of_run), said)
    return OK


class _Column(NamedTuple):
    """A column of the table: what stands in it, and of which events it is worth its room."""

    column: Column
    cell: Callable[[AgentRunEvent], Cell]
    is_needed: Callable[[AgentRunEvent], bool] = lambda event: True


_TIME = _Column(Column("TIME"), lambda e: cell(local_time(e.timestamp, "milliseconds"), DIM))
_RUN = _Column(Column("RUN", most=255), lambda e: cell(e.run_id))
_WHAT = (
    _Column(
        Column("LEVEL"),
        lambda e: cell(e.level, STYLES.get(e.level, "")),
        lambda e: e.level != "info",
    ),
    _Column(Column("TYPE"), lambda e: cell(e.event_type)),
    _Column(Column("MESSAGE", most=60), lambda e: cell(e.message), lambda e: bool(e.message)),
    _Column(Column("DATA", grows=True), lambda e: cell(e.data)),
)


def _rows(
    events: Sequence[AgentRunEvent], *, with_run: bool
) -> tuple[list[Column], list[list[Cell]]]:
    possible = (_TIME, _RUN, *_WHAT) if with_run else (_TIME, *_WHAT)
    columns = [column for column in possible if any(map(column.is_needed, events))]
    return [c.column for c in columns], [[c.cell(event) for c in columns] for event in events]
