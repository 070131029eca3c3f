"""A waterfall as inline SVG, for notebooks and pages: no script, and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING

from curio_persistence.models import SpanKind, SpanStatus
from curio_persistence.views.html.text import harmless
from curio_persistence.views.traces.waterfall import Bar, Waterfall, counted, waterfall_of
from curio_persistence.views.values import length_of_time

if TYPE_CHECKING:
    from curio_persistence.views.traces.trace import Trace

_ROWS = 200
_ROW, _TOP, _LABEL, _WIDTH, _TOOK = 20, 24, 300, 530, 100
_DEEPEST = 12
"""Levels by which labels are indented; deeper ones stand as far to the right, with their depth."""
_LONGEST, _LONGEST_ABOUT = 40, 500
"""The letters of a label that is not indented, of which wide ones are cut off before the bars, and
those of each line that a browser shows about a span below the pointer."""
_MARK = 20
"""The room between label and bar, where odd spans are marked."""
_COLOURS: Mapping[str, str] = {
    SpanKind.AGENT: "#1a7fd6",
    SpanKind.LLM: "#7c53dc",
    SpanKind.TOOL: "#0b8f7f",
}
_OTHER, _FAILED = "#8a837b", "#d9362b"
_LEGEND = "<p><small>Solid: on the critical path, what the trace waited for.</small></p>"


def waterfall_html(trace: Trace) -> str:
    """Return a trace as HTML: what it adds up to, and below that its waterfall."""
    rows = waterfall_of(trace)
    shown = Waterfall(rows.bars[:_ROWS], rows.total_ms)
    left = len(rows.bars) - len(shown.bars)
    more = f"<p>… and {left:,} more spans: see <code>trace.walk()</code>.</p>" if left else ""
    facts = " · ".join(f"{name} {said}" for name, said in counted(trace))
    return (
        f"<p><b>Trace {_text(trace.trace_id)}</b> · {trace.root.status} · {_text(facts)}</p>"
        f"{''.join(_svg(shown))}{more}{_LEGEND}"
    )


def _svg(rows: Waterfall) -> Iterator[str]:
    width, height = _LABEL + _WIDTH + _TOOK, _TOP + _ROW * len(rows.bars) + 4
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="Waterfall of a trace" '
        'font-family="system-ui, sans-serif" font-size="12" fill="currentColor" '
        'style="max-width:100%;height:auto">'
    )
    for quarter in range(5):
        x = _LABEL + _WIDTH * quarter / 4
        yield (
            f'<line x1="{x:g}" y1="{_TOP - 6}" x2="{x:g}" y2="{height}" stroke="currentColor" '
            'stroke-opacity="0.15"/>'
            f'<text x="{x:g}" y="12" text-anchor="{"start" if quarter == 0 else "middle"}" '
            f'opacity="0.7">{length_of_time(rows.total_ms * quarter / 4)}</text>'
        )
    for number, bar in enumerate(rows.bars):
        yield from _row(bar, _TOP + _ROW * number)
    yield "</svg>"


def _row(bar: Bar, top: int) -> Iterator[str]:
    span, depth = bar.node.span, bar.node.depth
    failed = span.status == SpanStatus.ERROR
    colour = _FAILED if failed else _COLOURS.get(span.kind, _OTHER)
    indent = 12 * min(depth, _DEEPEST)
    label = (f"{depth}: " if depth > _DEEPEST else "") + f"{span.kind} {span.name}"
    letters = _LONGEST - 2 * min(depth, _DEEPEST)
    notes = "; ".join(bar.notes)
    took = "" if span.duration_ms is None else length_of_time(span.duration_ms)
    about = [label, took, notes, span.error_message or "", span.run_id or ""]
    lines = (_text(_cut(line, _LONGEST_ABOUT)) for line in about if line)
    yield f"<g><title>{chr(10).join(lines)}</title>"
    weight = ' font-weight="600"' if bar.critical else ""
    yield (  # An inner SVG cuts off what does not fit.
        f'<svg y="{top}" width="{_LABEL - _MARK}" height="{_ROW}">'
        f'<text x="{indent}" y="13"{weight} fill="{_FAILED if failed else "currentColor"}">'
        f"{_text(_cut(label, letters))}</text></svg>"
    )
    if notes:
        yield f'<text x="{_LABEL - _MARK + 3}" y="{top + 13}">⚠</text>'
    yield _rectangle(bar.begin, bar.end, top, colour, 0.35)
    for begin, end in _joined(bar.critical):
        yield _rectangle(begin, end, top, colour, 1)
    yield (
        f'<text x="{_LABEL + _WIDTH + _TOOK}" y="{top + 13}" text-anchor="end" opacity="0.8">'
        f"{took or _text(notes.split(';')[0])}</text></g>"
    )


def _joined(parts: Iterable[tuple[float, float]]) -> Iterable[tuple[float, float]]:
    """Return parts of a bar, as one where a gap between two is too small to be seen."""
    joined: list[tuple[float, float]] = []
    for begin, end in parts:
        if joined and begin - joined[-1][1] < 1 / _WIDTH:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return joined


def _rectangle(begin: float, end: float, top: int, colour: str, opacity: float) -> str:
    x, width = _LABEL + _WIDTH * begin, max(_WIDTH * (end - begin), 1.0)
    return (
        f'<rect x="{x:.2f}" y="{top + 3}" width="{width:.2f}" height="{_ROW - 7}" rx="2" '
        f'fill="{colour}" fill-opacity="{opacity:g}"/>'
    )


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _text(text: str) -> str:
    return escape(harmless(text))
