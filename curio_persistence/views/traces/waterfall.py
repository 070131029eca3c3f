"""A trace as a waterfall: a row for each span, with a bar where it took time.

The same rows are drawn with characters in a terminal and as SVG in a notebook.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curio_persistence.models import SpanStatus
from curio_persistence.views.traces.critical import last_known
from curio_persistence.views.traces.tree import TraceNode
from curio_persistence.views.values import length_of_time

if TYPE_CHECKING:
    from curio_persistence.views.traces.trace import Trace


@dataclass(frozen=True, slots=True)
class Bar:
    """A row: a node, and where its bar begins and ends, as shares of the width.

    `critical` are the parts of the bar on the critical path.
    """

    node: TraceNode
    begin: float
    end: float
    critical: Sequence[tuple[float, float]]

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what is odd about the span, in words."""
        node, span = self.node, self.node.span
        known = {
            "running": span.status == SpanStatus.RUNNING,
            "no end recorded": span.ended_at is None and span.status != SpanStatus.RUNNING,
            "parent missing": node.parent_missing,
            "parents in a circle": node.in_circle,
            f"{length_of_time(node.early_ms)} before its parent": bool(node.early_ms),
        }
        return tuple(note for note, is_so in known.items() if is_so)


@dataclass(frozen=True, slots=True)
class Waterfall:
    """The rows of a trace, and the milliseconds that the width stands for."""

    bars: tuple[Bar, ...]
    total_ms: float


def waterfall_of(trace: Trace) -> Waterfall:
    """Return the rows of a trace, in the order of its tree.

    The width reaches from the begin of the first span to the last end. What was before, by another
    machine's clock, stands at its left edge.
    """
    ends = {span_id: end for root in trace.tree() for span_id, end in last_known(root).items()}
    origin = trace.tree()[0].begin_ns
    total = max(max(ends.values()) - origin, 1)
    critical = _critical_parts(trace, total / 1e6)

    def share(moment: int) -> float:
        return min(max((moment - origin) / total, 0.0), 1.0)

    bars = (
        Bar(
            node,
            share(node.begin_ns),
            share(ends[node.span.span_id]),
            critical.get(node.span.span_id, ()),
        )
        for node in trace.walk()
    )
    return Waterfall(tuple(bars), total / 1e6)


def _critical_parts(trace: Trace, total_ms: float) -> Mapping[str, Sequence[tuple[float, float]]]:
    parts: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for span, after, took in trace.critical_path():
        parts[span.span_id].append((after / total_ms, (after + took) / total_ms))
    return parts


def counted(trace: Trace) -> Iterable[tuple[str, str]]:
    """Yield what a trace adds up to, as names and words."""
    told = trace.summary
    unpriced = f", {told.unpriced:,} of unknown cost" if told.unpriced else ""
    cost = "unknown" if told.cost_usd is None else f"${told.cost_usd:,f}"
    yield "spans", f"{told.spans:,}, nested {told.depth:,} deep"
    yield "runs", f"{told.runs:,}"
    yield "model calls", f"{told.model_calls:,}{unpriced}"
    yield "tool calls", f"{told.tool_calls:,}"
    yield "errors", f"{told.errors:,}"
    yield "tokens", f"{told.input_tokens:,} in, {told.output_tokens:,} out"
    yield "cost", cost
