"""Answers of operations: records as JSON, with an ETag."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import IO, Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from curio_persistence.console.api.operation import Operation
from curio_persistence.console.http.paths import encoded_id
from curio_persistence.models import AgentRun
from curio_persistence.tables.alerts import AlertRule
from curio_persistence.tables.keys import NewApiKey
from curio_persistence.views.steps import RecordRef

_PART = 256 << 10
_EXPORTED = {
    "Content-Disposition": 'attachment; filename="run.jsonl"',
    "Content-Security-Policy": "sandbox",
}


def answer(request: Request, operation: Operation, found: Any) -> Response:
    """Return the answer of an operation that found something."""
    kind = operation.answer.kind
    if kind == "nothing":
        return Response(status_code=204)
    if kind == "lines":
        return _file(found)
    if kind in ("page", "items"):
        return json_answer(request, _page(found))
    if kind == "created":
        return _created(request, found)
    return json_answer(request, _plain(found))


def _page(found: Any) -> dict[str, Any]:
    """Return a page's records, its cursors, and how many records a search left out."""
    page = {"items": [_plain(each) for each in found], "next_cursor": None}
    told = ("next_cursor", "previous_cursor", "pending")
    return page | {name: getattr(found, name) for name in told if hasattr(found, name)}


def _created(request: Request, found: Any) -> Response:
    """Return what was created; its address is relative to that of the request."""
    created = json_answer(request, _plain(found))
    created.status_code = 201
    created.headers["Location"] = f"{request.url.path}/{_address(found)}"
    return created


def _address(found: AgentRun | AlertRule | NewApiKey) -> str:
    """Return the end of the path of a record that was created, its id percent-encoded twice."""
    if isinstance(found, AgentRun):
        return encoded_id(found.run_id)
    if isinstance(found, NewApiKey):
        return encoded_id(found.key.key_id)
    return f"rules/{encoded_id(found.rule_id)}"


def json_answer(request: Request, value: Any) -> Response:
    """Return a value as JSON; nothing of it where the client has read it already."""
    content = encoded(value)
    tag = f'W/"{blake2b(content, digest_size=12).hexdigest()}"'
    known = request.headers.get("if-none-match", "").split(", ")
    if tag in known and request.method in ("GET", "HEAD"):
        return Response(status_code=304, headers={"ETag": tag})
    return Response(content, media_type="application/json", headers={"ETag": tag})


def encoded(value: Any) -> bytes:
    """Return a value as JSON in UTF-8; lone surrogates, which UTF-8 has not, are escaped."""
    text = json.dumps(value, ensure_ascii=False, default=_plain, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, default=_plain, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    """Return a record, or a value in one, as JSON has it."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if hasattr(value, "_asdict"):
        return {n: str(v) if isinstance(v, RecordRef) else v for n, v in value._asdict().items()}
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value) if isinstance(value, Decimal) else value


def _file(file: IO[bytes]) -> Response:
    return StreamingResponse(
        _parts(file),
        media_type="application/x-ndjson",
        headers=_EXPORTED,
        background=BackgroundTask(file.close),
    )


def _parts(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while part := file.read(_PART):
            yield part
