"""The tree of a trace: each span below its parent, however deep, late or odd its parents are.

Nothing here recurses: agents that start each other nest as deeply as they like.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curio_persistence.views.traces.trace import TraceSpan


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROUNDED_NS = 1_000_000
"""The begin of a model call is computed from its latency, which is in whole milliseconds."""


@dataclass(frozen=True, slots=True, eq=False)
class TraceNode:
    """A span with those below it, which are sorted by their begins.

    `self_ms` is the time in which nothing below it ran; None if its end is not known. With
    `parent_missing` the span names a parent that is not there, and stands below its run, or at the
    top; with `in_circle` its parents lead back to it. `early_ms` is how long before its parent it
    began: the clocks of two machines differed. `begin_ns` and `end_ns` are nanoseconds since 1970;
    an end is not before its begin, and None if it is not known.
    """

    span: TraceSpan
    children: tuple[TraceNode, ...]
    depth: int
    self_ms: float | None
    early_ms: float
    parent_missing: bool
    in_circle: bool
    begin_ns: int
    end_ns: int | None

    def __repr__(self) -> str:
        span = self.span
        return f"<TraceNode {span.kind} {span.name!r}: {len(self.children)} below>"

    def told(self) -> dict[str, Any]:
        """Return the place in the tree, ready for JSON; the faults only where there are any."""
        faults = {
            "parent_missing": self.parent_missing,
            "in_circle": self.in_circle,
            "early_ms": self.early_ms,
        }
        own = {"depth": self.depth, "duration_ms": self.span.duration_ms, "self_ms": self.self_ms}
        return own | {name: value for name, value in faults.items() if value}


def walk(roots: Iterable[TraceNode]) -> Iterator[TraceNode]:
    """Yield all nodes, each before those below it."""
    waiting = [*roots][::-1]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.children[::-1]


def begin_ns(span: TraceSpan) -> int:
    """Return when a span began, in nanoseconds since 1970."""
    assert span.started_at is not None, "each span of a trace has a begin"
    return _ns(span.started_at) + (span.start_nanos or 0)


def end_ns(span: TraceSpan) -> int | None:
    """Return when a span ended, not before its begin; None if that is not known."""
    if span.ended_at is None:
        return None
    return max(_ns(span.ended_at) + (span.end_nanos or 0), begin_ns(span))


def _ns(moment: datetime) -> int:
    since = moment - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000


def tree_of(spans: Sequence[TraceSpan], root: str) -> tuple[TraceNode, ...]:
    """Return the trees of some spans, each of another span_id; that with `root` comes first."""
    places = _Places(spans)
    places.arrange(root)
    nodes: dict[str, TraceNode] = {}
    for span_id in reversed(places.in_order):  # Those below come first.
        nodes[span_id] = places.node(span_id, nodes)
    return tuple(nodes[span_id] for span_id in places.tops)


def depth_of(spans: Sequence[TraceSpan]) -> int | None:
    """Return the levels below the tops of the trees; None if some parents lead in a circle."""
    parents = _Places(spans).parents
    depths: dict[str | None, int] = {None: -1}
    for span_id in parents:
        path: dict[str | None, None] = {}
        at: str | None = span_id
        while at not in depths:
            if at in path:
                return None
            path[at] = None
            at = parents[at or ""]
        for depth, each in enumerate(reversed(path), depths[at] + 1):
            depths[each] = depth
    return max(depths.values())


class _Places:
    """The place of each span: its parent, the spans below it, and how deep it is."""

    def __init__(self, spans: Sequence[TraceSpan]) -> None:
        self._spans = {span.span_id: span for span in spans}
        self._runs = {
            span.run_id: span.span_id for span in spans if span.is_run and span.run_id is not None
        }
        self._missing: set[str] = set()
        self._implied: set[str] = set()
        """The spans that stand below their run because they name no parent that is there."""
        self.parents = {span.span_id: self._parent_of(span) for span in spans}

    def arrange(self, root: str) -> None:
        """Find the tops of the trees and all that is below them, each by its begin."""
        self._begins = {span_id: begin_ns(span) for span_id, span in self._spans.items()}
        self._circular = self._open_circles(root)
        self._below: dict[str | None, list[str]] = {}
        for span_id in sorted(self._spans, key=self._begins.__getitem__):
            self._below.setdefault(self.parents[span_id], []).append(span_id)
        odd = self._missing | self._circular
        first = self._top_of(root)
        self.tops = sorted(self._below[None], key=lambda each: (each != first, each in odd))
        self._depths: dict[str, int] = {}
        self.in_order: list[str] = []
        self._descend()

    def _parent_of(self, span: TraceSpan) -> str | None:
        """Return the span above another one; where its own is missing, that of its run."""
        named = span.parent_span_id
        if named in self._spans and named != span.span_id:
            return named
        if named is not None:
            self._missing.add(span.span_id)
        self._implied.add(span.span_id)
        run = self._runs.get(span.run_id or "")
        return None if run == span.span_id else run

    def _open_circles(self, root: str) -> set[str]:
        """Take the earliest span of each circle of parents, or the root, to the top.

        If one of a circle is below its run only for want of a parent, it is that one, and no fault.
        """
        opened: set[str] = set()
        seen: set[str] = set()
        for begin in self._spans:
            path: dict[str, None] = {}
            at: str | None = begin
            while at is not None and at not in seen and at not in path:
                path[at] = None
                at = self.parents[at]
            if at in path:
                ids = [*path]
                circle = ids[ids.index(at) :]
                implied = [each for each in circle if each in self._implied]
                candidates = implied or circle
                first = min(candidates, key=lambda each: (each != root, self._begins[each]))
                self.parents[first] = None
                opened.update(() if implied else (first,))
            seen.update(path)
        return opened

    def _top_of(self, span_id: str) -> str:
        while (above := self.parents.get(span_id)) is not None:
            span_id = above
        return span_id

    def _descend(self) -> None:
        waiting = [(span_id, 0) for span_id in reversed(self.tops)]
        while waiting:
            span_id, depth = waiting.pop()
            self.in_order.append(span_id)
            self._depths[span_id] = depth
            below = self._below.get(span_id, ())
            waiting += [(each, depth + 1) for each in reversed(below)]

    def node(self, span_id: str, nodes: Mapping[str, TraceNode]) -> TraceNode:
        span, above = self._spans[span_id], self.parents[span_id]
        children = tuple(nodes[each] for each in self._below.get(span_id, ()))
        begin, end = self._begins[span_id], end_ns(span)
        early = 0 if above is None else self._begins[above] - begin
        return TraceNode(
            span,
            children,
            self._depths[span_id],
            _self_ms(begin, end, children),
            early / 1e6 if early >= _ROUNDED_NS else 0.0,
            span_id in self._missing,
            span_id in self._circular,
            begin,
            end,
        )


def _self_ms(begin: int, end: int | None, children: Iterable[TraceNode]) -> float | None:
    """Return the time of a span that none of those below it covers, which come by their begins."""
    if end is None:
        return None
    alone, at = 0, begin
    for child in children:
        alone += max(min(child.begin_ns, end) - at, 0)
        at = max(at, end if child.end_ns is None else child.end_ns)
    return (alone + max(end - at, 0)) / 1e6
