"""The root of another system's API: its paths, and its form of errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from curio_persistence.console.api.answers import encoded
from curio_persistence.console.api.bodies import MEGABYTE
from curio_persistence.console.http.errors import Problem, problem_of
from curio_persistence.console.security.roles import check_role
from curio_persistence.console.site import Site, body_of
from curio_persistence.errors import InvalidValueError, NotFoundError, PersistenceError
from curio_persistence.persistence import Persistence
from curio_persistence.tables.keys import Role

_MOST_BYTES = 10 * MEGABYTE


class Asked(NamedTuple):
    """A request: the persistence, the id in its path, its parameters, and its body."""

    persistence: Persistence
    ident: str
    query: Mapping[str, str]
    body: Any

    def number(self, name: str, default: int, most: int) -> int:
        """Return a whole number between 0 and `most`; what is none is the default."""
        text = self.query.get(name, "")
        is_number = text.isascii() and text.isdecimal() and len(text) < 10
        return min(int(text), most) if is_number else default

    def given(self, *names: str) -> dict[str, Any]:
        """Return those of these parameters that are not empty."""
        return {name: self.query[name] for name in names if self.query.get(name)}


class Operation(NamedTuple):
    """The answer to a method, the role that it needs, and its status."""

    call: Callable[[Asked], Any]
    role: Role = "read"
    status: int = 200


class Root:
    """Makes the routes below a root; `told` says how an error is told there."""

    def __init__(self, site: Site, path: str, told: Callable[[Problem], Any]) -> None:
        self.site, self.path, self.told = site, path, told

    def route(self, path: str, **operations: Operation) -> Route:
        """Return the route of a path, with an operation for each method."""
        return Route(self.path + path, _Endpoint(self, operations))


class _Endpoint:
    """Answers the methods of one path."""

    def __init__(self, root: Root, operations: Mapping[str, Operation]) -> None:
        self._root, self._operations = root, operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive, send))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            operation = self._operation(request)
            content = await body_of(request, _MOST_BYTES)
            found = await run_in_threadpool(self._call, request, operation, content)
        except (PersistenceError, HTTPException) as error:
            problem = problem_of(error)
            further = getattr(error, "headers", None) or {}
            return _json(self._root.told(problem), problem.status, problem.headers | further)
        return _json(found, operation.status)

    def _operation(self, request: Request) -> Operation:
        method = "GET" if request.method == "HEAD" else request.method
        operation = self._operations.get(method)
        if operation is None:
            raise HTTPException(405, headers={"Allow": ", ".join(self._operations)})
        check_role(request, operation.role)
        return operation

    def _call(self, request: Request, operation: Operation, content: bytes) -> Any:
        site = self._root.site
        ident = request.path_params.get("ident", "")
        asked = Asked(site.persistence, ident, request.query_params, _parsed(content))
        found = site.in_time(operation.call, asked)
        if found is None:
            raise NotFoundError(f"{ident!r} was deleted or never recorded.")
        return found


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(f"The body is not JSON: {error}.", field="body") from None


def _json(value: Any, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encoded(value), status, headers, "application/json")
