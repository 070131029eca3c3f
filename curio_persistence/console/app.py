"""The application: its routes, and what surrounds them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import BaseRoute
from starlette.types import Lifespan

from curio_persistence.console import pages
from curio_persistence.console.api.routes import routes as api_routes
from curio_persistence.console.http.errors import answer_to
from curio_persistence.console.http.middleware import BasePath, Unexpected
from curio_persistence.console.http.paths import Paths
from curio_persistence.console.http.static_files import static_files
from curio_persistence.console.options import ConsoleOptions
from curio_persistence.console.parts.rail import rail_of
from curio_persistence.console.render.templating import templates
from curio_persistence.console.roots import agentlens, agiwo
from curio_persistence.console.running.opening import Source
from curio_persistence.console.security.checks import security_of
from curio_persistence.console.security.doors import OF_CONSOLE, Doors
from curio_persistence.console.site import Site
from curio_persistence.errors import PersistenceError
from curio_persistence.persistence import Persistence

_PACKING = 6
"""The level of compression: a higher one costs more time than it saves bytes."""


def make_app(persistence: Persistence, options: ConsoleOptions) -> Starlette:
    """Return the application of an open persistence."""
    return app_of(make_site(lambda: persistence, options))


def make_site(source: Source, options: ConsoleOptions, doors: Doors = OF_CONSOLE) -> Site:
    """Return the site; `source` returns the persistence, or raises why there is none."""
    files = static_files()
    paths = Paths(options.base_path, files.release)
    return Site(source, options, templates(), files, paths, doors)


def app_of(
    site: Site, further: Sequence[BaseRoute] = (), lifespan: Lifespan[Starlette] | None = None
) -> Starlette:
    """Return the application of a site, with `further` routes.

    `app.state.stopping` is set when its server stops: answers that never end watch it.
    """
    routes = [*site.files.routes(), *further, *api_routes(site)]
    routes += [*agentlens.routes(site), *agiwo.routes(site), *pages.routes(site)]
    site.rail.extend(rail_of(routes))
    answer: Any = partial(answer_to, site)
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(BasePath, base_path=site.options.base_path),
            *security_of(site, answer),
            Middleware(GZipMiddleware, minimum_size=1_000, compresslevel=_PACKING),
            Middleware(Unexpected, answer=answer),
        ],
        exception_handlers={HTTPException: answer, PersistenceError: answer},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # The base path would be missing.
    app.state.stopping = asyncio.Event()
    return app
