"""Spans that are told by attributes of OpenTelemetry: they mean here what they mean when received.

The names of the attributes are those of the conventions by which received spans are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.importers.sessions.records import SourceLocation
from curio_persistence.importers.traces.steps import TOOL, ModelCall, Step, Trace
from curio_persistence.importers.traces.values import Values
from curio_persistence.importers.traces.words import parsed

if TYPE_CHECKING:
    from curio_persistence.interop.otel.spans import Meaning

_WORDS = ("input.value", "output.value", "mlflow.spanInputs", "mlflow.spanOutputs")
_DEEPEST = 8


def flat(attributes: Mapping[str, Any], *, whole: Sequence[str] = ("metadata",)) -> dict[str, Any]:
    """Return nested attributes by the names they had when they were sent; `whole` ones stay."""
    return dict(_flat("", attributes, whole, _DEEPEST))


def _flat(name: str, value: Any, whole: Sequence[str], depth: int) -> Iterator[tuple[str, Any]]:
    members: Any = None
    if depth and name not in whole:
        members = value.items() if isinstance(value, dict) else None
        if isinstance(value, list) and any(isinstance(each, dict) for each in value):
            members = enumerate(value)
    if members is None:
        yield name, value
        return
    for key, each in members:
        yield from _flat(f"{name}.{key}" if name else str(key), each, whole, depth - 1)


class Told(NamedTuple):
    """The step of a span, and the facts about its trace."""

    step: Step
    session_id: str | None = None
    user_id: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AttributeSpan:
    """A span of an export, before its attributes are read."""

    span_id: str
    parent_id: str | None
    name: str
    started_at: datetime
    ended_at: datetime | None
    attributes: dict[str, Any]
    location: SourceLocation
    error: str | None = None
    """The message of what failed; None if nothing did."""

    def told(self, values: Values) -> Told:
        """Return what the span tells, by the conventions."""
        attributes = _with_possible_tokens(self.attributes, values)
        meaning = _meaning(self, attributes)
        words = [parsed(attributes.get(name)) for name in _WORDS]
        step = Step(
            self.span_id,
            self.parent_id,
            self.name,
            meaning.kind.value,
            self.started_at,
            self.ended_at,
            self.location,
            error=self.error,
            is_cancelled=meaning.status == "cancelled",
            input=words[0] if words[0] is not None else words[2],
            output=words[1] if words[1] is not None else words[3],
            details={"metadata": told} if (told := parsed(attributes.get("metadata"))) else {},
        )
        return Told(_filled(step, meaning), meaning.session_id, meaning.user_id, meaning.tags)


def trace_of(trace_id: str, told: Sequence[Told], location: SourceLocation, **others: Any) -> Trace:
    """Return what is told of a trace, by itself in `others`, or else by its spans."""
    values = {
        "session_id": next((each.session_id for each in told if each.session_id), None),
        "user_id": next((each.user_id for each in told if each.user_id), None),
        "tags": next((each.tags for each in told if each.tags), ()),
    }
    given = {name: value for name, value in others.items() if value}
    return Trace(trace_id, location=location, **{**values, **given})


def _meaning(span: AttributeSpan, attributes: dict[str, Any]) -> Meaning:
    # They are built above this.
    from curio_persistence.interop.otel.meaning import meaning_of
    from curio_persistence.interop.otel.spans import STATUS_ERROR, STATUS_OK, OtelSpan

    ended = 0 if span.ended_at is None else 2
    status = STATUS_OK if span.error is None else STATUS_ERROR
    return meaning_of(
        OtelSpan(
            *("", span.span_id, span.parent_id, span.name, 1, ended),
            status_code=status,
            status_message=span.error or "",
            attributes=attributes,
        )
    )


def _filled(step: Step, meaning: Meaning) -> Step:
    """Return a step with what it tells as a call of a model or a tool."""
    if meaning.tool is not None:
        tool = meaning.tool
        told = {"tool_name": tool.name, "input": tool.arguments, "output": tool.result}
        return replace(step, kind=TOOL, **told)
    if meaning.call is None:
        return step
    call = meaning.call
    return replace(
        step,
        input=call.prompt or step.input,
        output=call.response or step.output,
        call=ModelCall(
            call.provider or "",
            call.model or "",
            call.input_tokens,
            call.output_tokens,
            call.cache_read_tokens,
            call.cache_write_tokens,
            call.reasoning_tokens,
            call.reported_cost or None,  # 0 stands for a cost that is not known.
            call.params,
            call.details or {},
        ),
    )


def _with_possible_tokens(attributes: dict[str, Any], values: Values) -> dict[str, Any]:
    """Return attributes without numbers of tokens that cannot be: these are problems."""
    checked = dict(attributes)
    for name, value in attributes.items():
        if name.startswith("llm.token_count."):
            checked[name] = values.tokens(value)
        elif name == "mlflow.chat.tokenUsage" and isinstance(value, dict):
            checked[name] = {each: values.tokens(count) for each, count in value.items()}
    return checked
