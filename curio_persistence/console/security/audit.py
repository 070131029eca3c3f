"""Lines of the audit log about runs that were opened."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from curio_persistence.console.http.paths import decoded_id
from curio_persistence.console.site import Site, inner_path
from curio_persistence.errors import PersistenceError

_RUN = re.compile(r"(?:/api/v1)?/runs/([^/]+)(?:/[^/]*)?")
_AGAIN = timedelta(minutes=10)
_MOST = 10_000


class OpenedRuns:
    """Adds a line to the audit log when a run is asked for, at most every ten minutes.

    A page of a running run asks again and again. Without its line a run is not shown.
    """

    def __init__(
        self, app: ASGIApp, site: Site, answer: Callable[[Request, Exception], Response]
    ) -> None:
        self._app, self._site, self._answer = app, site, answer
        self._seen: dict[tuple[str, str], datetime] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope) if scope["type"] == "http" else None
        found = _RUN.fullmatch(inner_path(request)) if request else None
        if request and found and request.method == "GET":
            try:
                await run_in_threadpool(self._log, request, decoded_id(found[1]))
            except PersistenceError as error:
                answer = await run_in_threadpool(self._answer, request, error)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _log(self, request: Request, run_id: str) -> None:
        key = request.scope.get("curio.key")
        reader = (key.key_id if key else "", run_id)
        now = self._site.persistence.clock.now()
        if now - self._seen.get(reader, now - _AGAIN) < _AGAIN:
            return
        self._site.persistence.audit.log("open", run_id, resource_type="run", run_id=run_id)
        if len(self._seen) >= _MOST:
            self._seen.clear()
        self._seen[reader] = now
