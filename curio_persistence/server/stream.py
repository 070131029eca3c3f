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


OpenStream = Callable[[str | None], LiveStream]
"""Opens the stream of a request, behind the id that the client had last."""
Frames = Callable[[LiveStream], str | None]
"""Takes what is at hand, and returns it as frames; None if nothing is. It has to be quick."""


def routes(persistence: Persistence) -> list[Route]:
    """Return the route of live streams."""
    listeners = Listeners()

    async def answer(request: Request) -> Response:
        def open_stream(last: str | None) -> LiveStream:
            after = {"after": last} if last else {}
            return persistence.stream(**_options(request.query_params) | after)

        return await listeners.answer(request, open_stream, json_frames)

    return [Route(PATH, answer)]


def json_frames(stream: LiveStream) -> str | None:
    """Return a frame for each item, made once for all streams."""
    items = stream.take_texts(_AT_ONCE)
    frames = (f"id: {each}\nevent: {kind}\ndata: {text}\n\n" for each, kind, text in items)
    return "".join(frames) or None


class Listeners:
    """The open streams; each holds no thread, and no memory but for what waits to be sent."""

    def __init__(self) -> None:
        self._news: set[asyncio.Event] = set()
        self._watching: asyncio.Task[None] | None = None

    async def answer(self, request: Request, open_stream: OpenStream, frames: Frames) -> Response:
        """Return the answer that sends the frames of a stream until it, or the server, ends."""
        if len(self._news) >= _MOST:
            return _refusal(503, f"{_MOST:,} listeners are connected: try again later.")
        news, stopping = asyncio.Event(), request.app.state.stopping
        self._news.add(news)  # Before the next listener is counted.
        try:
            last = request.headers.get("last-event-id")
            stream = await asyncio.to_thread(open_stream, last)
        except BaseException as error:
            self._news.discard(news)
            return _told(error)
        stream.on_news = partial(wake, asyncio.get_running_loop(), news)
        if self._watching is None:
            self._watching = asyncio.create_task(self._wake_all_after(stopping))
        sent = _sent(stream, frames, news, stopping)
        return _Answer(sent, partial(self._end, stream, news))

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


async def _sent(
    stream: LiveStream, frames: Frames, news: asyncio.Event, stopping: asyncio.Event
) -> AsyncIterator[str]:
    """Yield the frames of a stream, and comments while there are none."""
    yield f": connected\nid: {stream.id}\n\n"
    while not (stopping.is_set() or stream.closed):
        news.clear()
        try:
            text = await _next(stream, frames)
        except ClosedError:
            return
        except PersistenceError as error:
            yield f": {type(error).__name__}; waiting for the database\n\n"
            text = None
        if text is not None:
            yield text
            continue
        with suppress(TimeoutError):
            await asyncio.wait_for(news.wait(), _HEARTBEAT)
            continue
        # The id moves also past what the filters leave out.
        yield f": heartbeat\nid: {stream.id}\n\n"


async def _next(stream: LiveStream, frames: Frames) -> str | None:
    """Return the frames at hand; from a thread, if they are read from the database."""
    if stream.has_caught_up:
        return frames(stream)
    return await asyncio.to_thread(frames, stream)


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
