"""The application: its routes, and what is checked before them."""

from __future__ import annotations

import asyncio

from starlette.applications import Starlette
from starlette.middleware import Middleware

from curio_persistence.config.server import ServerConfig
from curio_persistence.persistence import Persistence
from curio_persistence.server import health, metrics, stream
from curio_persistence.server.keys import Keys


def make_app(persistence: Persistence, config: ServerConfig) -> Starlette:
    """Return the application.

    `app.state.stopping` is set when the server stops: answers that never end watch it.
    """
    stopping = asyncio.Event()
    app = Starlette(
        routes=[
            *health.routes(persistence),
            *metrics.routes(persistence),
            *stream.routes(persistence),
        ],
        middleware=[Middleware(Keys, config.keys)],
    )
    app.state.stopping = stopping
    return app
