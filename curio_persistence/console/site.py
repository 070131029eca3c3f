"""The site that all pages share: the persistence, the templates, and the making of routes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar, TypeVarTuple, Unpack
from urllib.parse import parse_qsl, quote

from jinja2 import Environment
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from curio_persistence.concurrency.time_limit import call_within
from curio_persistence.console.api.streams import Listeners
from curio_persistence.console.http.paths import Paths
from curio_persistence.console.http.static_files import StaticFiles
from curio_persistence.console.options import ConsoleOptions
from curio_persistence.console.parts.rail import Section
from curio_persistence.console.request.viewer import Viewer, viewer_of
from curio_persistence.console.security.doors import OF_CONSOLE, Doors
from curio_persistence.console.security.roles import check_role
from curio_persistence.errors import InvalidValueError, PersistenceError, UnsupportedError
from curio_persistence.persistence import Persistence
from curio_persistence.tables.keys import Role

Ts = TypeVarTuple("Ts")
R = TypeVar("R")
Handler = Callable[["Site", Request], Response]
"""Answers a request, in a thread; its site has the paths under which the request came."""

MOST_FORM_BYTES = 1 << 20
_MOST_FIELDS = 1_000
_LONGEST = 10.0
"""Seconds that the readings of a request may take together, and that its writes may wait."""
_BODY_SECONDS = 60.0
"""Seconds that the body of a request has to arrive."""


@dataclass(frozen=True)
class Site:
    """The console, as handlers get it besides the request."""

    source: Callable[[], Persistence]
    options: ConsoleOptions
    templates: Environment
    files: StaticFiles
    paths: Paths
    doors: Doors = OF_CONSOLE
    listeners: Listeners = field(default_factory=Listeners)
    rail: list[Section] = field(default_factory=list)

    @property
    def persistence(self) -> Persistence:
        """The persistence; raises why it cannot be opened, as long as it cannot."""
        return self.source()

    def viewer(self, request: Request) -> Viewer:
        """Return what is known of the reader of a request."""
        try:
            now = self.persistence.clock.now()
        except PersistenceError:  # The page says that there is no database.
            now = datetime.now(UTC)
        return viewer_of(request, now)

    def render(
        self, request: Request, template: str, status: int = 200, **context: Any
    ) -> HTMLResponse:
        """Return a page. Templates get `viewer`, `paths`, `options`, `path` and the context."""
        text = self.templates.get_template(template).render(
            viewer=self.viewer(request),
            paths=self.paths,
            options=self.options,
            rail=self.rail,
            database=database_name(self),
            example_url=example_url(self),
            path=here(request),
            **context,
        )
        return HTMLResponse(text, status)

    def page(self, path: str, handler: Handler, role: Role = "read") -> Route:
        """Return the route of a page or a part of one; the handler runs in a thread."""
        return Route(path, partial(_answer, self, handler, role), methods=["GET"])

    def post(self, path: str, handler: Handler, role: Role = "write") -> Route:
        """Return the route of a form; the handler reads it by `form_of(request)`."""
        return Route(path, partial(_answer_form, self, handler, role), methods=["POST"])

    def in_time(self, call: Callable[[Unpack[Ts]], R], *args: *Ts) -> R:
        """Call a function whose readings, and waits for the database, end after ten seconds."""
        with self.persistence.deadline(_LONGEST):
            return call_within(_LONGEST, call, *args)

    def at(self, request: Request) -> Site:
        """Return the site with the paths of an application in which it may be mounted."""
        base_path = request.scope.get("root_path", "").rstrip("/") + self.options.base_path
        if base_path == self.paths.base_path:
            return self
        return replace(self, paths=replace(self.paths, base_path=base_path))


def _answer(site: Site, handler: Handler, role: Role, request: Request) -> Response:
    check_role(request, role)
    site = site.at(request)
    try:
        return site.in_time(handler, site, request)
    except UnsupportedError:
        if not (replicated := site.in_time(site.persistence._store.replicated)):
            raise
        return site.render(request, "elsewhere.html", sources=replicated)


async def _answer_form(site: Site, handler: Handler, role: Role, request: Request) -> Response:
    check_role(request, role)
    request.scope["curio.body"] = await body_of(request, MOST_FORM_BYTES)
    return await run_in_threadpool(site.in_time, handler, site.at(request), request)


async def body_of(request: Request, most: int) -> bytes:
    """Return the body of a request, whole; refuse one that is longer before it is read."""
    parts, length = [], 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in request.stream():
                length += len(part)
                if length > most:
                    raise HTTPException(413, f"The body has more than {most:,} bytes.")
                parts.append(part)
    except TimeoutError:
        told = f"The body did not arrive within {_BODY_SECONDS:.0f} s."
        raise HTTPException(408, told) from None
    except ClientDisconnect:
        raise HTTPException(400, "The body ended before its length.") from None
    return b"".join(parts)


def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form that was sent; of fields with one name the last."""
    body: bytes = request.scope["curio.body"]
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
        )
    except ValueError as error:
        raise InvalidValueError("The form cannot be read.", field="body") from error
    return dict(pairs)


def inner_path(request: HTTPConnection) -> str:
    """Return the path of a request below the base path."""
    path: str = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return path


def here(request: Request) -> str:
    """Return the path and query of a request without the base path, to come back to.

    The server has decoded the path once; what ids have is encoded once more.
    """
    path = quote(inner_path(request), errors="surrogatepass")
    query = request.scope.get("query_string", b"").decode("latin-1")
    return f"{path}?{query}" if query else path


def database_name(site: Site) -> str:
    """Return a short name of the database: of a file its name, of a server its database."""
    try:
        location = site.persistence.location
    except PersistenceError:
        return getattr(site.source, "name", "no database")
    return location.rstrip("/").rpartition("/")[2].partition("?")[0] or location


def example_url(site: Site) -> str:
    """Return what code that records a first run gives to `connect`."""
    name = database_name(site)
    return f'"sqlite:///{name}"' if name.endswith(".db") else ""
