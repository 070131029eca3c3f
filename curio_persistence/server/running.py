"""Run the application with uvicorn, from a free port to a clean end."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread, current_thread, main_thread
from typing import Any

import uvicorn
from starlette.applications import Starlette

from curio_persistence.config.server import ServerConfig
from curio_persistence.errors import ConfigurationError
from curio_persistence.persistence import Persistence
from curio_persistence.server.app import make_app

_GRACE = 15
"""Seconds that requests have to end when the server stops; a write may wait for ten."""
_IDLE = 75
"""Seconds that a connection stays open for the next batch: exporters send one every five."""
_CONNECTIONS = 2_000


def serve(
    persistence: Persistence,
    config: ServerConfig,
    stop: Event | None,
    on_start: Callable[[str], object] | None,
) -> None:
    """Serve until a signal or `stop`."""
    config.check_reach()
    app = make_app(persistence, config)
    persistence.prices.version()  # Loads the prices: no request has to wait for that.
    with _listening(config) as listener:
        server = _Server(app, lambda: on_start and on_start(_url(config.host, listener)))
        if stop is not None:
            Thread(target=server.end_after, args=(stop,), daemon=True).start()
        with _ended_by_signals(server):
            server.run([listener])


class _Server(uvicorn.Server):
    """A server that says when it has started and when it begins to stop."""

    def __init__(self, app: Starlette, on_start: Callable[[], object]) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=_IDLE,
            timeout_graceful_shutdown=_GRACE,
        )
        super().__init__(config)
        self._app, self._on_start = app, on_start

    def end(self) -> None:
        self.should_exit = True

    def end_after(self, stop: Event) -> None:
        stop.wait()
        self.end()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.stopping.set()
        await super().shutdown(sockets)


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


@contextmanager
def _ended_by_signals(server: _Server) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the server only.

    uvicorn has handlers of its own while it runs, and repeats the signal afterwards, when the
    caller has more to close.
    """
    if current_thread() is not main_thread():
        yield
        return
    before: dict[int, Any] = {
        number: signal.signal(number, lambda *_: server.end())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
