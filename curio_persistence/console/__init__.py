"""The web console: pages that show what agents did, why they failed, and what it cost.

It needs `pip install 'curio-persistence[console]'`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from threading import Event
from typing import TYPE_CHECKING, Any

from curio_persistence.console.options import ConsoleOptions
from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from curio_persistence.config import DatabaseConfig
    from curio_persistence.persistence import Persistence


def create_app(persistence: Persistence, options: ConsoleOptions | None = None) -> Starlette:
    """Return the console as an ASGI application, to serve or to mount in an application.

    It answers requests that name this machine (`localhost`, `127.0.0.1`) or
    `options.public_url` as their host, and changes nothing unless `options.allow_writes`. Close
    the persistence when the application ends.
    """
    app: Starlette = _module("app").make_app(persistence, options or ConsoleOptions())
    return app


def serve_console(
    database: Persistence | DatabaseConfig,
    options: ConsoleOptions | None = None,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    stop: Event | None = None,
    on_start: Callable[[str], object] | None = None,
) -> None:
    """Serve the console until Ctrl-C, SIGTERM or `stop`; open streams end first.

    A `DatabaseConfig` is opened for reading, as soon as it is there, and what is recorded is
    indexed for search meanwhile; a persistence is used as it is. A team's console needs a database
    with the key of an admin. Without `port` it is 7410, or the
    next one that is free. Outside the main thread only `stop` ends it. `on_start` gets the URL to
    open, once requests are answered.
    """
    serving = _module("running.serving")
    serving.serve(database, options or ConsoleOptions(), host, port, stop, on_start)


def _module(name: str) -> Any:
    """Import a module that needs the extra."""
    try:
        return import_module(f"{__name__}.{name}")
    except ImportError as error:
        raise ConfigurationError(
            f"The console needs more packages ({error}): pip install 'curio-persistence[console]'"
        ) from error
