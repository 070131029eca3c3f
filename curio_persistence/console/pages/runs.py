"""The list of runs."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from curio_persistence.console.filters import RUN_FILTERS, Filters
from curio_persistence.console.site import Site

_ROWS = 50
STATUSES = ("running", "completed", "error", "timeout", "cancelled")


def routes(site: Site) -> list[BaseRoute]:
    return [site.page("/runs", _runs)]


def _runs(site: Site, request: Request) -> Response:
    filters = Filters.of(site.paths.page("runs"), request.query_params, RUN_FILTERS)
    page = site.persistence.query_agent_runs(limit=_ROWS, cursor=filters.cursor, **filters.values())
    return site.render(
        request,
        "runs.html",
        filters=filters,
        runs=list(page),
        statuses=STATUSES,
        newest=filters.link() if filters.cursor else None,
        older=filters.link(cursor=page.next_cursor) if page.next_cursor else None,
    )
