"""The OpenAPI document, made of the table of operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from curio_persistence.console.api.operation import Operation
from curio_persistence.console.api.schemas import components, content_of, reference

_ABOUT = (
    "What agents did, why they failed, and what it cost. Ids in paths are percent-encoded twice. "
    "Lists are given by repetition, words also with commas between them. Times are ISO 8601 in "
    "UTC, costs are decimal text in US dollars."
)
_PROBLEMS = {
    "400": "A value cannot be used; `field` names it.",
    "401": "A token or key is needed.",
    "403": "The key has not this role.",
    "404": "It was deleted or never recorded.",
    "408": "The body did not arrive within a minute.",
    "409": "It conflicts with what is stored.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "429": "Too many requests.",
    "501": "This database cannot do that.",
    "503": "The database is busy or away; try again.",
    "507": "The disk is full.",
}
_ONLY: Mapping[str, Callable[[Operation], bool]] = {
    "404": lambda operation: bool(operation.ids) or operation.path == "/diff",
    "408": lambda operation: operation.body is not None,
    "409": lambda operation: operation.body is not None,
    "413": lambda operation: operation.body is not None,
    "415": lambda operation: operation.body is not None,
    "507": lambda operation: operation.role != "read",
}
"""Problems that only some operations have."""


def document(operations: Sequence[Operation], *, base: str) -> dict[str, Any]:
    """Return the document; `base` is the path of the API on its server."""
    paths: dict[str, Any] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = _described(each)
    return {
        "openapi": "3.1.0",
        "info": {"title": "curio-persistence", "version": library_version(), "description": _ABOUT},
        "servers": [{"url": base}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": components([each.answer.model for each in operations if each.answer.model]),
            "responses": {status: _problem(about) for status, about in _PROBLEMS.items()},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token that the console prints, or an API key.",
                }
            },
        },
    }


def _described(operation: Operation) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.path.split("/")[1]],
        "x-role": operation.role,
        "parameters": [*map(_id, operation.ids), *(p.described() for p in operation.parameters)],
        "responses": {_status(operation): _answered(operation), **_problems(operation)},
    }
    if operation.body is not None:
        content = {"application/json": {"schema": dict(operation.body.schema)}}
        said["requestBody"] = {"required": True, "content": content}
    return said


def _id(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": "Percent-encoded twice.",
        "schema": {"type": "string"},
    }


def _status(operation: Operation) -> str:
    return {"created": "201", "nothing": "204"}.get(operation.answer.kind, "200")


def _answered(operation: Operation) -> dict[str, Any]:
    return {"description": operation.summary, **content_of(operation.answer)}


def _problems(operation: Operation) -> dict[str, Any]:
    return {
        status: {"$ref": f"#/components/responses/{status}"}
        for status in _PROBLEMS
        if status not in _ONLY or _ONLY[status](operation)
    }


def _problem(about: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": reference("Problem")}}
    return {"description": about, "content": content}


def library_version() -> str:
    """Return the version of this library."""
    try:
        return version("curio-persistence")
    except PackageNotFoundError:  # Not installed, but on the path.
        return "0"
