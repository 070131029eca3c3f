"""Check requests: with keys, each needs one; without keys, each has to name this machine.

The name is checked because a web page can have its own name resolve to 127.0.0.1, and would then be
allowed to read what is answered (DNS rebinding).
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from curio_persistence.config.server import is_loopback
from curio_persistence.server.health import LIVE, READY

_OPEN = frozenset((LIVE, READY))


class Keys:
    """Middleware that refuses requests without a key, or to another name than this machine's."""

    def __init__(self, app: ASGIApp, keys: Sequence[str]) -> None:
        self._app = app
        self._keys = [key.encode() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        """Return the answer to a request that is refused."""
        if scope["path"] in _OPEN:
            return None
        headers = Headers(scope=scope)
        if self._keys:
            return None if self._is_known(headers.get("authorization", "")) else _unauthorized()
        return None if is_loopback(_name(headers.get("host", ""))) else _misdirected()

    def _is_known(self, authorization: str) -> bool:
        """Compare with every key, so that the time tells nothing."""
        scheme, _, given = authorization.partition(" ")
        key = given.strip().encode("utf-8", "surrogateescape")
        equal = [hmac.compare_digest(key, known) for known in self._keys]
        return scheme.lower() == "bearer" and any(equal)


def _name(host: str) -> str:
    """Return a Host header without the port."""
    return host.partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _unauthorized() -> Response:
    told = "This server needs a key: Authorization: Bearer KEY."
    return JSONResponse({"message": told}, 401, {"WWW-Authenticate": "Bearer"})


def _misdirected() -> Response:
    told = "Without keys, the server answers to localhost and 127.0.0.1 only: start it with --key."
    return JSONResponse({"message": told}, 421)
