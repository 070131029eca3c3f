"""Logging in with a key, and logging out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from curio_persistence.console.http.paths import way_back
from curio_persistence.console.security.limits import LoginLimit
from curio_persistence.console.security.team import LOGIN, SESSION_COOKIE
from curio_persistence.console.site import Site, form_of

_WEEK = 7 * 86_400
_WRONG = "This key opens nothing: it is not complete, has expired or was revoked."


def routes(site: Site) -> list[BaseRoute]:
    """Return the routes of a team's console; on one machine there is no login."""
    if not site.options.team:
        return []
    check = LoginLimit().check
    return [
        site.page(LOGIN, _page),
        site.post(LOGIN, partial(_log_in, check), role="read"),
        site.post("/logout", _log_out, role="read"),
    ]


def _page(site: Site, request: Request) -> Response:
    return _form(site, request, way_back(request.query_params.get("next", "/")))


def _form(site: Site, request: Request, back: str, status: int = 200, fault: str = "") -> Response:
    return site.render(request, "login.html", status, back=back, fault=fault)


def _log_in(check: Callable[[str], None], site: Site, request: Request) -> Response:
    form, address = form_of(request), request.scope["curio.address"]
    back = way_back(form.get("next", "/"))
    try:
        check(address)
    except HTTPException as error:
        answer = _form(site, request, back, error.status_code, error.detail)
        answer.headers.update(error.headers or {})
        return answer
    keys, audit = site.persistence.keys, site.persistence.audit
    with audit.acting_as(address or "unknown", "address"):
        begun = keys.log_in(form.get("key", "").strip())
        if begun is None:
            audit.log("failed login", address, resource_type="address")
            return _form(site, request, back, 401, _WRONG)
        keys.log_out(request.cookies.get(SESSION_COOKIE, ""))
    answer = RedirectResponse(site.paths.here(back), 303)
    _set_cookie(answer, begun.token, _WEEK)
    return answer


def _set_cookie(answer: Response, token: str, seconds: int) -> None:
    """Set the cookie of a session; the attributes are those that its prefix demands."""
    answer.set_cookie(SESSION_COOKIE, token, seconds, secure=True, httponly=True, samesite="lax")


def _log_out(site: Site, request: Request) -> Response:
    site.persistence.keys.log_out(request.cookies.get(SESSION_COOKIE, ""))
    answer = RedirectResponse(site.paths.here(LOGIN), 303)
    _set_cookie(answer, "", 0)
    return answer
