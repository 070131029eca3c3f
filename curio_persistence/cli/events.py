"""Show what happened in a run, oldest first.

As JSON, a list of events, each an object of its fields, as to_dict() gives it.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from curio_persistence.cli.exits import OK
from curio_persistence.cli.options import add_json_option, count, open_for_reading
from curio_persistence.cli.output import DIM, Output, say
from curio_persistence.cli.query import get_run
from curio_persistence.cli.tables import Column, cell
from curio_persistence.cli.text import local_time

EXAMPLES = """\
  curio-persistence events run-42
  curio-persistence events run-42 --type tool_call --limit 3
  curio-persistence events run-42 --json > events.json
"""

_COLUMNS = (Column("TIME"), Column("TYPE"), Column("DATA", grows=True))


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run_id", metavar="RUN", help="the run's id, as query shows it")
    parser.add_argument("--type", metavar="TYPE", help="only events of this type")
    parser.add_argument(
        "--limit", metavar="N", type=count, help="only the first N (default: all of them)"
    )
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence:
        run_id = get_run(persistence, options.run_id).run_id
        events = persistence.events.of_run(run_id, event_type=options.type, limit=options.limit)
    if not output.for_people:
        output.json([event.to_dict() for event in events])
    elif events:
        output.table(
            _COLUMNS,
            [
                (
                    cell(local_time(event.timestamp, "milliseconds"), DIM),
                    cell(event.event_type),
                    cell(event.data),
                )
                for event in events
            ],
        )
    else:
        say(f"Run {run_id} has no such events.")
    return OK
