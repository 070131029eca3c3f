"""Entries as dictionaries that JSON can express, as Agiwo stores them, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from curio_persistence.clock import utc_now
from curio_persistence.errors import InvalidValueError
from curio_persistence.runlog.codecs import decode, encode
from curio_persistence.runlog.entries import RunLogEntry, UnknownEntry, class_of

_TYPES = ("content_parts", "user_message")
"""The types of input that Agiwo writes as JSON text."""
_TEXT = "text"
"""Our own type: a text that would be read as one of those."""


def serialize_run_log_entry_for_storage(entry: RunLogEntry) -> dict[str, Any]:
    """Return an entry as a dictionary with its `kind`, which JSON can express."""
    place = {each.name: getattr(entry, each.name) for each in fields(RunLogEntry)}
    place["created_at"] = entry.created_at.isoformat()
    own = json.loads(encode(entry))
    said = own.get("user_input")
    if isinstance(said, str) and isinstance(structured(said), dict):
        own["user_input"] = {"__type": _TEXT, "text": said}
    return {"kind": str(entry.kind), **place, **own}


def deserialize_run_log_entry_from_storage(data: Mapping[str, Any]) -> RunLogEntry:
    """Return the entry that was serialized, by this or by Agiwo.

    Raise InvalidValueError, a ValueError, for a kind that is not registered.
    """
    kind = data.get("kind")
    if not isinstance(kind, str) or class_of(kind) is None:
        raise InvalidValueError(
            f"The stored kind of entry {kind!r:.80} is not supported. Register it, or import the "
            "file with `curio-persistence import agiwo`, which keeps such entries. (Agiwo's own "
            'advice, "Clear old SQLite DB files", would lose them.)',
            field="kind",
        )
    entry = entry_of(data)
    if isinstance(entry, UnknownEntry):
        raise InvalidValueError(
            f"The stored entry {data.get('sequence')!r:.80} lacks fields of its kind, {kind!r}.",
            field="kind",
        )
    return entry


def entry_of(data: Mapping[str, Any]) -> RunLogEntry:
    """Return the entry of a dictionary; an UnknownEntry if it cannot be read as its kind."""
    place: dict[str, Any] = {each.name: data.get(each.name) for each in fields(RunLogEntry)}
    told = place["created_at"] or utc_now()
    place["created_at"] = datetime.fromisoformat(told) if isinstance(told, str) else told
    own = {name: value for name, value in data.items() if name not in {"kind", *place}}
    if "user_input" in own:
        own["user_input"] = structured(own["user_input"])
    return decode(data["kind"], own, **place)


def structured(said: Any) -> Any:
    """Return what a user said in our form: Agiwo writes all but plain text as JSON text."""
    if isinstance(said, dict) and said.get("__type") == _TEXT:
        return said["text"]
    if not isinstance(said, str) or not said.startswith("{"):
        return said
    try:
        parsed = json.loads(said)
    except (ValueError, RecursionError):
        return said
    return parsed if parsed.get("__type") in _TYPES else said
