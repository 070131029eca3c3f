"""Events as rows of a list; a tool call or span that has ended is one row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from curio_persistence.models import AgentRunEvent
from curio_persistence.views.steps import Step, step_of
from curio_persistence.views.values import compact

_WORDS = 160
"""Characters of a row's words, and of its name."""
_LOOKED_AT = 1_000
"""Characters of a text of which white space is folded."""
_TONES = {"warning": "warn", "error": "bad", "critical": "bad"}


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event as a row: its step, what it is called, and the beginning of its words."""

    event: AgentRunEvent
    step: Step
    name: str
    words: str

    @property
    def failed(self) -> bool:
        return self.step.error is not None or self.tone == "bad"

    @property
    def tone(self) -> str:
        """The colour of the event's level."""
        return _TONES.get(self.event.level, "dim")


def rows_of(events: Sequence[AgentRunEvent]) -> list[EventRow]:
    """Return rows in the order of the events; what has begun is left out if its end is there."""
    rows = [row_of(event) for event in events]
    ended = {row.step.span_id for row in rows if not row.step.is_open} - {None}
    return [row for row in rows if not (row.step.is_open and row.step.span_id in ended)]


def row_of(event: AgentRunEvent) -> EventRow:
    """Return an event as a row; a tool call is called by its tool, anything else by its type."""
    step = step_of(event)
    is_named = step.span_id is not None or step.kind in ("tool", "mcp.call", "metric")
    name = step.name if is_named and step.name else event.event_type
    said = [step.error, None if is_named else step.name]
    parts = [compact(value) for key, value in step.parts.items() if key != "traceback"]
    return EventRow(event, step, _one_line([name]), _one_line([*filter(None, said), *parts]))


def _one_line(texts: Iterable[str]) -> str:
    words = " ".join(" ".join(text[:_LOOKED_AT].split()) for text in texts)
    return words if len(words) <= _WORDS else words[:_WORDS] + "…"
