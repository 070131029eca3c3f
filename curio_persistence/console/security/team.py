"""The console of a team: each request needs a key, or a login that was made with one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from curio_persistence.console.http.errors import (
    Problem,
    is_for_programs,
    problem_json,
    problem_of,
    problem_text,
)
from curio_persistence.console.security.limits import KeyLimits, kind_of
from curio_persistence.console.security.proxies import Proxies
from curio_persistence.console.security.requests import (
    bearer_of,
    is_from_elsewhere,
    is_known_host,
)
from curio_persistence.console.security.streams import answer_while
from curio_persistence.console.site import Site, here, inner_path
from curio_persistence.errors import ConfigurationError, PersistenceError
from curio_persistence.persistence import Persistence
from curio_persistence.tables.keys import ApiKey, Role

SESSION_COOKIE = "__Host-curio"
"""Browsers take a cookie of this prefix only by HTTPS, from this host, and for all paths."""
LOGIN = "/login"
_OPEN_BELOW = "/static/"
_READS_ONLY = Problem(403, "Not allowed", "To send records, a key needs the role write.")
_NO_KEY = Problem(401, "A key is needed", "Send Authorization: Bearer KEY, with a valid key.")
Answer = Callable[[Request, Exception], Response]


def check_admin_key(persistence: Persistence) -> None:
    """Raise ConfigurationError where no valid key is an admin's."""
    now = persistence.clock.now()
    if not any(key.may("admin") and key.state(now) == "valid" for key in persistence.keys.list()):
        raise ConfigurationError(
            f"{persistence.location} has no key of an admin, without which nobody could log in. "
            "To make one: curio-persistence keys create --role admin --name ada"
        )


class TeamGate:
    """Lets requests with a key pass, as many as its limits allow, and gives them its role."""

    def __init__(self, app: ASGIApp, site: Site, answer: Answer) -> None:
        self._app, self._site, self._answer = app, site, answer
        self._proxies = Proxies(site.options.trusted_proxy)
        self._origin = urlsplit(site.options.public_url or "").netloc.removesuffix(":443")
        self._limits = KeyLimits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        scope["curio.address"] = self._proxies.address_of(request)
        refusal = self._refusal(request)
        if refusal is None and not self._is_open(inner_path(request)):
            refusal = await run_in_threadpool(self._identify, request)
        if refusal is not None:
            await refusal(scope, receive, send)
        elif "curio.key" in scope:
            await self._pass_on(request, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path == LOGIN or path in self._site.doors.open or path.startswith(_OPEN_BELOW)

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer to a request of another site, or to another host."""
        if inner_path(request) in self._site.doors.open:
            return None
        if not is_known_host(self._proxies.host_of(request), self._site.options.public_url):
            told = f"This console answers to {self._site.options.public_url}."
            return PlainTextResponse(told, 421)
        has_login = SESSION_COOKIE in request.cookies or not is_for_programs(request)
        if has_login and is_from_elsewhere(request, self._origin):
            return PlainTextResponse("Only pages of the console may change something.", 403)
        return None

    def _identify(self, request: Request) -> Response | None:
        """Give a request its key, and the key's role; return the answer where it has none."""
        try:
            key = self._site.in_time(self._key_of, request)
        except PersistenceError as error:
            return _without_frame(request, problem_of(error))
        if key is None:
            return _login_wanted(self._site.at(request), request)
        if self._site.doors.is_local(inner_path(request)) and not key.may(_needed(request)):
            return _without_frame(request, _READS_ONLY)
        request.scope["curio.key"], request.scope["curio.role"] = key, key.role
        return None

    def _key_of(self, request: Request) -> ApiKey | None:
        """Return the key that a request has: a program's, or that of a browser's login."""
        keys = self._site.persistence.keys
        secret = bearer_of(request)
        if secret is not None:
            return keys.verify(secret)
        token = request.cookies.get(SESSION_COOKIE)
        return None if token is None else keys.verify_session(token)

    async def _pass_on(self, request: Request, receive: Receive, send: Send) -> None:
        """Let a request pass within the limits of its key, which the audit log names as actor."""
        key: ApiKey = request.scope["curio.key"]
        try:
            leave = self._limits.enter(key.key_id, inner_path(request))
        except HTTPException as error:
            answer = await run_in_threadpool(self._answer, request, error)
            await answer(request.scope, receive, send)
            return
        try:
            with self._site.persistence.audit.acting_as(key.key_id, "api key"):
                await self._answer_within(request, receive, send)
        finally:
            leave()

    async def _answer_within(self, request: Request, receive: Receive, send: Send) -> None:
        """Answer a request; a stream ends when its key does."""
        if kind_of(inner_path(request)) != "stream":
            await self._app(request.scope, receive, send)
            return
        is_valid = partial(run_in_threadpool, self._has_key, request)
        await answer_while(is_valid, self._app, request.scope, receive, send)

    def _has_key(self, request: Request) -> bool:
        try:
            return self._key_of(request) is not None
        except PersistenceError:  # A database that is away tells nothing of keys.
            return True


def _needed(request: Request) -> Role:
    """Return the role that a request of a program needs, which sends records or scrapes."""
    return "read" if request.method in ("GET", "HEAD") else "write"


def _login_wanted(site: Site, request: Request) -> Response:
    """Return what leads a person to the login, or tells a program that it needs a key."""
    login = site.paths.here(LOGIN, next=here(request) if request.method == "GET" else None)
    if request.headers.get("hx-request"):
        return PlainTextResponse("Log in again.", 401, {"HX-Redirect": site.paths.here(LOGIN)})
    is_page = request.method in ("GET", "HEAD") and not is_for_programs(request)
    if is_page and bearer_of(request) is None:
        return RedirectResponse(login, 303)
    answer = _without_frame(request, _NO_KEY)
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def _without_frame(request: Request, problem: Problem) -> Response:
    return problem_json(problem) if is_for_programs(request) else problem_text(problem)
