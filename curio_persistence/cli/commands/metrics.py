"""Add up a metric that agents reported, by time and by what it belongs to, or list what there is.

Buckets begin in UTC, weeks on Monday. As JSON, a list of objects: bucket, group, value and count;
without METRIC, of names and counts.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Sequence
from math import floor, log10
from typing import TYPE_CHECKING, Any

from curio_persistence.cli.arguments.filters import add_filters, filters
from curio_persistence.cli.arguments.options import (
    add_archive_option,
    add_json_option,
    add_window_options,
    open_for_reading,
)
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import DIM, Output, say
from curio_persistence.cli.terminal.tables import Cell, Column, cell
from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import datetime

    from curio_persistence import MetricPoint, Persistence, Records

EXAMPLES = """\
  curio-persistence metrics
  curio-persistence metrics accuracy --aggregation p95 --bucket 1d --since 30d
  curio-persistence metrics accuracy --group-by agent_id
  curio-persistence metrics accuracy --group-by tags.split --json > accuracy.json
"""

_NAMES = (Column("METRIC", most=64), Column("VALUES", right=True))
_HEADINGS = {"agent_id": "AGENT", "run_id": "RUN", "session_id": "SESSION"}
_BAR = 24
"""How many cells the longest bar takes."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("metric", metavar="METRIC", nargs="?", help="its name, as agents gave it")
    parser.add_argument(
        "--aggregation", metavar="A", help="avg (the default), sum, min, max, count, p0 to p100"
    )
    parser.add_argument(
        "--bucket", metavar="B", help="a row for each 1w, 1d, or what divides a day: 6h, 1h, 15m"
    )
    parser.add_argument(
        "--group-by", metavar="G", help="a row for each agent_id, run_id, session_id or tags.NAME"
    )
    add_filters(parser, "values", "agent_id", "run_id", "session_id")
    add_window_options(parser)
    add_archive_option(parser)
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    how = {name: getattr(options, name) for name in ("aggregation", "bucket", "group_by")}
    how = {name: value for name, value in how.items() if value is not None}
    if how and options.metric is None:
        raise ConfigurationError("--aggregation, --bucket and --group-by need a METRIC.")
    wanted = filters(options)
    with open_for_reading(options) as persistence:
        if options.metric is None:
            _show_names(persistence, persistence.metrics.names(**wanted), output)
        else:
            points = persistence.query_metrics(options.metric, **how, **wanted)
            _show_points(persistence, points, options, output)
    return OK


def _show_names(persistence: Persistence, names: dict[str, int], output: Output) -> None:
    if not output.for_people:
        output.json([{"name": name, "count": count} for name, count in names.items()])
    elif names:
        output.table(_NAMES, [(cell(name), cell(f"{n:,}")) for name, n in names.items()])
    else:
        say(f"{persistence.location} has no such metrics.")


def _show_points(
    persistence: Persistence, points: Records[MetricPoint], options: Namespace, output: Output
) -> None:
    if not output.for_people:
        output.json(points.to_dicts())
    elif points:
        columns, cells = zip(*_columns(points, options), strict=True)
        output.table(columns, list(zip(*cells, strict=True)))
    else:
        say(f"{persistence.location} has no such values of the metric {options.metric!r}.")


def _columns(
    points: Iterable[MetricPoint], options: Namespace
) -> Iterator[tuple[Column, Sequence[Cell]]]:
    """The columns that the question has an answer for."""
    buckets, groups, values, counts = zip(*map(_fields, points), strict=True)
    if options.bucket:
        yield Column("BEGIN (UTC)"), [cell(text, DIM) for text in _moments(buckets)]
    if options.group_by:
        title = _HEADINGS.get(options.group_by, options.group_by)
        yield Column(title, most=255), list(map(cell, groups))
    title = (options.aggregation or "avg").upper()
    yield Column(title, right=True), list(map(cell, _numbers(values)))
    if title != "COUNT":
        yield Column("COUNT", right=True), [cell(f"{count:,}") for count in counts]
    if options.bucket and not options.group_by and min(values) >= 0:
        yield Column("", most=_BAR), [cell(text, DIM) for text in _bars(values)]


def _fields(point: MetricPoint) -> tuple[Any, ...]:
    return point.bucket, point.group, point.value, point.count


def _moments(buckets: Sequence[datetime]) -> list[str]:
    """As days, where all of them begin with one."""
    texts = [bucket.replace(tzinfo=None).isoformat(" ", "minutes") for bucket in buckets]
    whole_days = all(text.endswith(" 00:00") for text in texts)
    return [text.removesuffix(" 00:00") if whole_days else text for text in texts]


def _numbers(values: Sequence[float]) -> list[str]:
    """All with the same decimals: none, or so many that the largest has at least four digits."""
    largest = max(map(abs, values))
    if not 1e-9 <= largest < 1e15:
        return [f"{value:.6g}" for value in values]
    whole = all(value.is_integer() for value in values)
    decimals = 0 if whole else max(2, 3 - floor(log10(largest)))
    return [f"{value:,.{decimals}f}" for value in values]


def _bars(values: Sequence[float]) -> list[str]:
    most = max(values) or 1.0
    return ["━" * round(value / most * _BAR) for value in values]
