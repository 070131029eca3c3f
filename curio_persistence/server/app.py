"""The application: its routes, and what is checked before them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware

from curio_persistence.config.server import ServerConfig
from curio_persistence.persistence import Persistence
from curio_persistence.server import health, metrics, otlp, stream
from curio_persistence.server.intake import Intake
from curio_persistence.server.keys import Keys


def make_app(persistence: Persistence, config: ServerConfig) -> Starlette:
    """Return the application.

    `app.state.stopping` is set when the server stops: answers that never end watch it.
    """
    intake = Intake(config)
    stopping = asyncio.Event()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        stopping.set()
        await asyncio.to_thread(intake.stop)

    app = Starlette(
        routes=[
            *health.routes(persistence),
            *otlp.routes(persistence, config, intake),
            *metrics.routes(persistence, intake),
            *stream.routes(persistence),
        ],
        middleware=[Middleware(Keys, config.keys)],
        lifespan=lifespan,
    )
    app.state.stopping = stopping
    return app
