"""Show what happened in a run, oldest first; or without a run what happened at all, newest first.

As JSON, a list of events, each an object of its fields, as to_dict() gives it.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from curio_persistence.cli.arguments.filters import add_filters, filters, resolve_projects
from curio_persistence.cli.arguments.listing import Question, add_listing_options, nothing, show
from curio_persistence.cli.arguments.options import open_for_reading
from curio_persistence.cli.arguments.run_ids import short_ids
from curio_persistence.cli.commands.runs import get_run
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import DIM, RED, YELLOW, Output
from curio_persistence.cli.terminal.tables import Cell, Column, cell
from curio_persistence.errors import ConfigurationError
from curio_persistence.views.wording import local_time

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

EVENT_FILTERS = (
    *("agent_id", "session_id", "user_id", "source", "project"),
    *("event_type", "level", "min_level", "payload"),
)
STYLES = {"debug": DIM, "info": "", "warning": YELLOW, "error": RED, "critical": RED}
"""How levels look."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("named_run", metavar="RUN", nargs="?", help="only this run's events")
    add_filters(parser, "events", "run_id", *EVENT_FILTERS, "seq")
    add_listing_options(parser, default="20, of a run all")
    parser.set_defaults(limit=...)  # Which depends on whether a run is named.


def run(options: Namespace, output: Output) -> int:
    of_run = name_one_run(options)
    if options.limit is ...:
        options.limit = None if of_run else 20
    with open_for_reading(options) as persistence:
        said = nothing(persistence, "events", narrowed=True)
        if of_run:
            options.run_id = get_run(persistence, options.run_id).run_id
            said = f"Run {options.run_id} has no such events."
        resolve_projects(persistence, options)
        question = Question(
            persistence.query_events,
            persistence.iter_agent_run_events,
            filters(options),
            order="oldest" if of_run else "newest",
        )
        show(persistence, question, options, output, partial(_rows, with_run=not of_run), said)
    return OK


def name_one_run(options: Namespace) -> bool:
    """Take RUN for --run; return whether a run is named."""
    if options.named_run is not None:
        if options.run_id is not None:
            raise ConfigurationError("RUN and --run name the same thing: drop one of them.")
        options.run_id = options.named_run
    return options.run_id is not None


class _Column(NamedTuple):
    """A column of the table: what stands in it, and of which events it is worth its room."""

    column: Column
    cell: Callable[[AgentRunEvent], Cell]
    is_needed: Callable[[AgentRunEvent], bool] = lambda event: True


_TIME = _Column(Column("TIME"), lambda e: cell(local_time(e.timestamp, "milliseconds"), DIM))
_WHAT = (
    _Column(
        Column("SEQ", right=True), lambda e: cell(str(e.seq or "")), lambda e: e.seq is not None
    ),
    _Column(
        Column("LEVEL"),
        lambda e: cell(e.level, STYLES.get(e.level, "")),
        lambda e: e.level != "info",
    ),
    _Column(Column("TYPE"), lambda e: cell(e.event_type)),
    _Column(Column("MESSAGE", most=60), lambda e: cell(e.message), lambda e: bool(e.message)),
    _Column(Column("DATA", grows=True), lambda e: cell(error_first(e.data))),
)


def _rows(
    events: Sequence[AgentRunEvent], *, with_run: bool
) -> tuple[list[Column], list[list[Cell]]]:
    ids = short_ids(event.run_id for event in events)
    of_run = _Column(Column("RUN", most=255), lambda e: cell(ids[e.run_id]))
    possible = (_TIME, of_run, *_WHAT) if with_run else (_TIME, *_WHAT)
    columns = [column for column in possible if any(map(column.is_needed, events))]
    return [c.column for c in columns], [[c.cell(event) for c in columns] for event in events]


def error_first(data: str | None) -> str | None:
    """Return a payload with its `error`, if it has one, first: lines are cut at their end."""
    if data is None or '"error"' not in data:
        return data
    try:
        payload = json.loads(data)
    except (ValueError, RecursionError):
        return data
    if not isinstance(payload, dict) or not payload.get("error"):
        return data
    return json.dumps({"error": payload["error"], **payload}, ensure_ascii=False)
