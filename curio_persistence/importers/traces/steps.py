"""A trace and its steps, in the one form into which every observability tool's export is read.

What an export does not tell is None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from curio_persistence.importers.common.writer import SourceLocation

TOOL = "tool"
"""The kind of a step that is a call of a tool. Other kinds are the exporter's own words."""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A call of a model, from its step. Tokens include their subsets."""

    provider: str = ""
    model: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: Decimal | None = None
    """US dollars, as the export tells them."""
    params: Any = None
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_counted(self) -> bool:
        """Return True if it tells tokens or a cost."""
        told = (self.input_tokens, self.output_tokens, self.cost)
        return any(each is not None for each in told)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a span, an observation, a run of LangSmith."""

    step_id: str
    parent_id: str | None
    name: str
    kind: str
    started_at: datetime
    ended_at: datetime | None
    location: SourceLocation
    error: str | None = None
    is_cancelled: bool = False
    input: Any = None
    output: Any = None
    call: ModelCall | None = None
    tool_name: str | None = None
    is_moment: bool = False
    """True for what has a time but no duration, such as an event of Langfuse."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Members without a field of their own."""

    @property
    def is_record(self) -> bool:
        """Return True if it is more than a span: a call of a model or a tool."""
        return self.call is not None or self.kind == TOOL


@dataclass(frozen=True, slots=True)
class Trace:
    """Facts about a whole trace; where one is missing, its first step has it."""

    trace_id: str
    name: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    input: Any = None
    output: Any = None
    session_id: str | None = None
    user_id: str | None = None
    tags: tuple[str, ...] = ()
    project: str | None = None
    version: str | None = None
    location: SourceLocation | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A score that a person, code or a model gave to a trace, or to a step of it."""

    name: str
    source: str
    at: datetime
    location: SourceLocation
    value: float | None = None
    label: str | None = None
    comment: str | None = None
    author: str = ""
    step_id: str | None = None
