"""The list of runs: filters, the histogram of their window, fifty rows, and what they cost."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from curio_persistence.console.filters import RUN_FILTERS, Filters
from curio_persistence.console.moments import Window, url_time, window_of
from curio_persistence.console.render.charts import Chart, Column, Series, histogram
from curio_persistence.console.site import Site
from curio_persistence.console.viewer import Viewer
from curio_persistence.errors import InvalidValueError
from curio_persistence.views.wording import number

_ROWS = 50
_STATUSES = ("running", "completed", "error", "timeout", "cancelled")
_STARTED = {
    "1h": "Last hour",
    "24h": "Last 24 hours",
    "7d": "Last 7 days",
    "30d": "Last 30 days",
    "90d": "Last 90 days",
}
_FAILED = ("error", "timeout")
_MORE = {
    "user_id": "User",
    "parent_run_id": "Begun by the run",
    "run_id": "Run",
    "any_tags": "One of these tags",
    "metadata": "Metadata, as path=value",
    "until": "Started before",
}
"""Further filters, with the words of their fields."""


def routes(site: Site) -> list[BaseRoute]:
    return [site.page("/runs", _runs), site.page("/picked", _picked)]


def _picked(site: Site, request: Request) -> Response:
    """Lead from two ticked runs to their comparison."""
    picked = request.query_params.getlist("pick")
    if len(picked) != 2:
        raise InvalidValueError("Pick two runs to compare them.", field="pick")
    return RedirectResponse(site.paths.page("compare", a=picked[0], b=picked[1]))


def _runs(site: Site, request: Request) -> Response:
    filters = Filters.of(site.paths.page("runs"), request.query_params, RUN_FILTERS)
    if "" in request.query_params.values():  # Sent by a form without a script.
        return RedirectResponse(filters.link(**filters.further))
    viewer = site.viewer(request)
    persistence = site.persistence
    chosen = filters.values(viewer.zone)
    window = window_of(filters.get("since"), filters.get("until"), viewer.now, viewer.zone)
    page = persistence.query_agent_runs(limit=_ROWS, cursor=filters.cursor, brief=True, **chosen)
    runs = list(page)
    return site.render(
        request,
        "runs.html",
        filters=filters,
        runs=runs,
        of_agent=cache(lambda agent_id: filters.with_(agent_id=agent_id)),
        of_tag=cache(lambda tag: filters.with_(tags=tag)),
        figures=persistence.runs.totals_of([run.run_id for run in runs]),
        chart=_histogram(site, filters, chosen, window, viewer) if runs else None,
        is_new=not runs and not filters.chosen and not filters.cursor,
        statuses=dict.fromkeys((*_STATUSES, *filters.several("status"))),
        agents=_pickable(persistence.values("agent_id"), filters.get("agent_id")),
        tags=_pickable(persistence.values("tags"), *filters.several("tags")[:1]),
        window_words=_span(viewer, window.since, window.until),
        more_chosen=any(name in filters.chosen for name in _MORE if name != "until"),
        started=_STARTED,
        more=_MORE,
        **filters.pager(page.next_cursor),
    )


def _pickable(values: tuple[str, ...], *chosen: str) -> list[tuple[str, str]]:
    """Return the values of a picker with their words; what is chosen already is one of them."""
    listed = dict.fromkeys((*(each for each in chosen if each), *values))
    return [(value, value) for value in listed]


def _histogram(
    site: Site, filters: Filters, chosen: dict[str, Any], window: Window, viewer: Viewer
) -> Any:
    """Return bars of which each leads to the runs of its time."""
    within = chosen | {"since": window.since, "until": window.until}
    counts = site.persistence.runs.counts(
        bucket=window.bucket, by="status", timezone=viewer.zone_name, **within
    )
    rest = filters.only(since=None, until=None).link()
    rest += "&" if "?" in rest else "?"
    columns = [
        Column(
            f"from {_short(viewer, count.begin)}",
            "",
            f"{rest}since={url_time(count.begin)}&until={url_time(count.end)}",
        )
        for count in counts
    ]
    kinds = [_kinds(count.by) for count in counts]
    series = [
        Series(name, {n: each[name] for n, each in enumerate(kinds) if each[name]}, colour)
        for name, colour in (("completed", "s-ok"), ("failed", "s-bad"), ("other", "s-rest"))
    ]
    chart = Chart("Runs by the time of their start", "Started", columns, series, _said)
    ends = (_short(viewer, window.since), _short(viewer, window.until))
    return histogram(chart, ends=ends, legend=True, height=40)


def _kinds(by: dict[str, int]) -> dict[str, int]:
    completed, failed = by.get("completed", 0), sum(by.get(name, 0) for name in _FAILED)
    return {
        "completed": completed,
        "failed": failed,
        "other": sum(by.values()) - completed - failed,
    }


def _said(count: Any) -> str:
    return number(count)


def _span(viewer: Viewer, begin: datetime, end: datetime) -> str:
    return f"{_short(viewer, begin)} – {_short(viewer, end)}"


def _short(viewer: Viewer, moment: datetime) -> str:
    local = viewer.local(moment)
    return f"{local.day} {local:%b} {local.hour:02d}:{local.minute:02d}"
