"""Where traces are sent, and how: the options of an export, checked, and its requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from threading import Event
from typing import Any, TypedDict

from curio_persistence.errors import ConfigurationError, InvalidValueError
from curio_persistence.interop.otel.encoding import encode_traces
from curio_persistence.interop.otel.export.details import Details
from curio_persistence.interop.otel.export.mapping import otel_spans
from curio_persistence.interop.otel.export.pieces import in_pieces
from curio_persistence.interop.otel.export.received import received_spans
from curio_persistence.interop.otel.export.report import OtlpReport
from curio_persistence.interop.otel.export.sending import (
    Sender,
    TooLargeError,
    checked_headers,
    checked_seconds,
    place_of,
    traces_url,
)
from curio_persistence.interop.otel.identity import DATABASE, database_id
from curio_persistence.interop.otel.spans import OtelSpan, Source
from curio_persistence.persistence import Persistence
from curio_persistence.store.base import Store
from curio_persistence.views.traces.trace import Trace

SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"
SCOPE = "curio_persistence"


class TargetOptions(TypedDict, total=False):
    """The options of an export that are not filters."""

    headers: Mapping[str, str] | None
    project: str | None
    content: bool
    timeout: float
    retry_for: float


@dataclass(frozen=True, slots=True)
class Target:
    """A receiver, and how it is sent to."""

    url: str
    headers: Mapping[str, str]
    project: str | None
    content: bool
    timeout: float
    retry_for: float

    @classmethod
    def of(cls, url: str, given: TargetOptions) -> Target:
        """Return the target that some options describe; raise InvalidValueError for others."""
        project = given.get("project")
        if project is not None and (not isinstance(project, str) or not project):
            raise InvalidValueError(f"project is a name, not {project!r:.80}.", field="project")
        return cls(
            traces_url(url),
            checked_headers(given.get("headers")),
            project,
            bool(given.get("content", True)),
            checked_seconds("timeout", given.get("timeout", 10.0)),
            checked_seconds("retry_for", given.get("retry_for", 60.0)),
        )

    @property
    def place(self) -> str:
        """Return the URL for messages."""
        return place_of(self.url)

    def sender(self, stop: Event) -> Sender:
        """Return what sends bodies there."""
        return Sender(
            self.url, self.headers, timeout=self.timeout, retry_for=self.retry_for, stop=stop
        )


def source_of(store: Store, project: str | None) -> Source:
    """Return the source of the spans that are made of a database."""
    resource: dict[str, Any] = {
        "service.name": project or "curio-persistence",
        DATABASE: database_id(store),
    }
    if project is not None:
        resource["openinference.project.name"] = project
    return Source(resource, scope_name=SCOPE, scope_schema_url=SCHEMA_URL)


class Outgoing:
    """Sends traces to a target, some at a time, and counts them; in a dry run it only counts."""

    def __init__(self, persistence: Persistence, target: Target, sender: Sender | None) -> None:
        self._persistence = persistence
        self._target = target
        self._sender = sender
        self._source = source_of(persistence._store, target.project)
        self._counts = dict.fromkeys(("traces", "spans", "rejected", "requests", "bytes"), 0)
        self._message: str | None = None

    @property
    def traces(self) -> int:
        """Return the number of traces that were sent."""
        return self._counts["traces"]

    def send(self, traces: Sequence[Trace]) -> None:
        """Send all spans that have ended, in as few requests as their sizes allow."""
        content = self._target.content
        details = Details(self._persistence._store, traces)
        received = received_spans(self._persistence, traces, content=content)
        spans = chain.from_iterable(
            otel_spans(trace, details, self._source, received, content=content) for trace in traces
        )
        for piece in in_pieces(spans):
            self._send(piece)
        self._counts["traces"] += len(traces)

    def _send(self, spans: list[OtelSpan]) -> None:
        body = encode_traces(spans)
        try:
            self._post(body)
        except TooLargeError as error:
            if len(spans) == 1:
                raise ConfigurationError(
                    f"{error}, and the span {spans[0].name!r:.80} alone has {len(body):,} bytes: "
                    "allow more there, or leave the words out (content=False, --no-content)."
                ) from error
            half = len(spans) // 2
            self._send(spans[:half])
            self._send(spans[half:])
        else:
            self._counts["spans"] += len(spans)

    def _post(self, body: bytes) -> None:
        size = len(body)
        if self._sender is not None:
            answer, size = self._sender.send(body)
            self._counts["rejected"] += answer.rejected
            self._message = answer.message or self._message
        self._counts["requests"] += 1
        self._counts["bytes"] += size

    def report(self, waiting: int) -> OtlpReport:
        """Return what was sent."""
        return OtlpReport(
            self._target.place,
            message=self._message,
            waiting=waiting,
            dry_run=self._sender is None,
            **self._counts,
        )
