"""An HTTP server in front of a persistence: takes OpenTelemetry, and has the console and its API.

It needs `pip install 'curio-persistence[server]'`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from threading import Event
from typing import TYPE_CHECKING, Any

from curio_persistence.config.server import ServerConfig
from curio_persistence.console.options import ConsoleOptions
from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from curio_persistence.persistence import Persistence


def make_app(
    persistence: Persistence,
    config: ServerConfig | None = None,
    console: ConsoleOptions | None = None,
) -> Starlette:
    """Return the server as an ASGI application, for a server of your own or below your own app.

    It takes OTLP/HTTP at `/v1/traces`, `/v1/logs` and `/v1/metrics`; `/healthz` and `/readyz` say
    whether it runs and whether its database answers; `/metrics` is for Prometheus. The rest are the
    pages and the API of `create_app`. Its lifespan ends with what waits stored; close the
    persistence after that.
    """
    app: Starlette = _module("app").make_app(
        persistence, config or ServerConfig(), console or ConsoleOptions()
    )
    return app


def serve(
    persistence: Persistence,
    config: ServerConfig | None = None,
    console: ConsoleOptions | None = None,
    *,
    stop: Event | None = None,
    on_start: Callable[[str], object] | None = None,
) -> None:
    """Serve until Ctrl-C, SIGTERM or `stop`; then answer the requests that have begun, and return.

    Outside the main thread only `stop` ends it. `on_start` gets the URL once requests are answered.
    A host that other machines reach needs keys, or a team's console. `console` has the settings of
    pages and API, such as their `token`; a team's programs send with the keys of the database.
    """
    running = _module("running")
    running.serve(
        persistence, config or ServerConfig(), console or ConsoleOptions(), stop, on_start
    )


def _module(name: str) -> Any:
    """Import a module that needs the extra."""
    try:
        return import_module(f"{__name__}.{name}")
    except ImportError as error:
        raise ConfigurationError(
            f"The server needs more packages ({error}): pip install 'curio-persistence[server]'"
        ) from error
