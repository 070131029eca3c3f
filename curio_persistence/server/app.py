"""The application: the console, and the routes of programs that send and scrape."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from curio_persistence.config.server import ServerConfig
from curio_persistence.console.app import app_of, make_site
from curio_persistence.console.options import ConsoleOptions
from curio_persistence.console.security.doors import OF_CLIENTS, Doors
from curio_persistence.persistence import Persistence
from curio_persistence.server import health, metrics, otlp
from curio_persistence.server.intake import Intake


def make_app(persistence: Persistence, config: ServerConfig, console: ConsoleOptions) -> Starlette:
    """Return the application.

    `app.state.stopping` is set when the server stops: answers that never end watch it.
    """
    intake = Intake(config)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        app.state.stopping.set()
        await asyncio.to_thread(intake.stop)

    open_to_all = health.routes(persistence)
    of_programs = [
        *otlp.routes(persistence, config, intake),
        *metrics.routes(persistence, intake),
    ]
    doors = Doors(
        open=frozenset(route.path for route in open_to_all) | OF_CLIENTS,
        local=frozenset((otlp.ROOT, metrics.PATH)),
        keys=config.keys,
        role="write",
    )
    site = make_site(lambda: persistence, console, doors)
    return app_of(site, [*open_to_all, *of_programs], lifespan)
