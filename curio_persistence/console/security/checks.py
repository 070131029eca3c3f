"""The checks of each request: on one machine the token, for a team keys, roles and limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from curio_persistence.console.security.audit import OpenedRuns
from curio_persistence.console.security.headers import HSTS, Headers
from curio_persistence.console.security.local import LocalGate
from curio_persistence.console.security.team import TeamGate
from curio_persistence.console.site import Site

_ALLOWED: Any = {
    "allow_methods": ("GET", "POST", "PUT", "PATCH", "DELETE"),
    "allow_headers": ("Authorization", "Content-Type", "If-None-Match", "Last-Event-ID"),
}


def security_of(site: Site, answer: Callable[[Request, Exception], Response]) -> list[Middleware]:
    """Return what checks each request of a console, from the outside in.

    Pages of the allowed origins read answers with a key: cookies are not theirs to send.
    """
    options = site.options
    checks = [Middleware(Headers, further=HSTS if options.team else None)]
    if options.allow_origin:
        checks.append(Middleware(CORSMiddleware, allow_origins=options.allow_origin, **_ALLOWED))
    if options.team:
        checks.append(Middleware(TeamGate, site=site, answer=answer))
    else:
        checks.append(Middleware(LocalGate, site=site))
    if options.audit_reads:
        checks.append(Middleware(OpenedRuns, site=site, answer=answer))
    return checks
