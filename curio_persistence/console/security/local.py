"""The console of one person on one machine: a token in the opened URL becomes a cookie."""

from __future__ import annotations

from secrets import compare_digest
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from curio_persistence.console.http.errors import Problem, is_for_programs, problem_json
from curio_persistence.console.http.paths import way_back
from curio_persistence.console.security.requests import (
    bearer_of,
    is_from_elsewhere,
    is_known_host,
)
from curio_persistence.console.site import Site, here, inner_path

TOKEN = "token"
"""The parameter of the opened URL."""
_MISDIRECTED = (
    "This host is not known here. Open it as http://127.0.0.1, or start the console with "
    "--public-url, or the server with keys."
)


class LocalGate:
    """Lets requests of this machine pass, and those with the token where there is one."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app, self._site = app, site
        self._options, self._doors = site.options, site.doors
        token = () if site.options.token is None else (site.options.token,)
        self._secrets = site.doors.keys or token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = self._refusal(Request(scope))
        if answer is not None:
            await answer(scope, receive, send)
            return
        scope["curio.role"] = "admin" if self._options.allow_writes else self._doors.role
        await self._app(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that does not pass; None for one that does."""
        path = inner_path(request)
        if path in self._doors.open:
            return None
        if not (self._doors.keys or self._knows_host(request)):
            return PlainTextResponse(_MISDIRECTED, 421)
        if self._doors.is_local(path) and not self._doors.keys:
            return None
        refusal = self._token_check(request) if self._secrets else None
        if refusal is None and is_from_elsewhere(request):
            return PlainTextResponse("Only pages of the console may change something.", 403)
        return refusal

    def _knows_host(self, request: Request) -> bool:
        return is_known_host(request.headers.get("host", ""), self._options.public_url)

    def _token_check(self, request: Request) -> Response | None:
        cookie = cookie_name(request)
        if self._is_secret(bearer_of(request)) or self._is_secret(request.cookies.get(cookie)):
            return None
        token = request.query_params.get(TOKEN)
        if token is None or not self._is_secret(token):
            return _unauthorized(request)
        paths = self._site.at(request).paths
        answer = RedirectResponse(paths.here(_without_token(request)), 303)
        answer.set_cookie(
            cookie,
            token,
            path=f"{paths.base_path}/",
            httponly=True,
            samesite="lax",
            secure=(self._options.public_url or "").startswith("https:"),
        )
        return answer

    def _is_secret(self, given: str | None) -> bool:
        """Compare with every secret, so that the time tells nothing."""
        text = (given or "").encode("utf-8", "surrogatepass")
        equal = [compare_digest(text, secret.encode()) for secret in self._secrets]
        return given is not None and any(equal)


def _unauthorized(request: Request) -> Response:
    headers = {"WWW-Authenticate": "Bearer"}
    if is_for_programs(request):
        told = "Send the token or a key, as Authorization: Bearer."
        answer = problem_json(Problem(401, "A token or key is needed", told))
        answer.headers.update(headers)
        return answer
    told = "Open the URL that was printed at the start, with its token."
    return PlainTextResponse(told, 401, headers)


def cookie_name(request: Request) -> str:
    """Return the cookie's name, which has the port: all ports of a host share their cookies."""
    server = request.scope.get("server")
    return f"curio_token_{server[1] if server else 0}"


def _without_token(request: Request) -> str:
    """Return the path and query below the base path, without the token."""
    path, _, query = here(request).partition("?")
    rest = [(name, value) for name, value in parse_qsl(query) if name != TOKEN]
    return f"{way_back(path)}?{urlencode(rest)}" if rest else way_back(path)
