"""Spans of made-up traces: of every kind, in every position, in several versions."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from curio_persistence.interop.otel.spans import OtelSpan, Source

SECOND = 10**9
BEGIN = 1_790_000_000 * SECOND
_SOURCES = [
    Source({"service.name": name}, scope_name=scope)
    for name, scope in (("shop", "one"), ("shop", "two"), ("back-office", "one"))
]


def agent(name: str | None) -> dict[str, str | int]:
    """Return the attributes of an agent, which OpenInference knows without a name too."""
    told: dict[str, str | int] = {"openinference.span.kind": "AGENT"}
    return told if name is None else {**told, "agent.name": name}


def call(response_id: str | None = None, **tokens: int) -> dict[str, str | int]:
    """Return the attributes of a call of a model."""
    told: dict[str, str | int] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "acme",
        "gen_ai.request.model": "acme-1",
    }
    if response_id is not None:
        told["gen_ai.response.id"] = response_id
    return told | {f"gen_ai.usage.{name}": number for name, number in tokens.items()}


CHAIN: dict[str, str | int] = {"openinference.span.kind": "CHAIN"}
TOOL: dict[str, str | int] = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}


class Traces:
    """Made-up traces, the same for the same number."""

    def __init__(self, number: int, spans: int = 12, *, versions: bool = True) -> None:
        self._versions = 0.1 if versions else 0
        self._random = Random(number)
        self._ids = [f"{at:016x}" for at in range(1, spans + 1)]
        self._traces = [f"{at:032x}" for at in range(1, self._random.choice((2, 2, 3)))]

    def spans(self) -> list[OtelSpan]:
        """Return the spans, and other versions of some, in any order."""
        made = [self._span(span_id) for span_id in self._ids]
        made += [self._version(span) for span in made if self._random.random() < self._versions]
        self._random.shuffle(made)
        return made

    def _span(self, span_id: str) -> OtelSpan:
        pick = self._random
        start = BEGIN + pick.randrange(20) * SECOND
        attributes = self._attributes()
        if pick.random() < 0.1:
            attributes["session.id"] = pick.choice(("chat-1", "chat-2"))
        return OtelSpan(
            pick.choice(self._traces),
            span_id,
            self._parent(span_id),
            pick.choice(("work", "step", "editor")),
            start,
            0 if pick.random() < 0.05 else start + pick.randrange(10) * SECOND,
            1,
            pick.choice((0, 0, 0, 2)),
            attributes=dict(attributes),
            source=pick.choice(_SOURCES),
        )

    def _parent(self, span_id: str) -> str | None:
        """Return a parent: mostly one with a smaller id, seldom one that never comes."""
        pick = self._random
        above = [each for each in self._ids if each < span_id]
        if not above or pick.random() < 0.1:
            return None
        if pick.random() < 0.05:
            return "f" * 16
        if pick.random() < 0.02:
            return pick.choice(self._ids)  # Perhaps in a circle.
        return pick.choice(above[-4:])

    def _attributes(self) -> dict[str, str | int]:
        pick = self._random
        return pick.choice(
            (
                agent(pick.choice((None, "editor", "editor", "writer"))),
                call(pick.choice((None, "r-1", "r-2")), input_tokens=pick.randrange(9)),
                call(pick.choice((None, "r-1")), output_tokens=pick.randrange(9)),
                TOOL,
                {},
                CHAIN,
            )
        ).copy()

    def _version(self, span: OtelSpan) -> OtelSpan:
        """Return a span as it was sent before, or is sent after, with something else in it."""
        pick = self._random
        other = self._span(span.span_id)
        return pick.choice(
            (
                replace(span, end_ns=0),
                replace(span, end_ns=(span.end_ns or span.start_ns) + SECOND),
                replace(span, attributes={**span.attributes, "more": True}),
                replace(span, attributes={**span.attributes, "logfire.span_type": "pending_span"}),
                replace(other, trace_id=span.trace_id),
            )
        )
