"""Show the run log of a session: its last entries, oldest first, or what follows from them.

`steps` are the messages that were committed, as they count now: without those that were rolled
back, and condensed where they were. `context` is what the agent sends with its next call of a
model. `runs` are the runs as their entries say. With --until they are as of that sequence.

As JSON, a list of entries, each an object with its `sequence`, `kind` and `data`; or a list of
steps, of messages, or of runs.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from curio_persistence.cli.arguments.filters import add_filters
from curio_persistence.cli.arguments.options import (
    add_json_options,
    count_or_all,
    open_for_reading,
)
from curio_persistence.cli.arguments.run_ids import resolve_run, short_ids
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import CYAN, DIM, GREEN, RED, Output, say
from curio_persistence.cli.terminal.tables import Cell, Column, cell
from curio_persistence.errors import ConfigurationError, NotFoundError
from curio_persistence.views.run_logs import data_of, plain_entry, plain_view
from curio_persistence.views.values import compact
from curio_persistence.views.wording import local_time

if TYPE_CHECKING:
    from curio_persistence import Persistence

EXAMPLES = """\
  curio-persistence runlog chat-1
  curio-persistence runlog chat-1 --kind run_started --kind run_finished --limit all
  curio-persistence runlog chat-1 --after 100 --limit 50 --json
  curio-persistence runlog chat-1 steps --until 120
  curio-persistence runlog chat-1 context --json
"""

_STYLES = {"completed": GREEN, "failed": RED, "running": CYAN}


Columns = Sequence[tuple[Column, Callable[[Any], Cell]]]
"""The columns of a table, each with what stands in it."""


class _Shown(NamedTuple):
    """One view of a run log: its reading, its JSON, its columns, and the options that it takes."""

    read: Callable[[Persistence, Namespace], Sequence[Any]]
    plain: Callable[[Any], dict[str, Any]]
    columns: Callable[[Sequence[Any]], Columns]
    options: tuple[str, ...] = ()


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("session", metavar="SESSION", help="the id of the session")
    parser.add_argument(
        "what",
        metavar="WHAT",
        nargs="?",
        choices=tuple(_SHOWN),
        default="entries",
        help=f"{', '.join(_SHOWN)} (default: entries)",
    )
    add_filters(parser, "entries and steps", "run_id", "agent_id")
    parser.add_argument(
        "--kind",
        action="append",
        help="only entries of this kind; given more than once, of one of these",
    )
    parser.add_argument(
        "--after", metavar="N", type=_sequence, help="begin after this sequence, not at the end"
    )
    parser.add_argument(
        "--until", metavar="N", type=_sequence, help="up to this sequence; as of this one"
    )
    parser.add_argument(
        "--limit",
        metavar="N",
        type=count_or_all,
        default="20",
        help="at most so many (default: 20), or 'all'",
    )
    add_json_options(parser)


def _sequence(text: str) -> int:
    if not text.isdecimal() or len(text) > 15:
        raise ArgumentTypeError(f"{text!r} is not a sequence, such as 42")
    return int(text)


def run(options: Namespace, output: Output) -> int:
    shown = _SHOWN[options.what]
    _refuse_contradictions(options, shown)
    with open_for_reading(options) as persistence:
        resolve_run(persistence, options)
        if not persistence.runlog.max_sequence(options.session):
            raise NotFoundError(
                f"{persistence.location} has no run log of a session {options.session!r}."
            )
        found = shown.read(persistence, options)
        if not output.for_people:
            output.json_list(map(shown.plain, found))
        elif found:
            columns = shown.columns(found)
            rows = [[show(one) for _, show in columns] for one in found]
            output.table([column for column, _ in columns], rows)
        else:
            say(f"The run log of session {options.session!r} has no such {options.what}.")
        if options.limit is not None and len(found) == options.limit:
            say("There may be more: add --limit all.")
    return OK


def _refuse_contradictions(options: Namespace, shown: _Shown) -> None:
    given = {"run_id": "--run", "agent_id": "--agent", "kind": "--kind", "after": "--after"}
    for name, option in given.items():
        if getattr(options, name) is not None and name not in shown.options:
            raise ConfigurationError(f"{option} does not go with {options.what}: drop it.")


# --- what is read ---------------------------------------------------------------------------------


def _entries(persistence: Persistence, options: Namespace) -> Sequence[Any]:
    found = persistence.runlog.entries(
        options.session,
        run_id=options.run_id,
        agent_id=options.agent_id,
        kinds=options.kind,
        after=options.after,
        until=options.until,
        order=_order(options),
        limit=options.limit,
    )
    return _oldest_first(found, options)


def _steps(persistence: Persistence, options: Namespace) -> Sequence[Any]:
    found = persistence.runlog.step_views(
        options.session,
        run_id=options.run_id,
        agent_id=options.agent_id,
        start=None if options.after is None else options.after + 1,
        until_seq=options.until,
        order=_order(options),
        limit=options.limit,
    )
    return _oldest_first(found, options)


def _order(options: Namespace) -> Literal["newest", "oldest"]:
    """Return the order in which the first ones after a sequence are read, or the last ones."""
    return "newest" if options.after is None else "oldest"


def _oldest_first(found: Sequence[Any], options: Namespace) -> Sequence[Any]:
    return found[::-1] if _order(options) == "newest" else found


def _context(persistence: Persistence, options: Namespace) -> Sequence[Any]:
    messages = persistence.runlog.context(
        options.session, agent_id=options.agent_id, until_seq=options.until
    )
    return messages if options.limit is None else messages[max(0, len(messages) - options.limit) :]


def _runs(persistence: Persistence, options: Namespace) -> Sequence[Any]:
    return persistence.runlog.run_views(
        options.session, limit=options.limit, until_seq=options.until
    )


# --- tables ---------------------------------------------------------------------------------------


def _message_cell(message: Mapping[str, Any]) -> Cell:
    """Return what a message says: its content, or what it calls."""
    said = message.get("content")
    if said is None:
        said = message.get("tool_calls")
    return cell(compact(said))


_SEQ = (Column("SEQ", right=True), lambda one: cell(str(one.sequence)))


def _run_column(found: Sequence[Any]) -> Columns:
    """Return the column of runs, if there are several."""
    ids = short_ids(one.run_id for one in found)
    return [(Column("RUN", most=255), lambda one: cell(ids[one.run_id]))] if len(ids) > 1 else []


def _columns_of_entries(found: Sequence[Any]) -> Columns:
    return [
        _SEQ,
        (Column("TIME"), lambda entry: cell(local_time(entry.created_at), DIM)),
        *_run_column(found),
        (Column("KIND"), lambda entry: cell(str(entry.kind))),
        (Column("DATA", grows=True), lambda entry: cell(compact(data_of(entry)))),
    ]


def _columns_of_steps(found: Sequence[Any]) -> Columns:
    return [
        _SEQ,
        *_run_column(found),
        (Column("ROLE"), lambda step: cell(str(step.role))),
        (Column("CONTENT", grows=True), lambda step: _message_cell(step.to_message())),
    ]


def _columns_of_messages(found: Sequence[Any]) -> Columns:
    return [
        (Column("ROLE"), lambda message: cell(message.get("role"))),
        (Column("CONTENT", grows=True), _message_cell),
    ]


def _columns_of_runs(found: Sequence[Any]) -> Columns:
    ids = short_ids(view.run_id for view in found)
    return [
        (Column("RUN", most=255), lambda view: cell(ids[view.run_id])),
        (Column("AGENT", most=20), lambda view: cell(view.agent_id)),
        (Column("STATUS"), lambda view: cell(str(view.status), _STYLES.get(str(view.status), ""))),
        (Column("BEGAN"), lambda view: cell(local_time(view.created_at), DIM)),
        (Column("RESPONSE", grows=True), lambda view: cell(view.response)),
    ]


_SHOWN: Mapping[str, _Shown] = {
    "entries": _Shown(
        _entries, plain_entry, _columns_of_entries, ("run_id", "agent_id", "kind", "after")
    ),
    "steps": _Shown(_steps, plain_view, _columns_of_steps, ("run_id", "agent_id", "after")),
    "context": _Shown(_context, dict, _columns_of_messages, ("agent_id",)),
    "runs": _Shown(_runs, plain_view, _columns_of_runs),
}
