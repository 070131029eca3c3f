"""Spans of OpenTelemetry's SDK for Python, stored by the program that makes them.

```python
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider.add_span_processor(BatchSpanProcessor(CurioSpanExporter(persistence)))
```

Needs the extra `otel`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from curio_persistence.errors import ConfigurationError, PersistenceError
from curio_persistence.interop.otel.receiving import Receiver
from curio_persistence.interop.otel.spans import Attributes, OtelEvent, OtelLink, OtelSpan, Source
from curio_persistence.interop.otel.untraced import untraced
from curio_persistence.persistence import Persistence

_HAS_IS_REMOTE, _IS_REMOTE = 0x100, 0x200
"""OTLP's flags: whether the context of a parent or a link came from another process."""
_log = logging.getLogger("curio_persistence")


class CurioSpanExporter(SpanExporter):
    """Stores the spans that a processor of the SDK hands over, with what they make.

    Give it to a `BatchSpanProcessor`, which does so in a thread of its own: the agent never waits.
    """

    def __init__(self, persistence: Persistence) -> None:
        self._receiver = Receiver(persistence)
        self._has_failed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Store spans; a database that fails costs these spans, and is logged once."""
        try:
            # Instrumentations of database drivers would make spans of this, and so on without end.
            with untraced():
                self._receiver.spans(otel_spans(spans))
        except PersistenceError as error:
            self._log(error)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def _log(self, error: PersistenceError) -> None:
        if not self._has_failed:
            self._has_failed = True
            _log.error("Spans of OpenTelemetry could not be stored (logged once): %s", error)

    def shutdown(self) -> None:
        """Do nothing: the persistence belongs to the caller."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True: what was exported is stored."""
        return True


def instrument(
    persistence: Persistence, tracer_provider: TracerProvider | None = None
) -> TracerProvider:
    """Store all spans that a provider makes from now on, and return it.

    Without one it is the program's own, which is made if there is none. Call its `shutdown` before
    the persistence is closed: it stores what waits.
    """
    provider: Any = tracer_provider or trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    if not hasattr(provider, "add_span_processor"):
        raise ConfigurationError(
            f"{type(provider).__name__} is no TracerProvider of opentelemetry-sdk, which alone can "
            "export spans. Pass tracer_provider=."
        )
    provider.add_span_processor(BatchSpanProcessor(CurioSpanExporter(persistence)))
    return provider  # type: ignore[no-any-return]


def otel_spans(spans: Sequence[ReadableSpan]) -> list[OtelSpan]:
    """Return spans of the SDK as OTLP would carry them."""
    sources: dict[tuple[int, int], Source] = {}
    found = []
    for span in spans:
        key = id(span.resource), id(span.instrumentation_scope)
        if key not in sources:
            sources[key] = _source(span)
        found.append(_otel_span(span, sources[key]))
    return found


def _otel_span(span: ReadableSpan, source: Source) -> OtelSpan:
    context, parent = span.get_span_context(), span.parent
    assert context is not None, "an ended span has ids"
    return OtelSpan(
        _hex(context.trace_id, 32),
        _hex(context.span_id, 16),
        None if parent is None else _hex(parent.span_id, 16),
        span.name,
        span.start_time or 0,
        max(span.end_time or 0, span.start_time or 0) if span.end_time else 0,
        span.kind.value + 1,  # OTLP counts from unspecified, which is 0.
        span.status.status_code.value,
        span.status.description or "",
        _attributes(span.attributes),
        tuple(
            OtelEvent(e.name, e.timestamp, _attributes(e.attributes), e.dropped_attributes)
            for e in span.events
        ),
        tuple(map(_link, span.links)),
        _trace_state(context),
        _flags(parent),
        span.dropped_attributes,
        span.dropped_events,
        span.dropped_links,
        source,
    )


def _source(span: ReadableSpan) -> Source:
    resource, scope = span.resource, span.instrumentation_scope
    return Source(
        _attributes(resource.attributes),
        resource.schema_url or "",
        scope_name=scope.name if scope else "",
        scope_version=(scope.version if scope else None) or "",
        scope=_attributes(scope.attributes if scope else None),
        scope_schema_url=(scope.schema_url if scope else None) or "",
    )


def _link(link: Any) -> OtelLink:
    context = link.context
    return OtelLink(
        _hex(context.trace_id, 32),
        _hex(context.span_id, 16),
        attributes=_attributes(link.attributes),
        dropped=link.dropped_attributes,
        flags=_flags(context),
    )


def _hex(number: int, digits: int) -> str:
    return f"{number:0{digits}x}"


def _flags(context: Any) -> int:
    return _HAS_IS_REMOTE | (_IS_REMOTE if context is not None and context.is_remote else 0)


def _trace_state(context: Any) -> str:
    return ",".join(f"{name}={value}" for name, value in context.trace_state.items())


def _attributes(attributes: Mapping[str, Any] | None) -> Attributes:
    return {name: _plain(value) for name, value in attributes.items()} if attributes else {}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    return value
