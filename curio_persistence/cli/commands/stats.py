"""Add up runs, model calls, tokens, costs and tools.

With --group-by, add up model calls by agent, model, provider, status, session, user, tag, source,
project or branch, and by hour, day, week or month in this machine's time zone. Costs are exact: in
JSON they are decimal text. Latencies are in milliseconds.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from curio_persistence.cli.arguments.filters import add_filters, filters, resolve_projects
from curio_persistence.cli.arguments.options import (
    add_archive_option,
    add_json_option,
    add_window_options,
    open_for_reading,
)
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import BOLD, RED, Output, say
from curio_persistence.cli.terminal.tables import Cell, Column, cell
from curio_persistence.views.wording import money

if TYPE_CHECKING:
    from curio_persistence import Records, UsageTotals

EXAMPLES = """\
  curio-persistence stats
  curio-persistence stats --agent researcher
  curio-persistence stats --since 1d
  curio-persistence stats --since 30d --group-by project,day
  curio-persistence stats --session s-7 --json > stats.json
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


_GROUPS = {"agent": "agent_id", "session": "session_id", "user": "user_id"}
_FIELDS = (
    *_GROUPS.values(),
    *("model", "provider", "status", "tag", "source", "project", "branch", "period"),
)
_PERIODS = ("hour", "day", "week", "month")
_PLACES = {"source", "project", "branch"}
_LATENCY = Column("AVG MS", right=True)
_TOTALS = (
    Column("CALLS", right=True),
    Column("ERRORS", right=True),
    Column("IN", right=True),
    Column("OUT", right=True),
    _LATENCY,
    Column("COST", right=True),
)


def add_arguments(parser: ArgumentParser) -> None:
    add_filters(parser, "records", "agent_id", "session_id", "source", "project")
    add_window_options(parser)
    parser.add_argument(
        "--group-by",
        metavar="G",
        help="a row for each group, such as model, day or agent,week: see above",
    )
    add_archive_option(parser)
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence:
        resolve_projects(persistence, options)
        wanted = filters(options)
        if options.group_by is None:
            _tell(persistence.stats.summary(**wanted), output)
        else:
            groups = options.group_by.split(",")
            _tell_groups(persistence.usage.totals(group_by=groups, **wanted), groups, output)
    return OK


def _tell(stats: Mapping[str, Any], output: Output) -> None:
    if output.for_people:
        _show(stats, output)
    else:
        output.json(stats)


def _tell_groups(totals: Records[UsageTotals], groups: Sequence[str], output: Output) -> None:
    fields = ["period" if group in _PERIODS else _GROUPS.get(group, group) for group in groups]
    if not output.for_people:
        unknown = {*_FIELDS} - {*fields}
        output.json(
            [{n: v for n, v in row.items() if n not in unknown} for row in totals.to_dicts()]
        )
    elif not totals:
        say("No model calls.")
    else:
        headings = [Column(group.upper(), most=48) for group in groups]
        # Of the places of work the time of a call says little, and a table is to fit.
        is_timed = not _PLACES & {*groups} and any(row.avg_latency_ms for row in totals)
        columns = [each for each in _TOTALS if is_timed or each is not _LATENCY]
        rows = [_group_row(fields, row, is_timed=is_timed) for row in totals]
        output.table((*headings, *columns), rows)


def _group_row(fields: Sequence[str], total: UsageTotals, *, is_timed: bool) -> list[Cell]:
    latency = None if total.avg_latency_ms is None else _number(total.avg_latency_ms)
    return [
        *(cell(getattr(total, field)) for field in fields),
        cell(_number(total.calls)),
        _errors(total.errors),
        cell(_number(total.input_tokens)),
        cell(_number(total.output_tokens)),
        *([cell(latency)] if is_timed else ()),
        cell(money(total.cost_usd)),
    ]


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
