"""Add up runs, model calls, tokens, costs and tools, of one agent or of all.

Costs are exact: in JSON they are decimal text. Latencies are in milliseconds.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

from curio_persistence.cli.exits import OK
from curio_persistence.cli.options import add_json_option, open_for_reading
from curio_persistence.cli.output import BOLD, RED, Output
from curio_persistence.cli.tables import Cell, Column, cell
from curio_persistence.cli.text import money

EXAMPLES = """\
  curio-persistence stats
  curio-persistence stats --agent researcher
  curio-persistence stats --backend sqlite --json > stats.json
"""

_MODELS = (
    Column("MODEL", most=48),
    Column("CALLS", right=True),
    Column("ERRORS", right=True),
    Column("INPUT TOKENS", right=True),
    Column("OUTPUT TOKENS", right=True),
    Column("COST", right=True),
)
_TOOLS = (
    Column("TOOL", most=48),
    Column("CALLS", right=True),
    Column("ERRORS", right=True),
    Column("AVERAGE MS", right=True),
    Column("TOTAL MS", right=True),
)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--agent", metavar="ID", help="only this agent")
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence:
        stats = persistence.stats.summary(agent_id=options.agent)
    if output.for_people:
        _show(stats, output)
    else:
        output.json(stats)
    return OK


def _show(stats: Mapping[str, Any], output: Output) -> None:
    _section(f"Runs: {stats['total_runs']:,}", output)
    if stats["total_runs"]:
        statuses = stats["runs_by_status"]
        _numbers({**statuses, "iterations per run": stats["avg_iterations"]}, output)
    output.line()
    _section(f"Model calls: {stats['total_llm_calls']:,}", output)
    if stats["total_llm_calls"]:
        _show_calls(stats, output)
    output.line()
    tools = stats["tool_metrics"]
    _section(f"Tool calls: {sum(tool['call_count'] for tool in tools.values()):,}", output)
    if tools:
        output.table(_TOOLS, [_tool_row(*item) for item in tools.items()])


def _show_calls(stats: Mapping[str, Any], output: Output) -> None:
    models = stats["by_model"]
    rows = [_model_row(*item) for item in models.items()]
    if len(models) > 1:
        rows.append(_model_row("all models", _total(stats), BOLD))
    output.table(_MODELS, rows)
    output.line()
    _numbers(
        {
            "input tokens per call": stats["avg_input_tokens_per_call"],
            "output tokens per call": stats["avg_output_tokens_per_call"],
            "output per input token": f"{stats['token_efficiency']:.4f}",
        },
        output,
    )
    if latencies := stats["latency_percentiles"]:
        output.line()
        _numbers({"latency": "ms", **latencies}, output)


def _section(title: str, output: Output) -> None:
    output.line(output.paint(title, BOLD))


def _numbers(values: Mapping[str, float | str], output: Output) -> None:
    columns = [Column(name.upper(), right=True) for name in values]
    output.table(columns, [[cell(_number(value)) for value in values.values()]])


def _model_row(name: str, calls: Mapping[str, Any], style: str = "") -> list[Cell]:
    return [
        cell(name or None, style),
        cell(_number(calls["calls"]), style),
        _errors(calls["errors"], style),
        cell(_number(calls["input_tokens"]), style),
        cell(_number(calls["output_tokens"]), style),
        cell(money(calls["cost_usd"]), style),
    ]


def _total(stats: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "calls": stats["total_llm_calls"],
        "errors": sum(model["errors"] for model in stats["by_model"].values()),
        "input_tokens": stats["total_input_tokens"],
        "output_tokens": stats["total_output_tokens"],
        "cost_usd": stats["total_cost_usd"],
    }


def _tool_row(name: str, calls: Mapping[str, Any]) -> list[Cell]:
    return [
        cell(name),
        cell(_number(calls["call_count"])),
        _errors(calls["error_count"]),
        cell(_number(calls["avg_latency_ms"])),
        cell(_number(calls["total_latency_ms"])),
    ]


def _errors(count: int, style: str = "") -> Cell:
    return cell(_number(count), RED if count else style)


def _number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
