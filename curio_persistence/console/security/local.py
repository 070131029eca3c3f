"""The console of one person on one machine: a token in the opened URL becomes a cookie."""

from __future__ import annotations

from secrets import compare_digest
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from curio_persistence.console.options import ConsoleOptions
from curio_persistence.console.security.requests import (
    bearer_of,
    is_from_elsewhere,
    is_known_host,
)

TOKEN = "token"
"""The parameter of the opened URL."""


class LocalGate:
    """Lets requests of this machine pass, and those with the token where there is one."""

    def __init__(self, app: ASGIApp, options: ConsoleOptions) -> None:
        self._app = app
        self._options = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = self._refusal(Request(scope))
        if answer is not None:
            await answer(scope, receive, send)
            return
        scope["curio.role"] = "admin" if self._options.allow_writes else "read"
        await self._app(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that does not pass; None for one that does."""
        if not is_known_host(request.headers.get("host", ""), self._options.public_url):
            return PlainTextResponse(
                "This host is not known to the console. Open it as http://127.0.0.1, or start it "
                "with --public-url.",
                403,
            )
        if is_from_elsewhere(request):
            return PlainTextResponse("Only pages of the console may change something.", 403)
        return None if self._options.token is None else self._token_check(request)

    def _token_check(self, request: Request) -> Response | None:
        cookie = cookie_name(request)
        if self._is_token(bearer_of(request)) or self._is_token(request.cookies.get(cookie)):
            return None
        if not self._is_token(request.query_params.get(TOKEN)):
            return PlainTextResponse("Open the URL that the console printed when it started.", 401)
        answer = RedirectResponse(_without_token(request), 303)
        answer.set_cookie(
            cookie,
            str(self._options.token),
            path=f"{request.scope.get('root_path', '')}{self._options.base_path}/",
            httponly=True,
            samesite="lax",
            secure=(self._options.public_url or "").startswith("https:"),
        )
        return answer

    def _is_token(self, given: str | None) -> bool:
        token = self._options.token or ""
        return given is not None and compare_digest(given.encode(), token.encode())


def cookie_name(request: Request) -> str:
    """Return the cookie's name, which has the port: all ports of a host share their cookies."""
    server = request.scope.get("server")
    return f"curio_token_{server[1] if server else 0}"


def _without_token(request: Request) -> str:
    query = request.scope["query_string"].decode("latin-1")
    rest = [(name, value) for name, value in parse_qsl(query) if name != TOKEN]
    path = request.url.path
    return f"{path}?{urlencode(rest)}" if rest else path
