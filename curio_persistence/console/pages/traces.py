"""The list of traces, and one trace: its waterfall, and its spans one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from curio_persistence.console.http.paths import decoded_id
from curio_persistence.console.parts.panes import RENDERER
from curio_persistence.console.request.filters import Filters
from curio_persistence.console.site import Site
from curio_persistence.errors import InvalidValueError, NotFoundError
from curio_persistence.models import SpanKind, SpanStatus
from curio_persistence.views.traces import Trace, TraceNode, TraceSpan
from curio_persistence.views.traces.waterfall import Bar, waterfall_of

_ROWS = 30
_SPANS = 500
_WIDTH = 1000
"""The width of all bars in the units of their drawing."""
_DEEPEST = 12
"""Levels by which names are indented; deeper ones say their depth."""
_FILTERS = (
    *("status", "agent_id", "session_id", "user_id", "since", "until"),
    *("min_duration_ms", "max_duration_ms"),
)
STATUSES = tuple(status.value for status in SpanStatus if status is not SpanStatus.UNSET)
_LANES: Mapping[str, str] = {
    SpanKind.AGENT: "run",
    SpanKind.LLM: "model",
    SpanKind.TOOL: "tool",
}
_PARTS = ("input", "output", "attributes", "metrics", "details", "events", "links", "rest")


def routes(site: Site) -> list[BaseRoute]:
    return [site.page("/traces", _traces), site.page("/traces/{id}", _trace)]


def _traces(site: Site, request: Request) -> Response:
    filters = Filters.of(site.paths.page("traces"), request.query_params, _FILTERS)
    values = {name: _number(name, value) for name, value in filters.values().items()}
    page = site.persistence.traces.query(limit=_ROWS, cursor=filters.cursor, **values)
    return site.render(
        request,
        "traces.html",
        filters=filters,
        traces=list(page),
        statuses=STATUSES,
        values=site.persistence.values,
        **filters.pager(page.next_cursor),
    )


def _number(name: str, value: Any) -> Any:
    """Return the milliseconds that a filter says; the value of another filter as it is."""
    if not name.endswith("_ms"):
        return value
    try:
        return float(value)
    except ValueError as error:
        raise InvalidValueError(
            f"{name} is a number of milliseconds, such as 250, not {value[:100]!r}.", field=name
        ) from error


def _trace(site: Site, request: Request) -> Response:
    ident = decoded_id(request.path_params["id"])
    trace = site.persistence.traces.get(ident)
    if trace is None:
        raise NotFoundError(f"There is no trace {ident!r}.")
    chosen = _chosen(trace, request.query_params.get("span"))
    waterfall = waterfall_of(trace)
    first = _first(request.query_params.get("from"), len(waterfall.bars))
    shown = waterfall.bars[first : first + _SPANS]
    return site.render(
        request,
        "trace.html",
        trace=trace,
        summary=trace.summary,
        rows=list(_rows(site, trace, shown, chosen)),
        total_ms=waterfall.total_ms,
        orphans=sum(bar.node.parent_missing for bar in waterfall.bars),
        earlier=site.paths.trace(ident, **{"from": max(first - _SPANS, 0)}) if first else None,
        later=(
            site.paths.trace(ident, **{"from": first + _SPANS})
            if first + _SPANS < len(waterfall.bars)
            else None
        ),
        first=first,
        node=chosen,
        notes=_notes(waterfall.bars, chosen),
        source=_source(site, trace, chosen.span),
        parts=_parts(chosen.span),
        said=RENDERER.part,
    )


def _first(text: str | None, count: int) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidValueError("from is the number of a span.", field="from")
    return min(int(text), max(count - 1, 0))


def _chosen(trace: Trace, span_id: str | None) -> TraceNode:
    """Return the span that a reader chose, by default the root."""
    wanted = span_id or trace.root.span_id
    found = next((node for node in trace.walk() if node.span.span_id == wanted), None)
    if found is None:
        raise NotFoundError(f"Trace {trace.trace_id} has no span {wanted!r}.")
    return found


class _Row(NamedTuple):
    """A span in the waterfall. Bars are (x, width) in units of the drawing."""

    span: TraceSpan
    indent: int
    depth: int | None
    lane: str
    bar: tuple[float, float]
    critical: list[tuple[float, float]]
    notes: tuple[str, ...]
    href: str
    is_chosen: bool


def _rows(site: Site, trace: Trace, bars: Iterable[Bar], chosen: TraceNode) -> Iterator[_Row]:
    for bar in bars:
        span, depth = bar.node.span, bar.node.depth
        yield _Row(
            span,
            min(depth, _DEEPEST),
            depth if depth > _DEEPEST else None,
            "bad" if span.status == SpanStatus.ERROR else _LANES.get(span.kind, "event"),
            _placed(bar.begin, bar.end),
            [_placed(*part) for part in bar.critical],
            bar.notes,
            site.paths.trace(trace.trace_id, span=span.span_id),
            span is chosen.span,
        )


def _placed(begin: float, end: float) -> tuple[float, float]:
    """Return where a part of the width begins, and how wide it is; never too thin to be seen."""
    width = max((end - begin) * _WIDTH, 2.0)
    return round(min(begin * _WIDTH, _WIDTH - width), 2), round(width, 2)


def _notes(bars: Iterable[Bar], chosen: TraceNode) -> tuple[str, ...]:
    return next((bar.notes for bar in bars if bar.node.span is chosen.span), ())


def _parts(span: TraceSpan) -> list[tuple[str, Any]]:
    return [(name, value) for name in _PARTS if (value := getattr(span, name)) not in (None, "")]


def _source(site: Site, trace: Trace, span: TraceSpan) -> Any:
    """Return the sender of a span that came by OpenTelemetry; None for others."""
    if span.source_id is None:
        return None
    sources = site.persistence.traces.sources(trace_id=trace.trace_id, snapshot=False)
    return next((each for each in sources if each.source_id == span.source_id), None)
