"""The values that agents measured themselves: by time, and by what they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from curio_persistence.console.render.charts import Chart, Column, leading, line
from curio_persistence.console.request.filters import Filters
from curio_persistence.console.request.moments import instant
from curio_persistence.console.request.windows import (
    LENGTHS,
    PARAMETERS,
    Window,
    day_title,
    short_day,
)
from curio_persistence.console.site import Site
from curio_persistence.views.wording import number

if TYPE_CHECKING:
    from curio_persistence.capabilities.metrics import MetricPoint
    from curio_persistence.persistence import Persistence

_FILTERS = ("agent_id", "run_id", "session_id")
AGGREGATIONS = {
    "avg": "average",
    "p50": "median",
    "p95": "p95",
    "min": "least",
    "max": "most",
    "sum": "sum",
    "count": "count",
}
"""The numbers of the façade, and what people call them."""
_TOLD = ("count", "min", "avg", "p50", "p95", "max")
"""The aggregates of tiles and of rows."""
_GROUPS = {"agent": "agent_id", "session": "session_id", "run": "run_id"}
_NO_GROUP = "none"
_LARGE = 1e15
_ROWS = 100


class Bucket(NamedTuple):
    """A bucket of time, which is in UTC: its name, and its length."""

    name: str
    length: timedelta


_BUCKETS = (
    (3, Bucket("1h", timedelta(hours=1))),
    (14, Bucket("6h", timedelta(hours=6))),
    (92, Bucket("1d", timedelta(days=1))),
    (5_000, Bucket("1w", timedelta(weeks=1))),
)
"""The most days of a window, and the buckets for it."""


def routes(site: Site) -> list[BaseRoute]:
    return [site.page("/custom-metrics", _metrics)]


def _metrics(site: Site, request: Request) -> Response:
    filters = Filters.of(
        site.paths.page("metrics"),
        request.query_params,
        _FILTERS,
        (*PARAMETERS, "name", "by", "tag", "value"),
    )
    window = Window.of(filters.further, site.viewer(request))
    where = {**filters.values(), **window.filters}
    names = site.persistence.metrics.names(**where)
    name = filters.further.get("name") or next(iter(names), None)
    shown = {} if name is None else _shown(site, filters, window, name, where)
    return site.render(
        request,
        "metrics.html",
        filters=filters,
        window=window,
        lengths=LENGTHS,
        names=names,
        name=name,
        aggregations=AGGREGATIONS,
        plain=plain,
        **{"by": _NO_GROUP, "rows": (), "value": "avg", "numbers": None, **shown},
    )


def _shown(
    site: Site, filters: Filters, window: Window, name: str, where: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the page shows of one metric."""
    value = filters.further.get("value", "avg")
    group = _group(filters)
    whole = _aggregates(site.persistence, name, None, where).get(None)
    if whole is None:
        return {"value": value}
    bucket = next(bucket for days, bucket in _BUCKETS if window.length <= days)
    points = site.persistence.query_metrics(
        name, value, bucket=bucket.name, group_by=group, **where
    )
    by_group = _aggregates(site.persistence, name, group, where) if group else {}
    rows = sorted(by_group.items(), key=lambda each: (-each[1]["count"], each[0] or ""))
    return {
        "value": value,
        "by": filters.further.get("by", _NO_GROUP),
        "numbers": whole,
        "chart": _chart(site, _Drawn(name, value, bucket, group, window), list(points), filters),
        "bucket": bucket.name,
        "rows": [(each, _leads_to(filters, group, each), said) for each, said in rows[:_ROWS]],
        "left_out": max(len(rows) - _ROWS, 0),
    }


def _group(filters: Filters) -> str | None:
    """Return the group as the façade names it: an id, or a tag of the metric's event."""
    by = filters.choice("by", (_NO_GROUP, *_GROUPS, "tag"), _NO_GROUP)
    tag = filters.further.get("tag")
    return f"tags.{tag}" if by == "tag" and tag else _GROUPS.get(by)


def _aggregates(
    persistence: Persistence, name: str, group: str | None, where: Mapping[str, Any]
) -> dict[str | None, dict[str, float]]:
    """Return the aggregates of each group."""
    found: dict[str | None, dict[str, float]] = {}
    for aggregation in _TOLD:
        for point in persistence.query_metrics(name, aggregation, group_by=group, **where):
            found.setdefault(point.group, {})[aggregation] = point.value
    return found


def _leads_to(filters: Filters, group: str | None, name: str | None) -> str | None:
    """Return the page with the values of one group only."""
    if name is None or group not in _FILTERS:
        return None
    return filters.with_(**{group: name, "by": None})


# --- the chart ------------------------------------------------------------------------------------


class _Drawn(NamedTuple):
    """The values that the chart draws."""

    name: str
    value: str
    bucket: Bucket
    group: str | None
    window: Window


def _chart(site: Site, drawn: _Drawn, points: Sequence[MetricPoint], filters: Filters) -> Markup:
    begins = _begins(drawn.window, drawn.bucket)
    columns = [
        Column(
            _title(begin, drawn.bucket),
            short_day(begin.date()) if drawn.window.length > 2 else f"{begin:%H:%M}",
            site.paths.page(
                "events",
                **filters.chosen,
                event_type="metric",
                payload=f"name={drawn.name}",
                since=instant(begin),
                until=instant(begin + drawn.bucket.length),
            ),
        )
        for begin in begins
    ]
    series: dict[str | None, dict[int, float]] = {}
    places = {begin: place for place, begin in enumerate(begins)}
    for point in points:
        if point.bucket in places:
            series.setdefault(point.group, {})[places[point.bucket]] = point.value
    named = [(_name(group, drawn), values) for group, values in series.items()]
    label = f"{drawn.value} of {drawn.name} by time"
    named.sort(key=lambda each: (-len(each[1]), each[0]))
    return line(Chart(label, "Time (UTC)", columns, leading(named), plain))


def _name(group: str | None, drawn: _Drawn) -> str:
    if drawn.group is None:
        return AGGREGATIONS.get(drawn.value, drawn.value)
    return "none" if group is None else group


def _begins(window: Window, bucket: Bucket) -> list[datetime]:
    """Return when the buckets of a window begin; weeks begin on Monday."""
    begin = window.since.replace(hour=0, minute=0, second=0, microsecond=0)
    if bucket.length > timedelta(days=1):
        begin -= timedelta(days=begin.weekday())
    begin += (window.since - begin) // bucket.length * bucket.length
    count = -((begin - window.until) // bucket.length)
    return [begin + step * bucket.length for step in range(count)]


def _title(begin: datetime, bucket: Bucket) -> str:
    if bucket.length >= timedelta(weeks=1):
        return f"Week from {day_title(begin.date())} {begin.year}"
    day = day_title(begin.date())
    return f"{day} (UTC)" if bucket.length >= timedelta(days=1) else f"{day}, {begin:%H:%M} UTC"


def plain(value: float | None) -> str:
    """Return a number with four digits; whole ones below ten thousand as they are."""
    if value is None:
        return "unknown"
    if value == round(value) or abs(value) >= 10_000:
        return number(round(value)) if abs(value) < _LARGE else f"{value:.3g}"
    return f"{value:.4g}"
