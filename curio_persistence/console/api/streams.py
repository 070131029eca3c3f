"""Send what is stored as server-sent events, which resume behind the last one that came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from curio_persistence.aio.live import wake
from curio_persistence.capabilities.live import LiveStream
from curio_persistence.errors import ClosedError, PersistenceError

_MOST = 1_000
"""Listeners at a time."""
_HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent: proxies end connections that are silent."""
_AT_ONCE = 100
_KIND = "text/event-stream"
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

OpenStream = Callable[[str | None], LiveStream]
"""Opens the stream of a request, behind the id that the client had last."""
Frames = Callable[[LiveStream], str | None]
"""Takes what is at hand, and returns it as frames; None if nothing is. It has to be quick."""


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

    async def answer(
        self,
        request: Request,
        open_stream: OpenStream,
        frames: Frames,
        *,
        in_thread: bool = False,
    ) -> Response:
        """Return the answer that sends the frames of a stream until it, or the server, ends.

        Frames that take long to make are made `in_thread`, so that other requests do not wait.
        """
        if "wsgi_environ" in request.scope:  # Each listener would hold a thread of the server.
            raise HTTPException(501, "Streams need a server that speaks ASGI.")
        if request.method == "HEAD":
            return Response(headers=_HEADERS, media_type=_KIND)
        if len(self._news) >= _MOST:
            message = f"{_MOST:,} listeners are connected: try again later."
            raise HTTPException(503, message, {"Retry-After": "5"})
        news, stopping = asyncio.Event(), request.app.state.stopping
        self._news.add(news)  # Before the next listener is counted.
        try:
            last = request.headers.get("last-event-id")
            stream = await asyncio.to_thread(open_stream, last)
        except BaseException:
            self._news.discard(news)
            raise
        stream.on_news = partial(wake, asyncio.get_running_loop(), news)
        if self._watching is None:
            self._watching = asyncio.create_task(self._wake_all_after(stopping))
        sent = _sent(stream, frames, news, stopping, in_thread=in_thread)
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
        super().__init__(frames, media_type=_KIND, headers=_HEADERS)
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()


async def _sent(
    stream: LiveStream,
    frames: Frames,
    news: asyncio.Event,
    stopping: asyncio.Event,
    *,
    in_thread: bool,
) -> AsyncIterator[str]:
    """Yield the frames of a stream, and comments while there are none."""
    yield f": connected\nid: {stream.id}\n\n"
    while not (stopping.is_set() or stream.closed):
        news.clear()
        try:
            text = await _next(stream, frames, in_thread=in_thread)
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


async def _next(stream: LiveStream, frames: Frames, *, in_thread: bool) -> str | None:
    """Return the frames at hand; from a thread, if they are read from the database too."""
    if stream.has_caught_up and not in_thread:
        return frames(stream)
    return await asyncio.to_thread(frames, stream)
