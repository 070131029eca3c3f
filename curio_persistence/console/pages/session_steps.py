"""The steps of a session as its pages show them: their words, links, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from curio_persistence.capabilities.sessions import Session
from curio_persistence.console.paths import Paths
from curio_persistence.models import AgentRunEvent
from curio_persistence.runlog.steps import Marks
from curio_persistence.views.sessions import TimelineEntry
from curio_persistence.views.timelines import BEGINS
from curio_persistence.views.values import compact

_WORDS = 160
_FIRST = (
    *("args", "result", "response", "objective", "output", "message", "value", "data"),
    *("content", "tool_calls"),
)
"""The parts of a step that tell most about it in one line."""


def helpers(paths: Paths) -> Mapping[str, Any]:
    """Return the functions that templates of a session call."""
    return {
        "fate": fate,
        "has_begun": has_begun,
        "condensed_of": condensed_of,
        "after": after,
        "name_of": name_of,
        "words_of": words_of,
        "link_of": partial(_link_of, paths),
    }


def name_of(entry: TimelineEntry) -> str:
    """Return what names a step: of a message in a run log its role."""
    return str(_message_in(entry).get("role") or entry.name or entry.kind)


def words_of(entry: TimelineEntry) -> str:
    """Return the beginning of what a step says, on one line."""
    message = _message_in(entry)
    parts = message if message.get("role") else entry.step.parts
    told = (compact(parts[name])[: 2 * _WORDS] for name in _FIRST if parts.get(name) is not None)
    return " ".join(" ".join(told).split())[:_WORDS]


def _message_in(entry: TimelineEntry) -> Mapping[str, Any]:
    """Return the payload of a step that a run log has; nothing for other steps."""
    record = entry.record
    if not isinstance(record, AgentRunEvent) or record.seq is None:
        return {}
    payload = record.payload
    return payload if isinstance(payload, dict) and "role" in payload else {}


def after(at: datetime, begin: datetime | None) -> str:
    """Return `+140.65`, the seconds since a begin; the hours and minutes where it is long ago."""
    seconds = 0.0 if begin is None else (at - begin) / timedelta(seconds=1)
    if abs(seconds) < 10_000:
        return f"{seconds:+.2f}"
    minutes = abs(int(seconds)) // 60
    sign = "+" if seconds > 0 else "-"
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}h {minutes:02d}m" if hours < 100 else f"{sign}{hours // 24}d"


def has_begun(entry: TimelineEntry) -> bool:
    """Return True for the begin of a tool call or span, whose end is a step of its own."""
    return getattr(entry.record, "event_type", None) in BEGINS


def fate(entry: TimelineEntry, marks: Marks) -> str | None:
    """Return what became of a step of a run log: `rolled back`, `hidden`, or None."""
    message = _message_in(entry)
    if message and int(getattr(entry.record, "seq", 0)) in marks.rolled_back:
        return "rolled back"
    return "hidden" if message.get("step_id") in marks.hidden else None


def condensed_of(entry: TimelineEntry, marks: Marks) -> str | None:
    """Return the text to which a step of a run log was condensed."""
    return marks.condensed.get(str(_message_in(entry).get("step_id")))


def _link_of(paths: Paths, entry: TimelineEntry, session: Session, view: str) -> str:
    """Return the URL of a step: in its run, or in the replay of its session."""
    ref = entry.step.ref
    if view == "replay":
        return paths.session(session.session_id, view="replay", at=str(ref))
    return paths.run(entry.run_id, None if entry.kind == "run" else str(ref))
