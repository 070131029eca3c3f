"""Show what happened by hour, day, week or month: runs, errors, tokens, costs, with a bar chart.

A period is one of this machine's calendar, or of --timezone. --bar picks the number that is drawn.
In JSON and CSV costs are exact decimals; latencies are those of model calls, in milliseconds.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.cli.arguments.filters import add_filters, filters
from curio_persistence.cli.arguments.options import (
    add_archive_option,
    add_json_option,
    add_window_options,
    open_for_reading,
)
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import CYAN, DIM, RED, Output, say
from curio_persistence.cli.terminal.tables import GAP, Cell, Column, cell
from curio_persistence.cli.terminal.text import cells

if TYPE_CHECKING:
    from decimal import Decimal

    from curio_persistence import PeriodTotals, Records

EXAMPLES = """\
  curio-persistence analytics --since 7d --fill
  curio-persistence analytics --since 1d --bucket hour --agent researcher
  curio-persistence analytics --bucket month --group-by agent --bar cost_usd
  curio-persistence analytics --bucket week --bar latency_p95_ms --csv > weeks.csv
"""

_BUCKETS = ("hour", "day", "week", "month")
_GROUPS = {"agent": "agent_id", "session": "session_id", "user": "user_id", "tag": "tag"}
_SHORTEST, _LONGEST = 8, 24
"""The cells that the longest bar takes."""


class _Number(NamedTuple):
    """A number of a period: its heading, and how it is written."""

    heading: str
    write: Callable[[Any], str | None]


def _count(value: int) -> str:
    return f"{value:,}"


def _milliseconds(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}"


def _dollars(value: Decimal | None) -> str:
    return "unknown" if value is None else f"${value:,.4f}"


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.1%}"


_NUMBERS = {
    "runs": _Number("RUNS", _count),
    "errors": _Number("ERRORS", _count),
    "error_rate": _Number("ERROR RATE", _share),
    "events": _Number("EVENTS", _count),
    "tool_calls": _Number("TOOLS", _count),
    "tool_errors": _Number("TOOL ERRORS", _count),
    "calls": _Number("CALLS", _count),
    "call_errors": _Number("CALL ERRORS", _count),
    "tokens": _Number("TOKENS", _count),
    "input_tokens": _Number("TOKENS IN", _count),
    "output_tokens": _Number("TOKENS OUT", _count),
    "avg_latency_ms": _Number("AVG MS", _milliseconds),
    "latency_p50_ms": _Number("P50 MS", _milliseconds),
    "latency_p95_ms": _Number("P95 MS", _milliseconds),
    "cost_usd": _Number("COST", _dollars),
    "unpriced": _Number("UNPRICED", _count),
    "sessions": _Number("SESSIONS", _count),
    "agents": _Number("AGENTS", _count),
    "users": _Number("USERS", _count),
}
_PERCENTILES = ("latency_p50_ms", "latency_p95_ms")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--bucket", metavar="B", default="day", help=f"{', '.join(_BUCKETS)} (default: day)"
    )
    parser.add_argument(
        "--group-by",
        metavar="G",
        help="a row for each period and agent, session, user or tag, or several, such as agent,tag",
    )
    parser.add_argument("--timezone", metavar="ZONE", help="such as Europe/Paris or UTC")
    parser.add_argument(
        "--fill", action="store_true", help="with periods without records, up to --until or now"
    )
    parser.add_argument(
        "--bar",
        metavar="NUMBER",
        default="runs",
        choices=_NUMBERS,
        help=f"the number that bars show (default: runs): {', '.join(_NUMBERS)}",
    )
    parser.add_argument(
        "--percentiles", action="store_true", help="with the median and p95 of latencies"
    )
    add_filters(parser, "records", "agent_id", "session_id", "user_id", "tags", "any_tags")
    add_window_options(parser)
    add_archive_option(parser)
    add_json_option(parser)
    parser.add_argument("--csv", action="store_true", help="print CSV, with a header")


def run(options: Namespace, output: Output) -> int:
    groups = options.group_by.split(",") if options.group_by else []
    with open_for_reading(options) as persistence:
        rows = persistence.analytics(
            bucket=options.bucket,
            group_by=groups,
            timezone=options.timezone,
            fill=options.fill,
            percentiles=options.percentiles or options.bar in _PERCENTILES,
            **filters(options),
        )
    fields = [_GROUPS[group] for group in groups]
    if options.csv:
        told = _told(rows, fields)
        output.csv(tuple(told[0]) if told else (), [tuple(row.values()) for row in told])
    elif not output.for_people:
        output.json(_told(rows, fields))
    elif not rows:
        say("No records.")
    else:
        _show(rows, fields, options, output)
    return OK


def _told(rows: Records[PeriodTotals], fields: Sequence[str]) -> list[dict[str, Any]]:
    """Return rows without the groups that were not asked for."""
    others = {*_GROUPS.values()} - {*fields}
    return [{n: v for n, v in row.items() if n not in others} for row in rows.to_dicts()]


def _show(
    rows: Records[PeriodTotals], fields: Sequence[str], options: Namespace, output: Output
) -> None:
    titles = [options.bucket, *(options.group_by.split(",") if fields else ())]
    numbers = _shown(options)
    columns = [Column(title.upper()) for title in titles]
    columns += [Column(_NUMBERS[name].heading, right=True) for name in numbers]
    table = [
        [
            cell(_period(row.period)),
            *(cell(getattr(row, field)) for field in fields),
            *(_number(name, _value(row, name)) for name in numbers),
        ]
        for row in rows
    ]
    bars = _bars([_value(row, options.bar) for row in rows], output.width - _width(columns, table))
    columns.append(Column(_NUMBERS[options.bar].heading, most=_LONGEST))
    output.table(columns, [[*row, bar] for row, bar in zip(table, bars, strict=True)])


def _shown(options: Namespace) -> list[str]:
    """Return the numbers that fit on a line of 80 characters, and that of the bar."""
    names = ["runs", "errors", "tool_calls", "calls", "tokens", "cost_usd"]
    if options.group_by:
        names = ["runs", "errors", "tokens", "cost_usd"]
    if options.percentiles:
        names = ["runs", "errors", *_PERCENTILES, "cost_usd"]
    return names if options.bar in names else [*names, options.bar]


def _period(name: str | None) -> str | None:
    """Return the name of an hour as people write it; other names are short already."""
    return None if name is None else name.replace("T", " ")


def _value(row: PeriodTotals, name: str) -> Any:
    if name == "tokens":
        return row.input_tokens + row.output_tokens
    return getattr(row, name)


def _number(name: str, value: Any) -> Cell:
    is_bad = name in ("errors", "tool_errors", "call_errors") and value
    return cell(_NUMBERS[name].write(value), RED if is_bad else "" if value else DIM)


def _width(columns: Sequence[Column], table: Sequence[Sequence[Cell]]) -> int:
    """Return the characters that these columns take, with the blanks behind each."""
    return sum(
        max(cells(column.title), *(min(cells(text), column.most) for text, _ in texts)) + len(GAP)
        for column, texts in zip(columns, zip(*table, strict=True), strict=True)
    )


def _bars(values: Sequence[Any], room: int) -> list[Cell]:
    """Return a bar for each value; the largest one has the longest."""
    longest = max(min(room, _LONGEST), _SHORTEST)
    most = max(float(value or 0) for value in values) or 1.0
    return [cell("━" * round(float(value or 0) / most * longest), CYAN) for value in values]
