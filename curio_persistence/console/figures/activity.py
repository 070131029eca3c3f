"""Charts of what agents did in each period: runs, calls, tools, events, tokens and latency."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from curio_persistence.console.http.paths import Paths
from curio_persistence.console.render.charts import (
    Chart,
    Column,
    Number,
    Series,
    leading,
    line,
    stacked_bars,
    with_others,
)
from curio_persistence.console.request.moments import instant
from curio_persistence.console.request.windows import Period
from curio_persistence.views.wording import number, span

if TYPE_CHECKING:
    from curio_persistence.capabilities.analytics.records import PeriodTotals

GROUPS = {"agent": "agent_id", "session": "session_id", "user": "user_id", "tag": "tag"}
"""The words by which activity is grouped, and the field of each in the totals."""

Value = Callable[["PeriodTotals"], Number | None]


class Part(NamedTuple):
    """A series of a chart without groups."""

    name: str
    colour: str
    value: Value


class Drawing(NamedTuple):
    """One of the charts: the page to which its columns lead, its parts, and their whole."""

    title: str
    page: str
    parts: Sequence[Part]
    whole: Value
    is_line: bool = False


def _tokens(row: PeriodTotals) -> int:
    return row.input_tokens + row.output_tokens


DRAWINGS = (
    Drawing(
        "Runs",
        "runs",
        (
            Part("not failed", "s-ok", lambda row: row.runs - row.errors),
            Part("failed", "s-bad", lambda row: row.errors),
        ),
        lambda row: row.runs,
    ),
    Drawing(
        "Model calls",
        "runs",
        (
            Part("succeeded", "s-model", lambda row: row.calls - row.call_errors),
            Part("failed", "s-bad", lambda row: row.call_errors),
        ),
        lambda row: row.calls,
    ),
    Drawing(
        "Tool calls",
        "events",
        (
            Part("succeeded", "s-tool", lambda row: row.tool_calls - row.tool_errors),
            Part("failed", "s-bad", lambda row: row.tool_errors),
        ),
        lambda row: row.tool_calls,
    ),
    Drawing(
        "Events", "events", (Part("events", "s5", lambda row: row.events),), lambda row: row.events
    ),
    Drawing(
        "Tokens",
        "runs",
        (
            Part("in", "s1", lambda row: row.input_tokens),
            Part("out", "s3", lambda row: row.output_tokens),
        ),
        _tokens,
    ),
    Drawing(
        "Latency of model calls",
        "runs",
        (
            Part("median", "s1", lambda row: row.latency_p50_ms),
            Part("p95", "s3", lambda row: row.latency_p95_ms),
        ),
        lambda row: row.latency_p95_ms,
        is_line=True,
    ),
)


class Activity(NamedTuple):
    """Totals by period, or by period and group; `by` is the group, and `filters` those of pages."""

    rows: Sequence[PeriodTotals]
    periods: Sequence[Period]
    bucket: str
    by: str | None
    filters: Mapping[str, object]


def drawn(activity: Activity, drawing: Drawing, paths: Paths) -> Markup:
    """Return one chart."""
    named = f"{drawing.title} by {activity.bucket}"
    label = f"{named} and {activity.by}" if activity.by else named
    columns = _columns(activity, drawing, paths)
    chart = Chart(
        label, activity.bucket.title(), columns, _series(activity, drawing), _say(drawing)
    )
    return line(chart, zero=True) if drawing.is_line else stacked_bars(chart, whole=True)


def _say(drawing: Drawing) -> Callable[[Number | None], str]:
    if drawing.is_line:
        return lambda value: "unknown" if value is None else span(float(value))
    return lambda value: number(None if value is None else int(value))


def _columns(activity: Activity, drawing: Drawing, paths: Paths) -> list[Column]:
    further = {"event_type": "tool_call"} if drawing.title == "Tool calls" else {}
    return [
        Column(
            each.title,
            each.label,
            paths.page(
                drawing.page,
                **activity.filters,
                **further,
                since=instant(each.begin),
                until=instant(each.end),
            ),
        )
        for each in activity.periods
    ]


def _series(activity: Activity, drawing: Drawing) -> list[Series]:
    numbers = {period.name: number for number, period in enumerate(activity.periods)}
    rows = [(numbers[row.period], row) for row in activity.rows if row.period in numbers]
    if activity.by is None:
        return [
            Series(part.name, _with_values(rows, part.value), part.colour) for part in drawing.parts
        ]
    groups: dict[str | None, list[tuple[int, PeriodTotals]]] = defaultdict(list)
    for column, row in rows:
        groups[getattr(row, GROUPS[activity.by])].append((column, row))
    found = [
        (f"no {activity.by}" if name is None else name, _with_values(of_group, drawing.whole))
        for name, of_group in groups.items()
    ]
    found = sorted(found, key=lambda each: (-sum(float(v or 0) for v in each[1].values()), each[0]))
    found = [each for each in found if each[1]]
    return leading(found) if drawing.is_line else with_others(found)


def _with_values(
    rows: Iterable[tuple[int, PeriodTotals]], value: Value
) -> dict[int, Number | None]:
    """Return the values by column, without those that are nothing."""
    return {column: found for column, row in rows if (found := value(row))}
