"""Show the newest events, and with --follow those that come, until Ctrl-C.

Every committed event is shown once, even if its transaction ends late. While the database cannot be
reached, tail says so once and tries again. As JSON, each event is an object on a line of its own,
with the fields of to_dict().
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.filters import add_filters, filters
from curio_persistence.cli.arguments.options import (
    add_window_options,
    count,
    open_for_reading,
    seconds,
)
from curio_persistence.cli.arguments.run_ids import resolve_run, short_ids
from curio_persistence.cli.commands.events import EVENT_FILTERS, STYLES, error_first, name_one_run
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import DIM, Output, say
from curio_persistence.cli.terminal.text import cells, one_line, padded, shortened
from curio_persistence.errors import UnavailableError
from curio_persistence.views.wording import local_time

if TYPE_CHECKING:
    from curio_persistence import AgentRunEvent

EXAMPLES = """\
  curio-persistence tail
  curio-persistence tail run-42
  curio-persistence tail -n 3 --min-level warning
  curio-persistence tail --agent researcher --jsonl | head -1
"""

_RUN_WIDTH, _TYPE_WIDTH = 12, 16
_LONGEST = 60


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("named_run", metavar="RUN", nargs="?", help="only this run's events")
    parser.add_argument(
        "-n", metavar="N", dest="last", type=count, default=10, help="how many (default: 10)"
    )
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on with the events that come, until Ctrl-C"
    )
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=seconds,
        default=0.5,
        help="how long to wait between two looks (default: 0.5)",
    )
    add_filters(parser, "events", "run_id", *EVENT_FILTERS)
    add_window_options(parser)
    parser.add_argument(
        *("--json", "--jsonl"),
        action="store_true",
        help="print each as JSON on a line, on a terminal too",
    )


def run(options: Namespace, output: Output) -> int:
    name_one_run(options)
    with open_for_reading(options) as persistence:
        resolve_run(persistence, options)
        following = persistence.events.follow(
            last=options.last, interval=options.interval, **filters(options)
        )
        _show(next(following), output)
        if options.follow:
            for events in _despite_outages(following, options.interval):
                output.check_reader()
                _show(events, output)
    return OK


def _despite_outages(
    following: Iterator[list[AgentRunEvent]], interval: float
) -> Iterator[list[AgentRunEvent]]:
    """Yield the events that come; report an outage once, and go on after it."""
    told = False
    while True:
        try:
            events = next(following)
        except UnavailableError as error:
            if not told:
                say(f"{error} Trying again …")
            told = True
            time.sleep(interval)
            continue
        told = False
        yield events


def _show(events: list[AgentRunEvent], output: Output) -> None:
    ids = short_ids(event.run_id for event in events)
    for event in events:
        if output.for_people:
            output.line(_line(event, ids[event.run_id], output))
        else:
            output.json_line(event.to_dict())
    if events:
        output.flush()


def _line(event: AgentRunEvent, short_id: str, output: Output) -> str:
    """Return an event on one line: its time, run, type and message."""
    time_and_run = (
        f"{local_time(event.timestamp, 'milliseconds')}  "
        f"{padded(shortened(one_line(short_id), _LONGEST), _RUN_WIDTH)}  "
    )
    kind = padded(shortened(one_line(event.event_type), _LONGEST), _TYPE_WIDTH)
    said = [event.level] if event.level != "info" else []
    said += [text for text in (event.message, error_first(event.data)) if text]
    room = max(output.width - cells(time_and_run) - cells(kind) - 2, _TYPE_WIDTH)
    what = shortened(one_line("  ".join(map(one_line, said))), room)
    style = STYLES.get(event.level, "")
    return f"{output.paint(time_and_run, DIM)}{output.paint(f'{kind}  {what}'.rstrip(), style)}"
