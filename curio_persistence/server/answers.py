"""Answers of OTLP, in the content type of the request.

Protobuf is written by hand: the three answers to traces, logs and metrics, and the status that
errors have, are a number and a text at most.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from curio_persistence.server.refusals import RefusedError

JSON = "application/json"
_TEXT, _NUMBER = 2, 0
"""The codes of fields that have a length, and of numbers."""


def stored(content_type: str, counter: str, rejected: int, message: str) -> Response:
    """Answer that a body is stored, except for what was rejected."""
    if content_type == JSON:
        partial: dict[str, Any] = {counter: str(rejected), "errorMessage": message}
        return JSONResponse({"partialSuccess": partial} if message else {})
    partial_success = _field(1, rejected) + _field(2, message.encode())
    content = _field(1, partial_success) if message else b""
    return Response(content, media_type=content_type)


def refused(content_type: str, refusal: RefusedError) -> Response:
    """Answer that nothing of a body is stored, and why."""
    if content_type == JSON:
        content: dict[str, str] = {"message": refusal.message}
        return JSONResponse(content, refusal.status, refusal.headers)
    status = _field(2, refusal.message.encode())
    return Response(status, refusal.status, refusal.headers, content_type)


def _field(number: int, value: int | bytes) -> bytes:
    """Return a field of a message of protobuf; a number 0 is left out, as it is the default."""
    if isinstance(value, bytes):
        return _varint(number << 3 | _TEXT) + _varint(len(value)) + value
    return _varint(number << 3 | _NUMBER) + _varint(value) if value else b""


def _varint(value: int) -> bytes:
    """Return a number in groups of seven bits, the lowest first."""
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    groups.append(value)
    return bytes(groups)
