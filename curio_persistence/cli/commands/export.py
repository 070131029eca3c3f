"""Write records to a file, as they are at this moment, or send traces by OTLP.

A file has JSON lines, CSV, Parquet or Arrow. JSON lines are one file with all records, oldest
first. The others are one file if --table names one kind of records, and else a folder with a file
for each. A file gets its name when it is complete. With --with-proof it is a folder in which
`python verify.py` verifies the hash chains without this library. What was exported is read again by
`curio-persistence import records`.

`export otlp URL` sends the traces that have ended to a receiver of OpenTelemetry, such as Phoenix,
MLflow, or `curio-persistence serve`: those of all runs, or of those that --agent, --run, --session,
--user, --status, --since and --until select. What it sent is printed as JSON.

`export atif` writes what was said in runs as trajectories of ATIF, with child runs embedded: a
.json file of one run, a .jsonl file, or a folder. `export chat` writes examples for fine-tuning,
one on each line: whole dialogues of runs that completed, in which secrets are replaced. --where
selects by scores; runs that are left out are counted with the reason.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from curio_persistence.cli import export_dialogues, export_otlp
from curio_persistence.cli.arguments.filters import add_filters, filters, resolve_projects
from curio_persistence.cli.arguments.options import (
    add_archive_option,
    add_window_options,
    open_for_export,
)
from curio_persistence.cli.arguments.run_ids import resolve_run
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.kinds import WORDS, said
from curio_persistence.cli.terminal.interrupts import tidied_when_interrupted
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.errors import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from curio_persistence import Persistence

EXAMPLES = """\
  curio-persistence export --output exported.jsonl
  curio-persistence export --output exported --format csv --since 30d
  curio-persistence export --table events --level error --output errors.csv
  curio-persistence export --output everything.jsonl --archive old-runs
  curio-persistence export --output evidence --with-proof
  curio-persistence export --run-id run-42 --output - | gzip > run-42.jsonl.gz
  curio-persistence export atif --since 30d --output trajectories
  curio-persistence export chat --where 'score.quality > 3' --output good.jsonl
  curio-persistence export otlp http://127.0.0.1:6006 --agent planner --dry-run
"""

_FORMATS = ("jsonl", "csv", "parquet", "arrow")
_OF_FILES = ("output", "format", "table", "force", "with_proof", "no_snapshot")
"""The options that only an export to a file takes."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "form",
        metavar="otlp|atif|chat",
        nargs="?",
        choices=("otlp", *export_dialogues.FORMS),
        help="send traces, or write trajectories or examples for fine-tuning",
    )
    parser.add_argument("receiver", metavar="URL", nargs="?", help="where to send traces")
    parser.add_argument(
        "--output",
        "-o",
        metavar="PATH",
        help="the file or folder to write; - is stdout",
    )
    parser.add_argument(
        "--format",
        choices=(*_FORMATS, *export_dialogues.CHATS),
        metavar="FORMAT",
        help=f"{', '.join(_FORMATS)}: by default what the ending of PATH says, jsonl on stdout; of "
        f"chat {' or '.join(export_dialogues.CHATS)}",
    )
    parser.add_argument(
        "--table",
        action="append",
        choices=WORDS,
        metavar="TABLE",
        help=f"only these records: {', '.join(WORDS)}; may be given more than once",
    )
    parser.add_argument("--force", action="store_true", help="replace what is there")
    parser.add_argument(
        "--with-proof",
        action="store_true",
        help="a folder of JSON lines with the hash chains, and a program that verifies them",
    )
    parser.add_argument(
        "--no-snapshot",
        action="store_true",
        help="read page by page, not as of one moment: a long export then holds back no log",
    )
    add_archive_option(parser)
    export_dialogues.add_options(parser.add_argument_group("export atif, export chat"))
    export_otlp.add_options(parser.add_argument_group("export otlp URL"))
    group = parser.add_argument_group("which records; what not all kinds have needs a --table")
    add_filters(group, "records", "agent_id", "run_id", "session_id", "user_id")
    add_filters(group, "runs, events and calls", "source", "project")
    add_filters(group, "runs", "parent_run_id", "tags", "any_tags", "metadata")
    add_filters(group, "runs and calls", "status")
    add_filters(group, "events", "event_type", "level", "min_level", "payload")
    add_filters(group, "calls", "model", "provider")
    add_window_options(group)


def run(options: Namespace, output: Output) -> int:
    if options.form == "otlp":
        _check_otlp(options)
        return export_otlp.run(options, output)
    if options.form is not None:
        return export_dialogues.run(options)
    if options.output is None:
        raise ConfigurationError("Say where the records go: --output PATH, or export otlp URL.")
    export_otlp.refuse_options(options)
    export_dialogues.refuse_options(options)
    if options.format in export_dialogues.CHATS:
        raise ConfigurationError(f"--format {options.format} is for examples: export chat")
    return _write_file(options)


def _check_otlp(options: Namespace) -> None:
    """Refuse what only an export to a file takes."""
    if options.receiver is None:
        raise ConfigurationError("Say where the traces go: export otlp http://127.0.0.1:6006")
    others = {name for name in filters(options) if name not in export_otlp.FILTERS}
    for name in (*_OF_FILES, *export_dialogues.OPTIONS, *sorted(others)):
        if getattr(options, name):
            raise ConfigurationError(f"export otlp does not take --{name.replace('_', '-')}.")


def _write_file(options: Namespace) -> int:
    from curio_persistence import export_records

    to_stdout = options.output == "-"
    target: Any = sys.stdout.buffer if to_stdout else options.output
    tables = options.table or tuple(WORDS)
    with (
        open_for_export(options) as persistence,
        progress_line("Exporting") as progress,
        tidied_when_interrupted(),
    ):
        _find_run(persistence, options)
        resolve_projects(persistence, options)
        report = export_records(
            persistence,
            target,
            format=options.format or ("jsonl" if to_stdout else None),
            tables=tables,
            overwrite=options.force,
            snapshot=not options.no_snapshot,
            with_proof=options.with_proof,
            progress=progress,
            **filters(options, *tables),
        )
    where = "" if to_stdout else f" to {report.path}"
    say(f"Exported{where}: {said(report, tables) or 'no such records'}.")
    return OK


def _find_run(persistence: Persistence, options: Namespace) -> None:
    """Resolve the run, if one is named; refuse one that left no records, before a file is made."""
    resolve_run(persistence, options)
    run_id = options.run_id
    if run_id is None or persistence.get_agent_run(run_id) is not None:
        return
    if not persistence.count_llm_usage(run_id=run_id):
        raise NotFoundError(f"There are no records of run {run_id!r}.")
