"""Show a run as a story: how it ended, and step by step what led there.

Steps are events, model calls and child runs, by time since the run began; a child run's own steps
are indented below it. A tool call stands where it began, a model call where it had answered.

As JSON, an object of the `run`, its `events`, its `usage` and its `children`, each of which is such
an object; the lists are null where --depth ended.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curio_persistence.cli.arguments.listing import archived_runs
from curio_persistence.cli.arguments.options import (
    add_archive_option,
    add_json_option,
    count,
    open_for_reading,
)
from curio_persistence.cli.arguments.run_ids import full_id
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.run_view import show_timeline, timeline
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.text import one_line
from curio_persistence.errors import ConfigurationError, NotFoundError
from curio_persistence.views.approvals import said_of_approval
from curio_persistence.views.histories import History, Totals
from curio_persistence.views.scores import said_of_score
from curio_persistence.views.steps import LEVELS, RecordRef, begin_of
from curio_persistence.views.wording import duration, local_time, money

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curio_persistence import Approval, Persistence

EXAMPLES = """\
  curio-persistence show run-42
  curio-persistence show last
  curio-persistence show --failed --full
  curio-persistence show run-42 --min-level warning
  curio-persistence show run-42 --limit 20 --depth 0
  curio-persistence show run-42 --type tool_call --full
  curio-persistence show run-40 --around event:2 --limit 3
  curio-persistence show run-42 --json > run-42.json
  curio-persistence show run-42 --html run-42.html
"""

_NEAR = 5
_FAILED = ("error", "timeout")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "run_id",
        metavar="RUN",
        nargs="?",
        help="the run's id, as runs shows it, or `last` for the newest run",
    )
    parser.add_argument(
        "--failed", action="store_true", help="the newest run that failed, in place of RUN"
    )
    parser.add_argument(
        "--min-level",
        metavar="LEVEL",
        choices=LEVELS,
        default=LEVELS[0],
        help=f"only what is so severe: {', '.join(LEVELS)}; what failed is at least a warning",
    )
    parser.add_argument(
        "--type",
        action="append",
        help="only events of this type, and no model calls; given more than once, of one of these",
    )
    parser.add_argument(
        "--limit",
        metavar="N",
        type=count,
        help="only the last N events and model calls of each run (default: all); with --around N "
        f"before and N after (default: {_NEAR})",
    )
    parser.add_argument(
        "--around",
        metavar="HIT",
        type=place,
        help="only what is near an event or a model call, which is marked: event:7 or usage:3, as "
        "search says",
    )
    parser.add_argument(
        "--depth",
        metavar="N",
        type=count,
        help="child runs of N generations, deeper ones as one line (default: all, with --around 0, "
        "which is none)",
    )
    parser.add_argument(
        "--full", action="store_true", help="with all that was said: arguments, results, prompts"
    )
    parser.add_argument(
        "--html",
        metavar="FILE",
        help="write one page with all of it to a new file, to be sent to a colleague",
    )
    add_archive_option(parser)
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence:
        run_id = _run_id(persistence, options)
        history = persistence.runs.history(run_id, **_wanted(options))
        approvals = persistence.approvals.list(run_id)
        is_archived = run_id in archived_runs(persistence, options, [history.run])
    if options.html is not None:
        _write_page(history, options.html)
        return OK
    if not output.for_people:
        output.json(history.to_dict())
        return OK
    _show_head(history, approvals, output, options.archive if is_archived else None)
    output.line()
    show_timeline(timeline(history, full=options.full), begin_of(history.run), output)
    return OK


def _run_id(persistence: Persistence, options: Namespace) -> str:
    if options.failed == (options.run_id is not None):
        raise ConfigurationError("Name a RUN, or `last`, or give --failed.")
    if not options.failed:
        return full_id(persistence, options.run_id)
    for run in persistence.query_agent_runs(status=_FAILED, limit=1):
        return run.run_id
    raise NotFoundError("No run failed.")


def _write_page(history: History, path: str) -> None:
    from curio_persistence.views.html.page import page_of  # Few need it.

    try:
        with Path(path).open("x", encoding="utf-8") as file:
            file.write(page_of(history))
    except FileExistsError as error:
        raise ConfigurationError(f"{path} is there already: name a new file.") from error
    say(f"Wrote {path}.")


def place(text: str) -> RecordRef:
    """`event:7` or `usage:3`."""
    kind, _, number = text.partition(":")
    if kind not in ("event", "usage") or not number.isascii() or not number.isdigit():
        raise ArgumentTypeError(f"{text!r} is not a hit such as event:7 or usage:3")
    return RecordRef(kind, int(number))


def _wanted(options: Namespace) -> dict[str, Any]:
    limit, depth = options.limit, options.depth
    if options.around is not None:
        limit = _NEAR if limit is None else limit
        depth = 0 if depth is None else depth
    wanted = {"types": options.type, "limit": limit, "depth": depth, "around": options.around}
    said = {name: value for name, value in wanted.items() if value is not None}
    return {**said, "min_level": options.min_level}


def _show_head(
    history: History, approvals: Sequence[Approval], output: Output, archive: str | None
) -> None:
    run, own, totals = history.run, history.own, history.totals
    output.fields(
        {
            "run": run.run_id,
            "agent": f"{run.agent_id} ({run.agent_name})" if run.agent_name else run.agent_id,
            "status": run.status,
            "archived in": archive,
            "started": local_time(run.started_at),
            "took": duration(run.started_at, run.finished_at),
            "iterations": run.total_iterations or None,
            "parent run": run.parent_run_id,
            "session": run.session_id,
            "tags": ", ".join(run.tags) if run.tags else None,
            "model calls": _sum(own),
            "with children": None if own == totals or history.hit else _sum(totals),
            "metrics": run.metrics,
            "approvals": "\n".join(one_line(said_of_approval(each)) for each in approvals) or None,
            "scores": "\n".join(one_line(said_of_score(each)) for each in history.scores or ())
            or None,
            "objective": run.objective or None,
            "error": one_line(run.error_message) if run.error_message else None,
        }
    )


def _sum(totals: Totals) -> str | None:
    if not totals.calls:
        return None
    tokens = f"{totals.input_tokens:,} tokens in, {totals.output_tokens:,} out"
    return f"{totals.calls:,} with {tokens}, {_cost(totals)}"


def _cost(totals: Totals) -> str:
    if totals.cost_usd is None:
        return "unknown cost"
    unknown = f" and {totals.unpriced:,} of unknown cost" if totals.unpriced else ""
    return money(totals.cost_usd) + unknown
