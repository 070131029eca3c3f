"""The activity of agents by hour, day, week or month of the reader's calendar."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from curio_persistence.console.figures.activity import DRAWINGS, GROUPS, Activity, drawn
from curio_persistence.console.request.filters import Filters
from curio_persistence.console.request.moments import instant
from curio_persistence.console.request.windows import BUCKETS, LENGTHS, PARAMETERS, Window
from curio_persistence.console.site import Site

if TYPE_CHECKING:
    from curio_persistence.capabilities.analytics.records import PeriodTotals

_FILTERS = ("agent_id", "session_id", "user_id", "tags")
_FILTER_OF = {"agent": "agent_id", "session": "session_id", "user": "user_id", "tag": "tags"}
_NO_GROUP = "none"
_DAYS = 7
"""Days that are shown at first."""
_ROWS = 200
"""Groups of the table: so many a page shows at once."""


class Row(NamedTuple):
    """A row of the table: what it is about, and where it leads."""

    name: str
    href: str | None
    totals: PeriodTotals


def routes(site: Site) -> list[BaseRoute]:
    return [site.page("/activity", _activity)]


def _activity(site: Site, request: Request) -> Response:
    filters = Filters.of(
        site.paths.page("activity"), request.query_params, _FILTERS, (*PARAMETERS, "bucket", "by")
    )
    window = Window.of(filters.further, site.viewer(request), days=_DAYS)
    bucket: Any = filters.choice("bucket", BUCKETS, window.bucket)
    by = filters.choice("by", (_NO_GROUP, *GROUPS), _NO_GROUP)
    group = None if by == _NO_GROUP else by
    periods = window.periods(bucket)
    ask: dict[str, Any] = {"timezone": window.zone, "percentiles": True, **filters.values()}
    ends = (window.since, window.until)
    rows = site.persistence.analytics(*ends, bucket=bucket, group_by=group or (), **ask)
    [total] = site.persistence.analytics(*ends, bucket=None, **ask)
    activity = Activity(list(rows), periods, bucket, group, filters.chosen)
    return site.render(
        request,
        "activity.html",
        filters=filters,
        window=window,
        lengths=LENGTHS,
        bucket=bucket,
        buckets=window.buckets_of(window.length),
        by=by,
        groups=(_NO_GROUP, *GROUPS),
        total=total,
        charts_of=[(each.title, drawn(activity, each, site.paths)) for each in DRAWINGS],
        **_table(site, activity, window, ask),
    )


def _table(site: Site, activity: Activity, window: Window, ask: dict[str, Any]) -> dict[str, Any]:
    """Return the rows of the table: groups, those with the most runs first, or periods."""
    if activity.by is None:
        return {"rows": _periods(site, activity), "left_out": 0}
    groups = site.persistence.analytics(
        window.since, window.until, bucket=None, group_by=activity.by, **ask
    )
    field = GROUPS[activity.by]
    found = sorted(groups, key=lambda row: (-row.runs, -row.events, getattr(row, field) or ""))
    rows = [_group(site, activity, window, getattr(row, field), row) for row in found[:_ROWS]]
    return {"rows": rows, "left_out": max(len(found) - _ROWS, 0)}


def _periods(site: Site, activity: Activity) -> list[Row]:
    """Return the periods in which something was recorded, the newest first."""
    rows = {row.period: row for row in activity.rows}
    return [
        Row(period.title, _runs(site, activity, period.begin, period.end), rows[period.name])
        for period in reversed(activity.periods)
        if period.name in rows
    ]


def _group(
    site: Site, activity: Activity, window: Window, name: str | None, row: PeriodTotals
) -> Row:
    """Return a row of the table that leads to the runs of its group."""
    if name is None:
        return Row(f"no {activity.by}", None, row)
    chosen = {_FILTER_OF[activity.by or ""]: name}
    return Row(name, _runs(site, activity, window.since, window.until, **chosen), row)


def _runs(site: Site, activity: Activity, since: datetime, until: datetime, **chosen: str) -> str:
    filters = {**activity.filters, **chosen}
    return site.paths.page("runs", **filters, since=instant(since), until=instant(until))
