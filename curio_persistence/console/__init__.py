"""The web console: pages that show what agents did, why they failed, and what it cost.

It needs `pip install 'curio-persistence[console]'`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from curio_persistence.console.options import ConsoleOptions
from curio_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from curio_persistence.persistence import Persistence


def create_app(persistence: Persistence, options: ConsoleOptions | None = None) -> Starlette:
    """Return the console as an ASGI application, to serve or to mount in an application.

    It answers requests that name this machine (`localhost`, `127.0.0.1`) or
    `options.public_url` as their host, and changes nothing unless `options.allow_writes`. Close
    the persistence when the application ends.
    """
    app: Starlette = _module("app").make_app(persistence, options or ConsoleOptions())
    return app


def _module(name: str) -> Any:
    """Import a module that needs the extra."""
    try:
        return import_module(f"{__name__}.{name}")
    except ImportError as error:
        raise ConfigurationError(
            f"The console needs more packages ({error}): pip install 'curio-persistence[console]'"
        ) from error
