"""Answer whether the server runs, and whether its database answers."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from curio_persistence.errors import PersistenceError
from curio_persistence.persistence import Persistence

LIVE, READY = "/healthz", "/readyz"
_PATIENCE = 2.0
"""Seconds that the database has for an answer."""


def routes(persistence: Persistence) -> list[Route]:
    """Return the routes that need no key."""
    readiness = _Readiness(persistence)
    return [Route(LIVE, _live), Route(READY, readiness.answer)]


async def _live(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


class _Readiness:
    """Asks the database, with one question at a time: one that never answers holds one thread."""

    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence
        self._question: asyncio.Future[None] | None = None

    async def answer(self, request: Request) -> Response:
        try:
            await asyncio.wait_for(asyncio.shield(self._asked()), _PATIENCE)
        except TimeoutError:
            return _not_ready("the database does not answer")
        except PersistenceError as error:
            return _not_ready(type(error).__name__)
        return JSONResponse({"status": "ok"})

    def _asked(self) -> asyncio.Future[None]:
        if self._question is None or self._question.done():
            self._question = asyncio.ensure_future(asyncio.to_thread(self._ask))
        return self._question

    def _ask(self) -> None:
        self._persistence.get_agent_runs(limit=1)


def _not_ready(why: str) -> Response:
    return JSONResponse({"status": "unavailable", "reason": why}, 503, {"Retry-After": "1"})
