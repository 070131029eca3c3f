"""List model calls, newest first: their tokens, latencies and costs.

As JSON, a list of calls, each an object of its fields, as to_dict() gives it; costs are exact
decimal text.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.filters import add_filters, filters, resolve_projects
from curio_persistence.cli.arguments.listing import Question, add_listing_options, nothing, show
from curio_persistence.cli.arguments.options import open_for_reading
from curio_persistence.cli.arguments.run_ids import resolve_run, short_ids
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import DIM, RED, Output
from curio_persistence.cli.terminal.tables import Cell, Column, cell
from curio_persistence.views.wording import local_time, money

if TYPE_CHECKING:
    from curio_persistence import AgentLLMUsage

EXAMPLES = """\
  curio-persistence calls
  curio-persistence calls --run run-42
  curio-persistence calls --model acme-large --status error --since 7d
  curio-persistence calls --since 2026-11-01 --limit all --jsonl > calls.jsonl
"""


def add_arguments(parser: ArgumentParser) -> None:
    names = ("agent_id", "run_id", "session_id", "user_id", "model", "provider", "status")
    add_filters(parser, "calls", *names, "source", "project")
    add_listing_options(parser)


def run(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence:
        resolve_run(persistence, options)
        resolve_projects(persistence, options)
        question = Question(
            persistence.query_llm_usage,
            persistence.iter_llm_usage,
            filters(options, "usage"),
        )
        said = nothing(persistence, "model calls", question.is_narrowed)
        show(persistence, question, options, output, _rows, said)
    return OK


def _rows(calls: Sequence[AgentLLMUsage]) -> tuple[Sequence[Column], list[list[Cell]]]:
    """Return the table of some calls; their status has a column where one did not succeed."""
    ids = short_ids(call.run_id for call in calls)
    failed = any(call.status != "success" for call in calls)
    columns = (
        Column("TIME"),
        Column("RUN", most=255),
        Column("MODEL", most=48),
        *([Column("STATUS")] if failed else []),
        Column("IN", right=True),
        Column("OUT", right=True),
        Column("MS", right=True),
        Column("COST", right=True),
    )
    return columns, [_row(call, ids.get(call.run_id or ""), failed) for call in calls]


def _row(call: AgentLLMUsage, short_id: str | None, failed: bool) -> list[Cell]:
    return [
        cell(local_time(call.created_at), DIM),
        cell(short_id),
        cell(call.model or None),
        *([cell(call.status, RED if call.status != "success" else "")] if failed else []),
        cell(_number(call.input_tokens)),
        cell(_number(call.output_tokens)),
        cell(_number(call.latency_ms)),
        cell(money(call.get_cost_usd())),
    ]


def _number(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"
