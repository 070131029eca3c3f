"""The pages, a module each."""

from __future__ import annotations

from starlette.routing import BaseRoute

from curio_persistence.console.pages import (
    activity,
    agents,
    alerts,
    compare,
    costs,
    events,
    health,
    logins,
    metrics,
    overview,
    preferences,
    run,
    runs,
    search,
    sessions,
    settings,
    traces,
)
from curio_persistence.console.site import Site

_PAGES = (
    overview.routes,
    runs.routes,
    run.routes,
    events.routes,
    search.routes,
    sessions.routes,
    traces.routes,
    compare.routes,
    alerts.routes,
    health.routes,
    logins.routes,
    costs.routes,
    activity.routes,
    metrics.routes,
    agents.routes,
    settings.routes,
    preferences.routes,
)


def routes(site: Site) -> list[BaseRoute]:
    """Return the routes of all pages."""
    return [route for routes_of in _PAGES for route in routes_of(site)]
