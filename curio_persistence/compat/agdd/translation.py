"""Their dictionaries and words for a status, and ours."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from curio_persistence.models import AgentRun, AgentRunEvent, AgentRunStatus, Level

_STATUSES: Mapping[str, tuple[AgentRunStatus, ...]] = {
    "running": (AgentRunStatus.RUNNING, AgentRunStatus.PENDING),
    "succeeded": (AgentRunStatus.COMPLETED,),
    "failed": (AgentRunStatus.ERROR, AgentRunStatus.TIMEOUT),
    "canceled": (AgentRunStatus.CANCELLED,),
}
"""Each of their words, and ours that it stands for: the first is the one that is written."""

_THEIRS = {word.value: theirs for theirs, words in _STATUSES.items() for word in words}


def ours(status: str) -> str:
    """Return the status that is written for a word."""
    return next(iter(all_ours(status)))


def all_ours(status: str) -> Collection[str]:
    """Return all statuses that a word stands for."""
    # A value that is not text is refused where it is used.
    return _STATUSES.get(status, (status,)) if isinstance(status, str) else (status,)


def as_run(run: AgentRun) -> dict[str, Any]:
    """Return a run as a dictionary of theirs."""
    return {
        "run_id": run.run_id,
        "agent_slug": run.agent_id,
        "parent_run_id": run.parent_run_id,
        "started_at": iso(run.started_at or run.created_at),
        "ended_at": iso(run.finished_at),
        "status": _THEIRS.get(run.status, run.status),
        "metrics": _parsed(run.metrics),
        "tags": run.tags or [],
    }


def as_event(event: AgentRunEvent) -> dict[str, Any]:
    """Return an event as a dictionary of theirs."""
    envelope = event.to_envelope()
    if envelope["payload"] is None:
        envelope["payload"] = {}
    if envelope["level"] == Level.WARNING:
        envelope["level"] = "warn"
    return envelope


def _parsed(text: str | None) -> Any:
    """Return what JSON text holds; text that is not JSON unchanged, None as an empty object."""
    try:
        return json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return text


def iso(moment: datetime | None) -> str | None:
    """Return a time as ISO 8601 text."""
    return None if moment is None else moment.isoformat()
