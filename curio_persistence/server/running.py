"""Run the application with uvicorn, from a free port to a clean end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event
from typing import Any

from curio_persistence.config.server import ServerConfig
from curio_persistence.console.options import ConsoleOptions
from curio_persistence.console.running.server import Server, listening, url_of
from curio_persistence.console.security.team import check_admin_key
from curio_persistence.errors import ConfigurationError
from curio_persistence.persistence import Persistence
from curio_persistence.server.app import make_app

_SETTINGS: Mapping[str, Any] = {
    "limit_concurrency": 2_000,
    "timeout_keep_alive": 75,
    "timeout_graceful_shutdown": 15,
}
"""Connections stay open for the next batch: exporters send one every five seconds. When the server
stops, requests have time to end: a write may wait for ten seconds."""
_IF_TAKEN = "another server or an OpenTelemetry collector: choose another one (--port)"


def serve(
    persistence: Persistence,
    config: ServerConfig,
    console: ConsoleOptions,
    stop: Event | None,
    on_start: Callable[[str], object] | None,
) -> None:
    """Serve until a signal or `stop`."""
    _check_access(persistence, config, console)
    app = make_app(persistence, config, console)
    persistence.prices.version()  # Loads the prices: no request has to wait for that.
    with listening(config.host, (config.port,), if_taken=_IF_TAKEN) as listener:
        url = url_of(config.host, listener)
        server = Server(app, lambda: on_start and on_start(url), **_SETTINGS)
        server.serve_on(listener, stop)


def _check_access(persistence: Persistence, config: ServerConfig, console: ConsoleOptions) -> None:
    """Refuse a server that others reach without keys, and a team's without the key of an admin."""
    if not console.team:
        config.check_reach()
        return
    if config.keys:
        raise ConfigurationError(
            "A team's keys are those of the database (curio-persistence keys): leave "
            "CURIO_SERVER_KEYS and --key out."
        )
    check_admin_key(persistence)
