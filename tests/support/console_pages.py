"""The pages of the console: paths for each route, on the history of `tests.support.console`."""

from __future__ import annotations

from starlette.routing import Match, Route

from curio_persistence import InMemoryPersistence, create_app
from curio_persistence.trace_ids import trace_id_of

_PATHS = (
    *(
        "/",
        "/runs",
        "/runs?status=error&agent_id=coder",
        "/runs/run-9",
        "/runs/run-9?step=event:19",
    ),
    *("/sessions", "/sessions/session-0", "/sessions/session-0?view=timeline"),
    *("/sessions/session-0?view=replay", "/sessions/session-0/chain"),
    *("/traces", f"/traces/{trace_id_of('run-9')}"),
    *("/events", "/events?min_level=error&payload=a%3Db", "/events/1"),
    *("/search", "/search?q=timeouterror", "/search?q=nowhere&agent_id=coder"),
    *("/compare?a=run-9&b=run-13", "/costs", "/activity", "/custom-metrics"),
    *("/agents", "/agents/coder", "/alerts", "/health"),
    *("/settings", "/settings/keys", "/settings/logins", "/settings/audit", "/preferences"),
)
_NO_PAGES = (
    *("/api/", "/static/", "/v1/", "/compat/", "/login", "/logout", "/metrics", "/healthz"),
    "/runs/{run_id}/",
)
_NO_HTML = ("/events/stream", "/costs.csv", "/picked")


def routes() -> list[Route]:
    """Return the routes of pages."""
    with InMemoryPersistence() as persistence:
        return [
            route
            for route in create_app(persistence).routes
            if isinstance(route, Route) and _is_page(route)
        ]


def _is_page(route: Route) -> bool:
    return (
        "GET" in (route.methods or ())
        and not route.path.startswith(_NO_PAGES)
        and route.path not in _NO_HTML
    )


def leads_to(path: str, route: Route) -> bool:
    scope = {"type": "http", "method": "GET", "path": path.partition("?")[0]}
    return route.matches(scope)[0] is Match.FULL


PAGES = [path for path in _PATHS if any(leads_to(path, route) for route in routes())]
"""A path for each page, and for some states of it."""
LISTS = [path for path in PAGES if path.count("/") == 1 and "?" not in path]
"""The pages without an id."""
