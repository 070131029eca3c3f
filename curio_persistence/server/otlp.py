"""OTLP/HTTP: traces, logs and metrics, which are stored before they are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from curio_persistence.config.server import ServerConfig
from curio_persistence.interop.otel.decoding import decode_logs, decode_metrics, decode_traces
from curio_persistence.interop.otel.receiving import Receiver
from curio_persistence.persistence import Persistence
from curio_persistence.server import answers
from curio_persistence.server.bodies import ENCODINGS, received
from curio_persistence.server.intake import PATIENCE, Body, Intake, Outcome, Records, Signal
from curio_persistence.server.refusals import RefusedError, unavailable

ROOT = "/v1/"
_TYPES = (answers.JSON, "application/protobuf", "application/x-protobuf")
_LONGEST = 60.0
"""Seconds that storing a body may take once it has begun."""


def routes(persistence: Persistence, config: ServerConfig, intake: Intake) -> list[Route]:
    """Return a route for each signal."""
    return [
        Route(
            ROOT + signal.name,
            _Endpoint(signal, config.max_body_bytes, intake).answer,
            methods=["POST"],
        )
        for signal in _signals(persistence)
    ]


def _signals(persistence: Persistence) -> Iterable[Signal]:
    receiver = Receiver(persistence)
    yield Signal("traces", "rejectedSpans", _read_traces, receiver.spans)
    yield Signal("logs", "rejectedLogRecords", _read_logs, receiver.logs)
    yield Signal("metrics", "rejectedDataPoints", _read_metrics, receiver.metrics)


def _read_traces(body: bytes, content_type: str) -> Records:
    decoded = decode_traces(body, content_type)
    return Records(decoded.spans, decoded.rejected, decoded.message)


def _read_logs(body: bytes, content_type: str) -> Records:
    decoded = decode_logs(body, content_type)
    return Records(decoded.logs, decoded.rejected, decoded.message)


def _read_metrics(body: bytes, content_type: str) -> Records:
    decoded = decode_metrics(body, content_type)
    return Records(decoded.points, decoded.rejected, decoded.message)


class _Endpoint:
    """Receives bodies of one signal."""

    def __init__(self, signal: Signal, limit: int, intake: Intake) -> None:
        self._signal, self._limit, self._intake = signal, limit, intake

    async def answer(self, request: Request) -> Response:
        content_type = _named(request, "content-type", "")
        try:
            outcome = await self._store(request, content_type)
        except RefusedError as refusal:
            self._intake.refused[self._signal.name, str(refusal.status)] += 1
            understood = content_type if content_type in _TYPES else answers.JSON
            return answers.refused(understood, refusal)
        return answers.stored(content_type, self._signal.counter, *outcome)

    async def _store(self, request: Request, content_type: str) -> Outcome:
        _check_known("type", content_type, _TYPES)
        encoding = _named(request, "content-encoding", "identity")
        _check_known("encoding", encoding, ENCODINGS)
        with self._intake.room.share() as share:
            content = await received(request, self._limit, share)
            body = Body(self._signal, content, encoding, content_type)
            del content
            self._intake.put(body)
            return await _stored(body)


async def _stored(body: Body) -> Outcome:
    """Return when a body is stored; refuse it if the database does not begin with it soon."""
    answer = asyncio.wrap_future(body.answer)
    done, _ = await asyncio.wait([answer], timeout=PATIENCE)
    if not done and body.answer.cancel():
        body.content = b""
        raise unavailable("The database does not answer.")
    try:
        return await asyncio.wait_for(asyncio.shield(answer), _LONGEST)
    except TimeoutError:
        raise unavailable("The database does not answer.") from None


def _named(request: Request, header: str, default: str) -> str:
    """Return the value of a header without its parameters."""
    return request.headers.get(header, default).partition(";")[0].strip().lower()


def _check_known(what: str, given: str, known: Sequence[str]) -> None:
    if given not in known:
        message = f"The content {what} of OTLP is {' or '.join(known)}, not {given[:100]!r}."
        raise RefusedError(415, message)
