"""List runs, newest first, or show a single one.

As JSON, a list of runs; with --run-id, one run. Each is an object of its fields, as to_dict() gives
it.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from curio_persistence.cli.exits import OK
from curio_persistence.cli.options import add_json_option, count, count_or_all, open_for_reading
from curio_persistence.cli.output import CYAN, DIM, GREEN, RED, YELLOW, Output, say
from curio_persistence.cli.tables import Cell, Column, cell
from curio_persistence.cli.text import duration, local_time
from curio_persistence.errors import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from curio_persistence import AgentRun, Persistence

EXAMPLES = """\
  curio-persistence query
  curio-persistence query --agent researcher --status failed --limit 5
  curio-persistence query --run-id run-42
  curio-persistence query --db-path agent_sdk.db --limit all --json > runs.json
"""

_ELSEWHERE = {"failed": "error", "succeeded": "completed", "canceled": "cancelled"}
"""Other systems' words for our statuses."""

STATUS_STYLES = {
    "completed": GREEN,
    "error": RED,
    "timeout": RED,
    "cancelled": YELLOW,
    "running": CYAN,
    "pending": DIM,
}
_COLUMNS = (
    Column("RUN", most=255),
    Column("AGENT", most=24),
    Column("STATUS"),
    Column("STARTED"),
    Column("TOOK", right=True),
    Column("ITER", right=True),
    Column("OBJECTIVE", grows=True),
)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--agent", metavar="ID", help="only this agent's runs")
    parser.add_argument(
        "--status",
        help="only runs with this status: pending, running, completed (or succeeded), error (or "
        "failed), cancelled (or canceled), timeout, or another that an agent gave",
    )
    parser.add_argument("--run-id", metavar="ID", help="one run, in full")
    parser.add_argument(
        "--limit",
        metavar="N",
        type=count_or_all,
        default=20,
        help="at most so many (default: 20), or 'all'",
    )
    parser.add_argument(
        "--offset", metavar="N", type=count, default=0, help="leave out the newest N (default: 0)"
    )
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    if options.run_id is not None and (options.agent is not None or options.status is not None):
        raise ConfigurationError("--run-id names one run: drop --agent and --status.")
    with open_for_reading(options) as persistence:
        if options.run_id is not None:
            _show_one(get_run(persistence, options.run_id), output)
        else:
            _show_many(persistence, options, output)
    return OK


def get_run(persistence: Persistence, run_id: str) -> AgentRun:
    """A run that must be there."""
    found = persistence.get_agent_run(run_id)
    if found is None:
        raise NotFoundError(f"{persistence.place} has no run {run_id!r}.")
    return found


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
            "metadata": run.metadata,
        }
    )


def _show_many(persistence: Persistence, options: Namespace, output: Output) -> None:
    limit = options.limit
    status = _ELSEWHERE.get(options.status, options.status)
    runs = persistence.runs.newest(
        agent_id=options.agent,
        status=status,
        # One more, to know whether there are more.
        limit=None if limit is None else limit + 1,
        offset=options.offset,
    )
    shown = runs[:limit]
    if not output.for_people:
        output.json([run.to_dict() for run in shown])
        return
    if shown:
        output.table(_COLUMNS, [_row(run) for run in shown])
    else:
        filtered = options.agent is not None or status is not None or options.offset
        say(f"{persistence.place} has no {'such runs' if filtered else 'runs'}.")
    if len(shown) < len(runs):
        say(f"There are more: add --offset {options.offset + len(shown)}, or --limit all.")


def _row(run: AgentRun) -> list[Cell]:
    return [
        cell(run.run_id),
        cell(run.agent_id),
        cell(run.status, STATUS_STYLES.get(run.status, "")),
        cell(local_time(run.started_at, "minutes")),
        cell(duration(run.started_at, run.finished_at)),
        cell(run.total_iterations),
        cell(run.objective or None),
    ]
