"""Write records to a file, as they are at this moment: JSON lines, CSV, Parquet or Arrow.

JSON lines are one file with all records, oldest first. CSV, Parquet and Arrow are one file if
--table names one kind of records, and else a folder with a file for each. A file gets its name
when it is complete. What was exported is read again by `curio-persistence import records`.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from curio_persistence.cli.exits import OK
from curio_persistence.cli.options import add_window_options, open_for_reading
from curio_persistence.cli.output import Output, say
from curio_persistence.cli.progress import progress_line

EXAMPLES = """\
  curio-persistence export --output exported.jsonl
  curio-persistence export --output exported --format csv --since 30d
  curio-persistence export --table events --level error --output errors.csv
  curio-persistence export --run-id run-42 --output - | gzip > run-42.jsonl.gz
"""

_TABLES = ("runs", "events", "usage")
_FORMATS = ("jsonl", "csv", "parquet", "arrow")
_FILTERS = {
    "agent_id": "agent",
    "run_id": "run_id",
    "session_id": "session",
    "status": "status",
    "event_type": "type",
    "level": "level",
    "min_level": "min_level",
    "model": "model",
    "since": "since",
    "until": "until",
}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--output",
        "-o",
        metavar="PATH",
        required=True,
        help="the file or folder to write; - is stdout",
    )
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        help="by default what the ending of PATH says; jsonl on stdout",
    )
    parser.add_argument(
        "--table",
        action="append",
        choices=_TABLES,
        help="only these records; may be given more than once",
    )
    parser.add_argument("--force", action="store_true", help="replace what is there")
    group = parser.add_argument_group("which records; of all kinds that are exported")
    group.add_argument("--agent", metavar="ID", help="only this agent's")
    group.add_argument("--run-id", metavar="ID", help="only this run, and what belongs to it")
    group.add_argument("--session", metavar="ID", help="only of this session; not for usage")
    group.add_argument(
        "--status", action="append", help="only with this status; not for events; repeatable"
    )
    group.add_argument("--type", action="append", help="only events of this type; repeatable")
    group.add_argument("--level", action="append", help="only events of this level; repeatable")
    group.add_argument("--min-level", metavar="LEVEL", help="only events at least so severe")
    group.add_argument("--model", action="append", help="only calls of this model; repeatable")
    add_window_options(parser)


def run(options: Namespace, output: Output) -> int:
    from curio_persistence import export_records

    to_stdout = options.output == "-"
    target: Any = sys.stdout.buffer if to_stdout else options.output
    filters = {name: getattr(options, option) for name, option in _FILTERS.items()}
    with open_for_reading(options) as persistence, progress_line("Exporting") as progress:
        report = export_records(
            persistence,
            target,
            format=options.format or ("jsonl" if to_stdout else None),
            tables=options.table or _TABLES,
            overwrite=options.force,
            progress=progress,
            **filters,
        )
    where = "" if to_stdout else f" to {report.path}"
    say(
        f"Exported{where}: {report.runs:,} runs, {report.events:,} events, "
        f"{report.usage:,} model calls."
    )
    return OK
