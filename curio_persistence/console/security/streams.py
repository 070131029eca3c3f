"""Streams of a team's console, which end with the key or the login that opened them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.types import ASGIApp, Receive, Scope, Send

LOOKED_UP_EVERY = 30.0
"""Seconds after which a key that was revoked still gets what is stored, at most."""


async def answer_while(
    is_valid: Callable[[], Awaitable[bool]],
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Answer a request that never ends by itself, until its key is not valid any more."""
    answering = asyncio.ensure_future(app(scope, receive, send))
    try:
        while not answering.done() and await is_valid():
            await asyncio.wait((answering,), timeout=LOOKED_UP_EVERY)
        if answering.done():
            answering.result()  # Raises what it raised.
            return
    finally:
        answering.cancel()
    with suppress(asyncio.CancelledError):
        await answering
    await send({"type": "http.response.body"})
