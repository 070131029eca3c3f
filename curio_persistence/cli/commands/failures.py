"""Show what failed and why: runs, tool calls and model calls, grouped by their message.

Messages that differ only in numbers and ids are one group, in which # stands for what differs. The
group of the newest failure comes first, with that failure's time and the command that shows its
run. As JSON, a list of groups: `kind` (run, tool or model), `name`, `message`, `count`, `first`,
`last`, `run_id`, and `messages`: how many were merged.

With --similar the messages of one agent, tool or model that mean much the same are merged; the most
frequent one stands for all. Needs the extra "similar", or --embed.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.filters import add_filters, filters
from curio_persistence.cli.arguments.listing import nothing
from curio_persistence.cli.arguments.options import (
    add_archive_option,
    add_embed_option,
    add_json_options,
    add_window_options,
    count_or_all,
    open_for_reading,
)
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import BOLD, DIM, RED, Output, say
from curio_persistence.cli.terminal.text import folded, one_line, shortened
from curio_persistence.views.wording import local_time

if TYPE_CHECKING:
    from curio_persistence import FailureGroup

EXAMPLES = """\
  curio-persistence failures
  curio-persistence failures --since 24h --agent researcher
  curio-persistence failures --similar --since 7d
  curio-persistence failures --since 7d --limit all --json > failures.json
"""


def add_arguments(parser: ArgumentParser) -> None:
    add_filters(parser, "failures", "agent_id", "session_id")
    add_window_options(parser)
    parser.add_argument(
        "--limit",
        metavar="N",
        type=count_or_all,
        default=20,
        help="maximum number of groups (default: 20), or 'all'",
    )
    parser.add_argument(
        "--similar", action="store_true", help="merge messages that mean much the same"
    )
    add_embed_option(parser)
    add_archive_option(parser)
    add_json_options(parser)


def run(options: Namespace, output: Output) -> int:
    wanted = filters(options)
    with open_for_reading(options) as persistence:
        group = persistence.similarity.failures if options.similar else persistence.stats.failures
        found = group(**wanted)
        said = nothing(persistence, "failures", narrowed=any(wanted.values()))
    shown = found[: options.limit]
    if not output.for_people:
        output.json_list(shown.to_dicts())
    else:
        _show(list(shown), output)
    if not found:
        say(said)
    elif len(found) > len(shown):
        say(f"There are {len(found) - len(shown):,} more groups: add --limit all.")
    return OK


def _show(groups: list[FailureGroup], output: Output) -> None:
    digits = max((len(f"{group.count:,}") for group in groups), default=0)
    for group in groups:
        _show_one(group, digits, output)


def _show_one(group: FailureGroup, digits: int, output: Output) -> None:
    indent = " " * (digits + 3)
    count, when = f"{group.count:>{digits},}×", local_time(group.last)
    room = max(output.width - len(f"{count}  {when}  "), 16)
    name = shortened(one_line(f"{group.kind} {group.name}"), room)
    output.line(
        f"{output.paint(count, RED)}  {output.paint(when, DIM)}  {output.paint(name, BOLD)}"
    )
    message = one_line(group.message)
    if group.messages > 1:
        message += f" (and {group.messages - 1:,} more messages like it)"
    for begin, end in folded(message, output.width - len(indent)):
        output.line(f"{indent}{message[begin:end]}".rstrip())
    if group.run_id is not None:
        output.line(indent + output.paint(one_line(f"show {group.run_id}"), DIM))
