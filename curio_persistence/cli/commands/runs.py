"""List runs, newest first, or show a single one.

As JSON, a list of runs; with --run, one run. Each is an object of its fields, as to_dict() gives
it.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.filters import add_filters, filters, resolve_projects
from curio_persistence.cli.arguments.listing import Question, add_listing_options, nothing, show
from curio_persistence.cli.arguments.options import count, open_for_reading
from curio_persistence.cli.arguments.run_ids import full_id, short_ids
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import CYAN, DIM, GREEN, RED, YELLOW, Output
from curio_persistence.cli.terminal.tables import Cell, Column, cell
from curio_persistence.errors import ConfigurationError
from curio_persistence.views.wording import duration, local_time

if TYPE_CHECKING:
    from curio_persistence import AgentRun, Persistence

EXAMPLES = """\
  curio-persistence runs
  curio-persistence runs --agent researcher --status failed --limit 5
  curio-persistence runs --status error --status timeout --since 24h
  curio-persistence runs --tag production --any-tag eu --any-tag us
  curio-persistence runs --run run-42
  curio-persistence runs --limit all --jsonl > runs.jsonl
"""

STATUS_STYLES = {
    "completed": GREEN,
    "error": RED,
    "timeout": RED,
    "cancelled": YELLOW,
    "running": CYAN,
    "pending": DIM,
}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--run", "--run-id", metavar="ID", dest="one_run", help="one run, in full")
    names = ("agent_id", "session_id", "user_id", "parent_run_id", "status", "tags", "any_tags")
    add_filters(parser, "runs", *names, "source", "project", "metadata")
    add_listing_options(parser)
    parser.add_argument(
        "--offset", metavar="N", type=count, default=0, help="leave out the newest N (default: 0)"
    )


def run(options: Namespace, output: Output) -> int:
    wanted = filters(options, "runs")
    if options.one_run is not None and any(value is not None for value in wanted.values()):
        raise ConfigurationError("--run names one run: drop the other filters.")
    with open_for_reading(options) as persistence:
        if options.one_run is not None:
            _show_one(get_run(persistence, options.one_run), output)
            return OK
        resolve_projects(persistence, options)
        wanted = filters(options, "runs")
        question = Question(persistence.query_agent_runs, persistence.iter_agent_runs, wanted)
        said = nothing(persistence, "runs", question.is_narrowed or options.offset > 0)
        show(persistence, question, options, output, _rows, said, options.offset)
    return OK


def get_run(persistence: Persistence, run_id: str) -> AgentRun:
    """Return a run that must be there, by its id, a short id or `last`."""
    from curio_persistence.views.runs import stored_run  # On use: help must stay quick.

    return stored_run(persistence.runs, full_id(persistence, run_id))


def _show_one(run: AgentRun, output: Output) -> None:
    if not output.for_people:
        output.json(run.to_dict())
        return
    output.fields(
        {
            "run": run.run_id,
            "agent": f"{run.agent_id} ({run.agent_name})" if run.agent_name else run.agent_id,
            "status": run.status,
            "started": local_time(run.started_at),
            "finished": local_time(run.finished_at),
            "took": duration(run.started_at, run.finished_at),
            "iterations": run.total_iterations,
            "parent run": run.parent_run_id,
            "session": run.session_id,
            "objective": run.objective or None,
            "context": run.additional_context,
            "output": run.final_synthesis_output,
            "error": run.error_message,
            "history": run.execution_history,
            "tags": ", ".join(run.tags) if run.tags else None,
            "metrics": run.metrics,
            "metadata": run.metadata,
        }
    )


def show_runs(runs: Iterable[AgentRun], output: Output) -> None:
    """Write a table of runs."""
    output.table(*_rows(list(runs)))


def _rows(runs: Sequence[AgentRun]) -> tuple[Sequence[Column], list[list[Cell]]]:
    """Return the table of some runs; iterations have a column where an agent counts them."""
    ids = short_ids(run.run_id for run in runs)
    counted = any(run.total_iterations for run in runs)
    failed = any(run.error_message for run in runs)
    columns = (
        Column("RUN", most=255),
        Column("AGENT", most=20),
        Column("STATUS"),
        Column("STARTED"),
        Column("TOOK", right=True),
        *([Column("ITER", right=True)] if counted else []),
        Column("ERROR OR OBJECTIVE" if failed else "OBJECTIVE", grows=True),
    )
    return columns, [_row(run, ids[run.run_id], counted) for run in runs]


def _row(run: AgentRun, short_id: str, counted: bool) -> list[Cell]:
    return [
        cell(short_id),
        cell(run.agent_id),
        cell(run.status, STATUS_STYLES.get(run.status, "")),
        cell(local_time(run.started_at, "minutes")),
        cell(duration(run.started_at, run.finished_at)),
        *([cell(run.total_iterations)] if counted else []),
        cell(run.error_message, RED) if run.error_message else cell(run.objective or None),
    ]
