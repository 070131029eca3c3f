"""A trace: its spans, the tree that they form, and what they add up to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from curio_persistence.models import AgentSpan, Record, SpanKind, SpanStatus
from curio_persistence.trace_ids import span_id_of
from curio_persistence.views.traces.critical import TraceSegment, critical_path
from curio_persistence.views.traces.tree import TraceNode, tree_of, walk

_TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)

_NOTHING = Decimal("0.000000")
"""No cost, with as many digits as a stored cost has at least."""


@dataclass(frozen=True, slots=True)
class TraceSpan(AgentSpan):
    """A span as a trace shows it: saved, or derived from a run, a tool call or a model call.

    Tokens and cost are those of its `model_calls`, nearly always one or none; None is unknown, and
    `unpriced` calls have no known cost. The `id` is None if it is not saved.
    """

    provider: str = ""
    model: str = ""
    model_calls: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: Decimal | None = None
    unpriced: int = 0

    @property
    def is_run(self) -> bool:
        """Return whether it is a run itself, and not a part of one."""
        return self.run_id is not None and self.span_id == span_id_of(self.run_id)


@dataclass(frozen=True, slots=True)
class TraceSummary(Record):
    """A trace in one line: the outermost run or span, and what all spans add up to.

    `name`, times, status and the ids of agent, session and user are those of its root. `errors`
    counts the spans that failed, `depth` the levels below the root. Tokens and cost are those of
    the model calls of the trace; `cost_usd` is None if no call has a known one, and `unpriced`
    calls have none.
    """

    trace_id: str
    run_id: str | None
    name: str
    status: str
    error_message: str | None
    agent_id: str | None
    session_id: str | None
    user_id: str | None
    started_at: datetime | None
    ended_at: datetime | None
    duration_ms: float | None
    input: str | None
    spans: int
    runs: int
    model_calls: int
    tool_calls: int
    errors: int
    depth: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost_usd: Decimal | None
    unpriced: int


def summary_of(
    trace_id: str, root: TraceSpan, spans: Sequence[TraceSpan], depth: int
) -> TraceSummary:
    """Return what the spans of a trace add up to."""
    with_calls = [span for span in spans if span.model_calls]
    costs = [span.cost_usd for span in with_calls if span.cost_usd is not None]
    return TraceSummary(
        trace_id,
        root.run_id,
        root.name,
        root.status,
        root.error_message,
        root.agent_id,
        root.session_id,
        root.user_id,
        root.started_at,
        root.ended_at,
        root.duration_ms,
        root.input,
        spans=len(spans),
        runs=sum(span.is_run for span in spans),
        model_calls=sum(span.model_calls for span in with_calls),
        tool_calls=[span.kind for span in spans].count(SpanKind.TOOL.value),
        errors=[span.status for span in spans].count(SpanStatus.ERROR.value),
        depth=depth,
        cost_usd=sum(costs, _NOTHING) if costs or not with_calls else None,
        unpriced=sum(span.unpriced for span in with_calls),
        **{name: sum(getattr(span, name) or 0 for span in with_calls) for name in _TOKENS},
    )


@dataclass(frozen=True)
class Trace:
    """All spans of an outermost run, or those saved under one `trace_id`, by the time they began.

    What it adds up to is in `summary`. In a notebook it is shown as a waterfall.
    """

    trace_id: str
    root_span_id: str
    spans: tuple[TraceSpan, ...]

    def __repr__(self) -> str:
        return f"<Trace {self.trace_id}: {len(self.spans):,} spans>"

    def __getstate__(self) -> Mapping[str, Any]:
        """Return the fields only: what is computed of them nests as deeply as the spans."""
        return {name: vars(self)[name] for name in self.__dataclass_fields__}

    def _repr_html_(self) -> str:
        from curio_persistence.views.traces.svg import waterfall_html  # Few need it.

        return waterfall_html(self)

    @cached_property
    def _roots(self) -> tuple[TraceNode, ...]:
        return tree_of(self.spans, self.root_span_id)

    @property
    def root(self) -> TraceSpan:
        """Return the span of the outermost run; without a run, the first span without a parent."""
        by_id = (span for span in self.spans if span.span_id == self.root_span_id)
        return next(by_id, self._roots[0].span)

    def tree(self) -> tuple[TraceNode, ...]:
        """Return the spans as trees, that of the root first; a saved span may be above the root.

        Others begin with a span whose parent is not there, or leads back to it.
        """
        return self._roots

    def walk(self) -> Iterator[TraceNode]:
        """Yield all nodes of the trees, each before those below it."""
        return walk(self._roots)

    def critical_path(self) -> tuple[TraceSegment, ...]:
        """Return the pieces of spans on which the duration of the first tree depends, by time.

        At each moment it is the span that its top waited for: of those below each other the
        innermost, of those beside each other the one that ended last. The pieces cover the top
        without gaps.
        """
        return critical_path(self._roots[0])

    @cached_property
    def summary(self) -> TraceSummary:
        """The totals of the trace."""
        depth = max(node.depth for node in self.walk())
        return summary_of(self.trace_id, self.root, self.spans, depth)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary, and the spans in the order of the tree, ready for JSON."""
        critical = {segment.span.span_id for segment in self.critical_path()}
        return {
            **self.summary.to_dict(),
            "spans": [
                {
                    **{name: v for name, v in node.span.to_dict().items() if v is not None},
                    **node.told(),
                    "critical": node.span.span_id in critical,
                }
                for node in self.walk()
            ],
        }
