"""Ask in SQL. Nothing is changed, whatever the statement says.

runs, llm_calls, tool_calls and events have the same columns in SQLite and PostgreSQL, with costs in
US dollars, durations in seconds and times in UTC. `SELECT * FROM runs LIMIT 1` shows which. With
an archive, they have the rows of both, and DuckDB runs the statement.

As JSON, a list of objects with the columns' names; what is NULL is null, and nothing in CSV.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from curio_persistence.cli.arguments.options import (
    add_archive_option,
    add_json_options,
    count_or_all,
    open_for_reading,
)
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.tables import Column, cell

if TYPE_CHECKING:
    from curio_persistence import SQLResult

EXAMPLES = """\
  curio-persistence sql "SELECT * FROM runs WHERE status = 'error' ORDER BY started_at DESC LIMIT 5"
  curio-persistence sql "SELECT model, count(*), sum(cost_usd) FROM llm_calls GROUP BY model"
  curio-persistence sql "SELECT tool_name, avg(duration_s) FROM tool_calls GROUP BY 1" --csv
  curio-persistence sql - --limit all --jsonl <<< "SELECT * FROM events" > events.jsonl
"""

_MOST = "1000"
_WIDEST = 48


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("query", metavar="SQL", help="one statement that reads, or - for stdin")
    parser.add_argument(
        "--limit",
        metavar="N",
        type=count_or_all,
        default=_MOST,
        help=f"at most so many rows (default: {_MOST}), or 'all'",
    )
    add_archive_option(parser)
    forms = add_json_options(parser)
    forms.add_argument("--csv", action="store_true", help="print CSV, with a header")


def run(options: Namespace, output: Output) -> int:
    query = sys.stdin.read() if options.query == "-" else options.query
    with open_for_reading(options) as persistence:
        found = persistence.sql(query, limit=options.limit)
    found = replace(found, rows=[tuple(map(_written, row)) for row in found])
    if options.csv:
        output.csv(found.columns, found)
    elif not output.for_people:
        output.json_list(found.to_dicts())
    elif found.rows:
        output.table(*_table(found))
    else:
        say("The query has no rows.")
    if found.has_more:
        say("There are more: add --limit all.")
    return OK


def _table(found: SQLResult) -> tuple[list[Column], list[list[Any]]]:
    numbers = [all(_is_number(value) for value in column) for column in zip(*found, strict=True)]
    columns = [
        Column(name, right=right, most=_WIDEST)
        for name, right in zip(found.columns, numbers, strict=True)
    ]
    return columns, [list(map(cell, row)) for row in found]


def _written(value: Any) -> Any:
    """Return a value as JSON can have it; bytes as PostgreSQL writes them."""
    return f"\\x{value.hex()}" if isinstance(value, bytes) else value


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float)
