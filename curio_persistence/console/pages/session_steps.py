"""The steps of a session as rows: their words, links, and what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from curio_persistence.capabilities.sessions import Session
from curio_persistence.console.http.paths import Paths
from curio_persistence.models import AgentRunEvent
from curio_persistence.runlog.steps import Marks
from curio_persistence.views.sessions import TimelineEntry
from curio_persistence.views.timelines import BEGINS
from curio_persistence.views.values import compact
from curio_persistence.views.wording import number, span

_WORDS, _CONDENSED = 160, 4_000
_FIRST = (
    *("args", "result", "response", "objective", "output", "message", "value", "data"),
    *("content", "tool_calls"),
)
"""The parts of a step that tell most about it in one line."""
_ICONS = {"run": "git-branch", "model": "sparkles", "tool": "wrench", "span": "layers"}


class StepRow(NamedTuple):
    """A step in the list of a session's steps."""

    at: datetime
    after: str
    kind: str
    lane: str
    icon: str
    name: str
    words: str
    error: str
    href: str
    run_id: str
    run_href: str
    agent: str
    tokens: str
    took: str
    fate: str | None
    condensed: str
    is_current: bool


class StepRows(NamedTuple):
    """Makes rows of the steps of a session; links lead into its replay, or into the runs."""

    paths: Paths
    session: Session
    marks: Marks
    replayed: bool = False
    current: str = ""

    def of(self, entries: Iterable[TimelineEntry]) -> list[StepRow]:
        """Return a row for each step."""
        return [self._row(entry) for entry in entries]

    def _row(self, entry: TimelineEntry) -> StepRow:
        ref = str(entry.step.ref)
        return StepRow(
            entry.at,
            after(entry.at, self.session.started_at),
            entry.kind,
            entry.kind if entry.kind in _ICONS else "event",
            icon_of(entry),
            name_of(entry),
            words_of(entry),
            (entry.error or "")[:_WORDS],
            self._href(entry, ref),
            entry.run_id,
            self.paths.run(entry.run_id),
            entry.agent_id or entry.run_id,
            _tokens(entry),
            _took(entry),
            fate(entry, self.marks),
            condensed_of(entry, self.marks)[:_CONDENSED],
            ref == self.current,
        )

    def _href(self, entry: TimelineEntry, ref: str) -> str:
        if self.replayed:
            return self.paths.session(self.session.session_id, view="replay", at=ref)
        return href_in_run(self.paths, entry)


def href_in_run(paths: Paths, entry: TimelineEntry) -> str:
    """Return the URL of a step in its run."""
    return paths.run(entry.run_id, None if entry.kind == "run" else str(entry.step.ref))


def icon_of(entry: TimelineEntry) -> str:
    """Return the icon of a step's kind."""
    return _ICONS.get(entry.kind, "circle-dot")


def name_of(entry: TimelineEntry) -> str:
    """Return what names a step: of a message in a run log its role."""
    return str(_message_in(entry).get("role") or entry.name or entry.kind)


def words_of(entry: TimelineEntry) -> str:
    """Return the beginning of what a step says, on one line."""
    message = _message_in(entry)
    parts = message if message.get("role") else entry.step.parts
    told = (compact(parts[name])[: 2 * _WORDS] for name in _FIRST if parts.get(name) is not None)
    return " ".join(" ".join(told).split())[:_WORDS]


def after(at: datetime, begin: datetime | None) -> str:
    """Return `+140.65`, the seconds since a begin; the hours and minutes where it is long ago."""
    seconds = 0.0 if begin is None else (at - begin) / timedelta(seconds=1)
    if abs(seconds) < 10_000:
        return f"{seconds:+.2f}"
    hours, minutes = divmod(abs(int(seconds)) // 60, 60)
    sign = "+" if seconds > 0 else "-"
    return f"{sign}{hours}h {minutes:02d}m" if hours < 100 else f"{sign}{hours // 24}d"


def fate(entry: TimelineEntry, marks: Marks) -> str | None:
    """Return what became of a step of a run log: `rolled back`, `hidden`, or None."""
    message = _message_in(entry)
    if message and int(getattr(entry.record, "seq", 0)) in marks.rolled_back:
        return "rolled back"
    return "hidden" if message.get("step_id") in marks.hidden else None


def condensed_of(entry: TimelineEntry, marks: Marks) -> str:
    """Return the text to which a step of a run log was condensed; "" where it was not."""
    return marks.condensed.get(str(_message_in(entry).get("step_id")), "")


def _message_in(entry: TimelineEntry) -> Mapping[str, Any]:
    """Return the payload of a step that a run log has; nothing for other steps."""
    record = entry.record
    if not isinstance(record, AgentRunEvent) or record.seq is None:
        return {}
    payload = record.payload
    return payload if isinstance(payload, dict) and "role" in payload else {}


def _tokens(entry: TimelineEntry) -> str:
    step = entry.step
    if entry.kind != "model" or step.input_tokens is None:
        return ""
    return f"{number(step.input_tokens)} → {number(step.output_tokens)}"


def _took(entry: TimelineEntry) -> str:
    if entry.duration_ms is not None:
        return span(entry.duration_ms)
    begins = getattr(entry.record, "event_type", None) in BEGINS
    return "began" if begins else ""
