"""Send what is stored as server-sent events, which resume behind the last one that came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from curio_persistence.aio.live import wake
from curio_persistence.capabilities.live import LiveStream
from curio_persistence.errors import ClosedError, InvalidValueError, PersistenceError
from curio_persistence.persistence import Persistence

PATH = "/api/v1/stream"
_MOST = 1_000
"""Listeners at a time."""
_HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent: proxies end connections that are silent."""
_AT_ONCE = 100
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_NAMES = ("kinds", "agent_id", "run_id", "session_id", "after", "until")


def routes(persistence: Persistence) -> list[Route]:
    """Return the route of live streams."""
    return [Route(PATH, Listeners(persistence).answer)]


class Listeners:
    """The open streams; each holds no thread, and no memory but for what waits to be sent."""

    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence
        self._news: set[asyncio.Event] = set()
        self._watching: asyncio.Task[None] | None = None

    async def answer(self, request: Request) -> Response:
        if len(self._news) >= _MOST:
            return _refusal(503, f"{_MOST:,} listeners are connected: try again later.")
        news, stopping = asyncio.Event(), request.app.state.stopping
        self._news.add(news)  # Before the next listener is counted.
        try:
            stream = await asyncio.to_thread(self._open, request)
        except BaseException as error:
            self._news.discard(news)
            return _told(error)
        stream.on_news = partial(wake, asyncio.get_running_loop(), news)
        if self._watching is None:
            self._watching = asyncio.create_task(self._wake_all_after(stopping))
        return _Answer(_frames(stream, news, stopping), partial(self._end, stream, news))

    def _open(self, request: Request) -> LiveStream:
        options = _options(request.query_params)
        if last := request.headers.get("last-event-id"):
            options["after"] = last
        return self._persistence.stream(**options)

    def _end(self, stream: LiveStream, news: asyncio.Event) -> None:
        stream.close()
        self._news.discard(news)

    async def _wake_all_after(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        for news in self._news:
            news.set()


class _Answer(StreamingResponse):
    """An answer without an end; frees its stream when the client is gone."""

    def __init__(self, frames: AsyncIterator[str], end: Callable[[], object]) -> None:
        super().__init__(frames, media_type="text/event-stream", headers=_HEADERS)
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()


async def _frames(
    stream: LiveStream, news: asyncio.Event, stopping: asyncio.Event
) -> AsyncIterator[str]:
    """Yield the events of a stream, and comments while there are none."""
    yield f": connected\nid: {stream.id}\n\n"
    while not (stopping.is_set() or stream.closed):
        news.clear()
        try:
            items = await _next_items(stream)
        except ClosedError:
            return
        except PersistenceError as error:
            yield f": {type(error).__name__}; waiting for the database\n\n"
            items = []
        if items:
            yield "".join(f"id: {i}\nevent: {kind}\ndata: {text}\n\n" for i, kind, text in items)
            continue
        with suppress(TimeoutError):
            await asyncio.wait_for(news.wait(), _HEARTBEAT)
            continue
        # The id moves also past what the filters leave out.
        yield f": heartbeat\nid: {stream.id}\n\n"


async def _next_items(stream: LiveStream) -> list[tuple[str, str, str]]:
    """Return the items at hand; in a thread, if they are read from the database."""
    if stream.has_caught_up:
        return stream.take_texts(_AT_ONCE)
    return await asyncio.to_thread(stream.take_texts, _AT_ONCE)


def _options(params: QueryParams) -> dict[str, Any]:
    for name in params:
        if name not in _NAMES:
            raise InvalidValueError(
                f"{name!r} is not a parameter here; those are {', '.join(_NAMES)}.", field=name
            )
    options: dict[str, Any] = {name: params.getlist(name) for name in params}
    if "kinds" in options:  # `kinds=run,event` as well as `kinds=run&kinds=event`.
        options["kinds"] = [kind for each in options["kinds"] for kind in each.split(",")]
    return options | {name: options[name][-1] for name in ("after", "until") if name in options}


def _told(error: BaseException) -> Response:
    """Return the answer to a request whose stream cannot be opened."""
    if isinstance(error, InvalidValueError):
        return _refusal(400, str(error))
    if isinstance(error, PersistenceError):
        return _refusal(503, f"The database does not answer ({type(error).__name__}).")
    raise error


def _refusal(status: int, message: str) -> Response:
    headers = {"Retry-After": "5"} if status == 503 else None
    return JSONResponse({"message": message}, status, headers)
