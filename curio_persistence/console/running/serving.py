"""Serve the console with uvicorn: from a free port to an end within seconds."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Event, Thread, current_thread, main_thread
from typing import Any
from urllib.parse import urlencode

import uvicorn
from starlette.applications import Starlette

from curio_persistence.config import DatabaseConfig
from curio_persistence.config.server import is_loopback
from curio_persistence.console.app import app_of, make_site
from curio_persistence.console.options import ConsoleOptions
from curio_persistence.console.running.opening import Indexing, Opening, Source
from curio_persistence.console.security.local import TOKEN
from curio_persistence.console.security.team import check_admin_key
from curio_persistence.errors import ConfigurationError, PersistenceError
from curio_persistence.persistence import Persistence

PORT = 7410
_PORTS = 20
"""Ports that are tried, from the usual one on."""
_LAST_PORT = 65_535
_GRACE = 2
"""Seconds that requests have to end when the console stops."""
_SETTINGS: dict[str, Any] = {"limit_concurrency": 1_000, "timeout_graceful_shutdown": _GRACE}


def serve(
    database: Persistence | DatabaseConfig,
    options: ConsoleOptions,
    host: str,
    port: int | None,
    stop: Event | None,
    on_start: Callable[[str], object] | None,
) -> None:
    """Serve until a signal or `stop`."""
    check_reach(host, options)
    with _listening(host, _fixed(port, options)) as listener, ExitStack() as stack:
        source = _source(database, options, stack)
        if options.team:
            check_admin_key(source())
        app = app_of(make_site(source, options))
        url = url_of(host, listener, options)
        server = Server(app, lambda: on_start and on_start(url))
        if stop is not None:
            Thread(target=server.end_after, args=(stop,), daemon=True).start()
        with ended_by_signals(server):
            server.run([listener])


def _fixed(port: int | None, options: ConsoleOptions) -> int | None:
    """Return the port; a team's is always the same, since the proxy has to know it."""
    return PORT if port is None and options.team else port


def check_reach(host: str, options: ConsoleOptions) -> None:
    """Refuse a host that other machines reach, unless readers need keys."""
    if not is_loopback(host) and not options.team:
        raise ConfigurationError(
            f"Other machines can reach {host}: listen on 127.0.0.1, or serve a team (--team)."
        )


def _source(
    database: Persistence | DatabaseConfig, options: ConsoleOptions, stack: ExitStack
) -> Source:
    """Return what opens the database, and index it meanwhile; a persistence is left as it is."""
    if not isinstance(database, DatabaseConfig):
        return lambda: database
    opening = Opening(database, read_only=not options.stores)
    stack.callback(opening.close)
    if database.db_type == "sqlite":
        _refuse_wrong_path(opening)
    if database.db_type != "memory":
        indexing = Indexing(database, opening)
        indexing.start()
        stack.callback(indexing.stop, _GRACE / 4)
    return opening


def _refuse_wrong_path(opening: Opening) -> None:
    """Raise ConfigurationError for a path that waiting does not mend, such as a folder's."""
    try:
        opening()
    except ConfigurationError:
        raise
    except PersistenceError:
        return  # Pages say what is missing, and look again.


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
def _listening(host: str, port: int | None) -> Iterator[socket.socket]:
    """Open the socket; None is the usual port, or the next one that is free."""
    tried = range(PORT, PORT + _PORTS) if port is None else (port,)
    if tried[-1] > _LAST_PORT:
        raise ConfigurationError(f"A port is at most {_LAST_PORT}, not {port}.")
    for number in tried:
        try:
            family = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0][0]
            listener = socket.create_server((host, number), family=family, backlog=2048)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and number != tried[-1]:
                continue
            raise ConfigurationError(_why_not(host, number, error)) from error
        with listener:
            yield listener
        return


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} of {host} is in use, perhaps by another console: choose another one "
            "(--port), or leave it out."
        )
    return f"The console cannot listen on {host} port {port}: {error.strerror}."


def url_of(host: str, listener: socket.socket, options: ConsoleOptions) -> str:
    """Return the URL to open; it has the token, if there is one."""
    shown = f"[{host}]" if ":" in host else host
    origin = options.public_url or f"http://{shown}:{listener.getsockname()[1]}"
    query = "" if options.token is None else f"?{urlencode({TOKEN: options.token})}"
    return f"{origin.rstrip('/')}{options.base_path}/{query}"


@contextmanager
def ended_by_signals(server: Server) -> Iterator[None]:
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
