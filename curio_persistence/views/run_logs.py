"""Entries of a run log, and what follows from them, as plain values and in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from curio_persistence.runlog.codecs import encode
from curio_persistence.runlog.decisions import RuntimeDecisionState
from curio_persistence.runlog.entries import RunLogEntry
from curio_persistence.runlog.runs import RunView
from curio_persistence.runlog.steps import StepView
from curio_persistence.store.json_text import json_text


def plain_entry(entry: RunLogEntry) -> dict[str, Any]:
    """Return an entry as JSON has it, its own fields as `data`."""
    return {
        "sequence": entry.sequence,
        "session_id": entry.session_id,
        "run_id": entry.run_id,
        "agent_id": entry.agent_id,
        "created_at": entry.created_at.isoformat(),
        "kind": str(entry.kind),
        "data": data_of(entry),
    }


def data_of(entry: RunLogEntry) -> dict[str, Any]:
    """Return the own fields of an entry as JSON has them."""
    data: dict[str, Any] = json.loads(encode(entry))
    return data


def plain_view(view: StepView | RunView) -> dict[str, Any]:
    """Return a step or a run as JSON has it, without the fields that it has not."""
    values = {each.name: getattr(view, each.name) for each in fields(view)}
    told = {name: value for name, value in values.items() if value not in (None, False)}
    plain: dict[str, Any] = json.loads(json_text(told))
    return plain


class ToldDecision(NamedTuple):
    """A decision of a runtime: its sort, its place in the log, and what it says."""

    sort: str
    sequence: int
    run_id: str
    words: str


def told_decisions(state: RuntimeDecisionState) -> list[ToldDecision]:
    """Return the last decision of each sort in words, in the order of the log."""
    found = (
        (sort, getattr(state, f"latest_{name}"), words) for name, (sort, words) in _SORTS.items()
    )
    told = [
        ToldDecision(sort, each.sequence, each.run_id, words(each))
        for sort, each, words in found
        if each is not None
    ]
    return sorted(told, key=lambda each: each.sequence)


def _steps(start: int, end: int) -> str:
    return f"step {start:,}" if start == end else f"steps {start:,} to {end:,}"


_SORTS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "termination": ("ended", lambda it: f"{it.reason}, in {it.phase}, by {it.source}"),
    "compaction": (
        "compacted",
        lambda it: (
            f"{_steps(it.metadata.start_seq, it.metadata.end_seq)}: {it.summary or 'no summary'}"
        ),
    ),
    "compaction_failure": (
        "could not compact",
        lambda it: f"{it.error} (attempt {it.attempt} of {it.max_attempts})",
    ),
    "step_back": (
        "stepped back",
        lambda it: f"from {it.affected_count:,} steps to {it.checkpoint_seq:,}: {it.experience}",
    ),
    "retrospect": ("looked back", lambda it: it.feedback or it.replacement or it.trigger or ""),
    "rollback": (
        "rolled back",
        lambda it: f"{_steps(it.start_sequence, it.end_sequence)}: {it.reason or 'no reason'}",
    ),
}
