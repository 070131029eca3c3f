"""The items of a stream: what was stored, and from where to go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent, AgentSpan

Kind = Literal["run", "event", "usage", "span"]
Change = Literal["added", "begun", "changed", "ended"]


@dataclass(frozen=True, slots=True)
class LiveItem:
    """Something that was stored: a run, an event, a model call or a span, or that some are missing.

    `change` is `added` for events and model calls. A run comes as `begun` once, then as `changed`
    or `ended` when it was updated, each time as it was found then; a span that has its end is
    `ended`. A stream that resumes `after` the `id` of an item goes on behind it. An item of the
    kind `missed` has no record: so many items were dropped between `since` and `id`, where a
    second stream can read them.
    """

    id: str
    kind: Kind | Literal["missed"]
    change: Change | None = None
    record: AgentRun | AgentRunEvent | AgentLLMUsage | AgentSpan | None = None
    missed: int = 0
    since: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that this kind has, ready for JSON."""
        if self.record is None:
            return {"id": self.id, "kind": self.kind, "missed": self.missed, "since": self.since}
        record = self.record.to_dict()
        return {"id": self.id, "kind": self.kind, "change": self.change, "record": record}
