"""Routes of the API, made of the table of operations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from curio_persistence.capabilities.live import LiveStream
from curio_persistence.console.api.answers import answer, json_answer
from curio_persistence.console.api.bodies import Body
from curio_persistence.console.api.openapi import document
from curio_persistence.console.api.operation import Operation
from curio_persistence.console.api.operations import OPERATIONS
from curio_persistence.console.api.streams import json_frames
from curio_persistence.console.security.roles import check_role
from curio_persistence.console.site import Site, body_of

ROOT = "/api/v1"


def routes(site: Site) -> list[BaseRoute]:
    """Return one route for each path, and that of the OpenAPI document."""
    paths: dict[str, list[Operation]] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, []).append(each)
    return [
        Route(f"{ROOT}/openapi.json", partial(_openapi, site), methods=["GET"]),
        *(Route(ROOT + path, Endpoint(site, paths[path])) for path in paths),
    ]


async def _openapi(site: Site, request: Request) -> Response:
    base = f"{site.at(request).paths.base_path}{ROOT}"
    return json_answer(request, document(OPERATIONS, base=base))


class Endpoint:
    """All operations of one path."""

    def __init__(self, site: Site, operations: Sequence[Operation]) -> None:
        self._site = site
        self._operations = {each.method: each for each in operations}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": self._allowed})
        method: Any = "GET" if request.method == "HEAD" else request.method
        operation = self._operations.get(method)
        if operation is None:
            raise HTTPException(405, headers={"Allow": self._allowed})
        check_role(request, operation.role)
        if operation.answer.kind == "stream":
            return await self._stream(request, operation)
        content = await _received(request, operation.body) if operation.body else b""
        return await run_in_threadpool(self._run, request, operation, content)

    @property
    def _allowed(self) -> str:
        head = ["HEAD"] if "GET" in self._operations else []
        return ", ".join(sorted((*self._operations, "OPTIONS", *head)))

    def _run(self, request: Request, operation: Operation, content: bytes) -> Response:
        ids, given = operation.arguments(request.path_params, request.url.query)
        if operation.body is not None:
            ids = [*ids, operation.body.parsed(content)]
        return self._site.in_time(self._answer_of, request, operation, ids, given)

    def _answer_of(
        self, request: Request, operation: Operation, ids: list[Any], given: dict[str, Any]
    ) -> Response:
        return answer(request, operation, operation.run(self._site.persistence, *ids, **given))

    async def _stream(self, request: Request, operation: Operation) -> Response:
        _, given = operation.arguments({}, request.url.query)

        def open_stream(last: str | None) -> LiveStream:
            after = {"after": last} if last else {}
            return self._site.persistence.stream(**given | after)

        return await self._site.listeners.answer(request, open_stream, json_frames)


async def _received(request: Request, body: Body) -> bytes:
    """Return the body of a request; raise HTTPException for one that is no JSON, or too large."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "The content type of the body is application/json.")
    return await body_of(request, body.most)
