"""Middleware around the routes: the base path, and errors that no handler expected."""

from __future__ import annotations

from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BasePath:
    """Takes the base path off requests: a proxy in front may strip it, or not."""

    def __init__(self, app: ASGIApp, base_path: str) -> None:
        self._app, self._base_path = app, base_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._base_path and scope["type"] == "http":
            scope = {**scope, **self._stripped(scope)}
        await self._app(scope, receive, send)

    def _stripped(self, scope: Scope) -> dict[str, str]:
        root: str = scope.get("root_path", "")
        inner: str = scope["path"].removeprefix(root)
        if inner == self._base_path:
            return {"path": f"{root}/"}
        if inner.startswith(f"{self._base_path}/"):
            return {"path": root + inner.removeprefix(self._base_path)}
        return {}


class Unexpected:
    """Answers a request whose handler raised an error that is none of ours."""

    def __init__(self, app: ASGIApp, answer: Callable[[Request, Exception], Response]) -> None:
        self._app, self._answer = app, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if started or scope["type"] != "http":
                raise ConnectionAbortedError("An answer broke off.") from None
            answer = await run_in_threadpool(self._answer, Request(scope), error)
            await answer(scope, receive, send)
