"""Open the socket of a server and run the server on it, for the console and for `serve`."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread, current_thread, main_thread
from typing import Any

import uvicorn
from starlette.applications import Starlette

from curio_persistence.errors import ConfigurationError

GRACE = 2
"""Seconds that requests have to end when the console stops."""
_SETTINGS: dict[str, Any] = {"limit_concurrency": 1_000, "timeout_graceful_shutdown": GRACE}


class Server(uvicorn.Server):
    """A server that says when it has started, and ends open streams before it stops."""

    def __init__(self, app: Starlette, on_start: Callable[[], object], **settings: Any) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            proxy_headers=False,  # Headers of proxies count only from those that are trusted.
            **_SETTINGS | settings,
        )
        super().__init__(config)
        self._app, self._on_start = app, on_start

    def serve_on(self, listener: socket.socket, stop: Event | None) -> None:
        """Serve until SIGINT, SIGTERM or `stop`."""
        if stop is not None:
            Thread(target=self._end_after, args=(stop,), daemon=True).start()
        with _ended_by_signals(self):
            self.run([listener])

    def end(self) -> None:
        self.should_exit = True

    def _end_after(self, stop: Event) -> None:
        stop.wait()
        self.end()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.stopping.set()
        await super().shutdown(sockets)


@contextmanager
def _ended_by_signals(server: Server) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the server only; the caller has more to close.

    uvicorn has handlers of its own while it runs, and repeats the signal afterwards.
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


def listening(host: str, ports: Sequence[int], *, if_taken: str) -> socket.socket:
    """Return a socket at the first of some ports that is free.

    Raise ConfigurationError where none can be opened; `if_taken` says what to do if all are in use.
    """
    for port in ports:
        try:
            return _opened(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                told = f"The server cannot listen on {host} port {port}: {error.strerror}."
                raise ConfigurationError(told) from error
    raise ConfigurationError(f"Port {ports[-1]} of {host} is in use, perhaps by {if_taken}.")


def _opened(host: str, port: int) -> socket.socket:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, port), family=family, backlog=2048)


def url_of(host: str, listener: socket.socket) -> str:
    """Return the URL under which a socket is reached."""
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"
