"""Entries of a run log, and the steps and runs that follow from them, as plain values."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from curio_persistence.runlog.codecs import encode
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
