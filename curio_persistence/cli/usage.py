"""List model calls, newest first: their tokens, latencies and costs.

As JSON, a list of calls, each an object of its fields, as to_dict() gives it; costs are exact
decimal text.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from curio_persistence.cli.exits import OK
from curio_persistence.cli.filters import add_filters, filters
from curio_persistence.cli.listing import Question, add_listing_options, nothing, show
from curio_persistence.cli.options import open_for_reading
from curio_persistence.cli.output import DIM, RED, Output
from curio_persistence.cli.tables import Cell, Column, cell
from curio_persistence.cli.text import local_time, money

if TYPE_CHECKING:
    from curio_persistence import AgentLLMUsage

EXAMPLES = """\
  curio-persistence usage
  curio-persistence usage --run run-42
  curio-persistence usage --model acme-large --status error --since 7d
  curio-persistence usage --since 2026-11-01 --limit all --jsonl > calls.jsonl
"""

_COLUMNS = (
    Column("TIME"),
    Column("RUN", most=255),
    Column("MODEL", most=48),
    Column("STATUS"),
    Column("IN", right=True),
    Column("OUT", right=True),
    Column("MS", right=True),
    Column("COST", right=True),
)


def add_arguments(parser: ArgumentParser) -> None:
    names = ("agent_id", "run_id", "session_id", "model", "provider", "status")
    add_filters(parser, "calls", *names)
    add_listing_options(parser)


def run(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence:
        question = Question(
            persistence.query_llm_usage,
            persistence.iter_llm_usage,
            filters(options, "usage"),
        )
        said = nothing(persistence, "model calls", question.is_narrowed)
        show(question, options, output, _rows, said)
    return OK


def _rows(calls: Sequence[AgentLLMUsage]) -> tuple[Sequence[Column], list[list[Cell]]]:
    return _COLUMNS, [_row(call) for call in calls]


def _row(call: AgentLLMUsage) -> list[Cell]:
    return [
        cell(local_time(call.created_at), DIM),
        cell(call.run_id),
        cell(call.model or None),
        cell(call.status, RED if call.status == "error" else ""),
        cell(_number(call.input_tokens)),
        cell(_number(call.output_tokens)),
        cell(_number(call.latency_ms)),
        cell(money(call.get_cost_usd())),
    ]


def _number(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"
