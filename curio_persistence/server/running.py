"""Run the application with uvicorn, from a free port to a clean end."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from curio_persistence.config.server import ServerConfig
from curio_persistence.console.options import ConsoleOptions
from curio_persistence.console.running.serving import Server, ended_by_signals
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
    with _listening(config) as listener:
        url = _url(config.host, listener)
        server = Server(app, lambda: on_start and on_start(url), **_SETTINGS)
        if stop is not None:
            Thread(target=server.end_after, args=(stop,), daemon=True).start()
        with ended_by_signals(server):
            server.run([listener])


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


@contextmanager
def _listening(config: ServerConfig) -> Iterator[socket.socket]:
    """Open the socket; raise an error that says why it cannot be opened."""
    try:
        family = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((config.host, config.port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(_why_not(config, error)) from error
    with listener:
        yield listener


def _why_not(config: ServerConfig, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {config.port} of {config.host} is in use, perhaps by another server or an "
            "OpenTelemetry collector: choose another one (--port)."
        )
    return f"The server cannot listen on {config.host} port {config.port}: {error.strerror}."


def _url(host: str, listener: socket.socket) -> str:
    """Return the URL under which the server is reached."""
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"
