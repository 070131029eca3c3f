"""The critical path of a trace: which spans its duration depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from curio_persistence.views.traces.tree import TraceNode, walk

if TYPE_CHECKING:
    from curio_persistence.views.traces.trace import TraceSpan


class TraceSegment(NamedTuple):
    """A piece of a span on the critical path: when it begins, and how long it is.

    `after_ms` counts from the begin of the trace's root.
    """

    span: TraceSpan
    after_ms: float
    duration_ms: float


def critical_path(root: TraceNode) -> tuple[TraceSegment, ...]:
    """Return the pieces of spans for which a root waited, by time.

    From its end backwards: the span below it that ended last is what it waited for, until that
    began; before then, the one that ended last until then, and so on.
    """
    ends = last_known(root)
    origin = root.begin_ns
    pieces: list[tuple[int, int, TraceSpan]] = []
    waiting = [(root, origin, ends[root.span.span_id])]
    while waiting:
        node, floor, until = waiting.pop()
        for child in sorted(node.children, key=lambda each: -ends[each.span.span_id]):
            begin, end = child.begin_ns, min(ends[child.span.span_id], until)
            if begin >= until or end <= floor:
                continue
            pieces.append((end, until, node.span))
            waiting.append((child, max(begin, floor), end))
            until = max(begin, floor)
        pieces.append((floor, until, node.span))
    return tuple(
        TraceSegment(span, (begin - origin) / 1e6, (end - begin) / 1e6)
        for begin, end, span in sorted(pieces, key=lambda piece: piece[:2])
        if end > begin
    )


def last_known(root: TraceNode) -> Mapping[str, int]:
    """Return by span_id when each span ended; of one without an end, the last that is known."""
    ends: dict[str, int] = {}
    for node in reversed([*walk((root,))]):
        below = (ends[child.span.span_id] for child in node.children)
        end = node.end_ns
        ends[node.span.span_id] = max((node.begin_ns, *below)) if end is None else end
    return ends
