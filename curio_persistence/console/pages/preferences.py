"""The reader's theme and time zone, kept in cookies."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from curio_persistence.console.http.paths import way_back
from curio_persistence.console.request.viewer import THEME_COOKIE, THEMES, ZONE_COOKIE, zone_named
from curio_persistence.console.site import Site, form_of
from curio_persistence.errors import InvalidValueError

_YEAR = 365 * 86_400


def routes(site: Site) -> list[BaseRoute]:
    return [
        site.page("/preferences", _form),
        site.post("/preferences", _change, role="read"),
    ]


def _form(site: Site, request: Request) -> Response:
    back = way_back(request.query_params.get("back", "/"))
    return site.render(request, "preferences.html", themes=THEMES, back=back)


def _change(site: Site, request: Request) -> Response:
    form = form_of(request)
    answer = RedirectResponse(site.paths.here(way_back(form.get("back", "/"))), 303)
    if theme := form.get("theme"):
        if theme not in THEMES:
            raise InvalidValueError(f"A theme is one of {', '.join(THEMES)}.", field="theme")
        _keep(site, answer, THEME_COOKIE, theme)
    if zone := form.get("zone"):
        if zone_named(zone) is None:
            raise InvalidValueError(
                f"{zone[:100]!r} is not a time zone. Use a name such as Europe/Berlin or UTC.",
                field="zone",
            )
        _keep(site, answer, ZONE_COOKIE, zone)
    return answer


def _keep(site: Site, answer: Response, name: str, value: str) -> None:
    path = f"{site.paths.base_path}/"
    answer.set_cookie(name, value, max_age=_YEAR, path=path, samesite="lax")
