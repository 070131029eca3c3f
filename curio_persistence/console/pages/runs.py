"""The list of runs: filters, the histogram of their window, fifty rows, and what they cost."""

from __future__ import annotations

from functools import cache
from typing import Any

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from curio_persistence.console.figures.outcomes import outcome_chart
from curio_persistence.console.render.charts import histogram
from curio_persistence.console.render.times import minute_time
from curio_persistence.console.request.filters import RUN_FILTERS, Filters
from curio_persistence.console.request.moments import Bounds, bounds_of
from curio_persistence.console.request.viewer import Viewer
from curio_persistence.console.site import Site
from curio_persistence.errors import InvalidValueError

_ROWS = 50
_STATUSES = ("running", "completed", "error", "timeout", "cancelled")
_STARTED = {
    "1h": "Last hour",
    "24h": "Last 24 hours",
    "7d": "Last 7 days",
    "30d": "Last 30 days",
    "90d": "Last 90 days",
}
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
    bounds = bounds_of(filters.get("since"), filters.get("until"), viewer.now, viewer.zone)
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
        chart=_histogram(site, filters, chosen, bounds, viewer) if runs else None,
        is_new=not runs and not filters.chosen and not filters.cursor,
        statuses=dict.fromkeys((*_STATUSES, *filters.several("status"))),
        values=persistence.values,
        window_words=f"{minute_time(viewer, bounds.since)} – {minute_time(viewer, bounds.until)}",
        more_chosen=any(name in filters.chosen for name in _MORE if name != "until"),
        started=_STARTED,
        more=_MORE,
        **filters.pager(page.next_cursor),
    )


def _histogram(
    site: Site, filters: Filters, chosen: dict[str, Any], bounds: Bounds, viewer: Viewer
) -> Markup:
    """Return bars of which each leads to the runs of its time."""
    within = chosen | {"since": bounds.since, "until": bounds.until}
    counts = site.persistence.runs.counts(
        bucket=bounds.bucket, by="status", timezone=viewer.zone_name, **within
    )
    label = "Runs by the time of their start"
    chart = outcome_chart(site.paths, viewer, counts, label, **filters.chosen)
    ends = (minute_time(viewer, bounds.since), minute_time(viewer, bounds.until))
    return histogram(chart, ends=ends, legend=True, height=40)
