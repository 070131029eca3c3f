"""Serve the console with uvicorn: from a free port to an end within seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from socket import socket
from threading import Event
from urllib.parse import urlencode

from curio_persistence.config import DatabaseConfig
from curio_persistence.config.server import is_loopback
from curio_persistence.console.app import app_of, make_site
from curio_persistence.console.options import ConsoleOptions
from curio_persistence.console.running.opening import Indexing, Opening, Source
from curio_persistence.console.running.server import GRACE, Server, listening, url_of
from curio_persistence.console.security.local import TOKEN
from curio_persistence.console.security.team import check_admin_key
from curio_persistence.errors import ConfigurationError, PersistenceError
from curio_persistence.persistence import Persistence

PORT = 7410
_PORTS = 20
"""The number of ports to try, from the usual one on."""
_LAST_PORT = 65_535
_IF_TAKEN = "another console: choose another one (--port), or leave it out"


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
    ports = _ports(port, options)
    with listening(host, ports, if_taken=_IF_TAKEN) as listener, ExitStack() as stack:
        source = _source(database, options, stack)
        if options.team:
            check_admin_key(source())
        app = app_of(make_site(source, options))
        url = _url_to_open(host, listener, options)
        Server(app, lambda: on_start and on_start(url)).serve_on(listener, stop)


def _ports(port: int | None, options: ConsoleOptions) -> Sequence[int]:
    """Return the ports to try; a team's is always the same, since the proxy has to know it."""
    if port is None:
        return (PORT,) if options.team else range(PORT, PORT + _PORTS)
    if port > _LAST_PORT:
        raise ConfigurationError(f"A port is at most {_LAST_PORT}, not {port}.")
    return (port,)


def check_reach(host: str, options: ConsoleOptions) -> None:
    """Refuse a host that other machines reach, unless readers need keys."""
    if not is_loopback(host) and not options.team:
        raise ConfigurationError(
            f"Other machines can reach {host}: listen on 127.0.0.1, or serve a team (--team)."
        )


def _source(
    database: Persistence | DatabaseConfig, options: ConsoleOptions, stack: ExitStack
) -> Source:
    """Return a function that gives the persistence; open and index a database meanwhile."""
    if not isinstance(database, DatabaseConfig):
        return lambda: database
    opening = Opening(database, read_only=not options.stores)
    stack.callback(opening.close)
    if database.db_type == "sqlite":
        _refuse_wrong_path(opening)
    if database.db_type != "memory":
        indexing = Indexing(database, opening)
        indexing.start()
        stack.callback(indexing.stop, GRACE / 4)
    return opening


def _refuse_wrong_path(opening: Opening) -> None:
    """Raise ConfigurationError for a path that waiting does not mend, such as a folder's."""
    try:
        opening()
    except ConfigurationError:
        raise
    except PersistenceError:
        return  # Pages say what is missing, and look again.


def _url_to_open(host: str, listener: socket, options: ConsoleOptions) -> str:
    """Return the URL to open; it has the token, if there is one."""
    origin = options.public_url or url_of(host, listener)
    query = "" if options.token is None else f"?{urlencode({TOKEN: options.token})}"
    return f"{origin.rstrip('/')}{options.base_path}/{query}"
