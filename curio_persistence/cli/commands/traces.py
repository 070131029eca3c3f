"""List traces, newest first: each is an outermost run with all that it started.

Tokens and cost are those of all its model calls; errors are the spans that failed. The filters are
about the outermost run. `curio-persistence trace ID` draws one.

As JSON, a list of objects with the fields of a TraceSummary.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from curio_persistence.cli.arguments.filters import add_filters, filters
from curio_persistence.cli.arguments.listing import Question, add_listing_options, nothing, show
from curio_persistence.cli.arguments.options import length_of_time, open_for_reading
from curio_persistence.cli.arguments.run_ids import short_trace_ids
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import CYAN, DIM, GREEN, RED, YELLOW, Output
from curio_persistence.cli.terminal.tables import Cell, Column, cell
from curio_persistence.views.wording import NOTHING, local_time, money, span

if TYPE_CHECKING:
    from curio_persistence import TraceSummary

EXAMPLES = """\
  curio-persistence traces
  curio-persistence traces --status error --since 1d
  curio-persistence traces --agent researcher --min-duration 30s
  curio-persistence traces --session thread-7 --json
"""

STATUSES = ("ok", "error", "running", "cancelled", "unset")
_STYLES = {"ok": GREEN, "error": RED, "running": CYAN, "cancelled": YELLOW, "unset": DIM}


def add_arguments(parser: ArgumentParser) -> None:
    add_filters(parser, "traces", "agent_id", "session_id", "user_id")
    parser.add_argument(
        "--status",
        action="append",
        choices=STATUSES,
        metavar="STATUS",
        help=f"only traces with this status: {', '.join(STATUSES)}; given more than once, with one "
        "of these",
    )
    for name, word in (("min", "at least"), ("max", "at most")):
        parser.add_argument(
            f"--{name}-duration",
            metavar="TIME",
            type=length_of_time,
            help=f"only traces that took {word} so long: 30s, 5m, 2h",
        )
    add_listing_options(parser)


def run(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence:
        traces = persistence.traces
        question = Question(traces.query, traces.iterate, filters(options) | _durations(options))
        show(
            persistence,
            question,
            options,
            output,
            _rows,
            nothing(persistence, "traces", question.is_narrowed),
        )
    return OK


def _durations(options: Namespace) -> dict[str, Any]:
    given = {"min_duration_ms": options.min_duration, "max_duration_ms": options.max_duration}
    return {n: None if v is None else v.total_seconds() * 1000 for n, v in given.items()}


def _rows(traces: Sequence[TraceSummary]) -> tuple[Sequence[Column], list[list[Cell]]]:
    ids = short_trace_ids(trace.trace_id for trace in traces)
    columns = (
        Column("TRACE", most=32),
        Column("NAME", most=13),
        Column("STATUS"),
        Column("STARTED"),
        Column("TOOK", right=True),
        Column("ERRORS", right=True),
        Column("COST", right=True),
    )
    return columns, [_row(trace, ids[trace.trace_id]) for trace in traces]


def _row(trace: TraceSummary, trace_id: str) -> list[Cell]:
    return [
        cell(trace_id),
        cell(trace.name),
        cell(trace.status, _STYLES.get(trace.status, "")),
        cell(local_time(trace.started_at, "minutes")),
        cell(NOTHING if trace.duration_ms is None else span(trace.duration_ms)),
        cell(f"{trace.errors:,}", RED if trace.errors else ""),
        cell(money(trace.cost_usd)),
    ]
