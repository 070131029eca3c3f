"""Events of AgentLens as events of ours, and back.

A session is a run. What our columns cannot hold byte for byte is kept in `metadata`, under
`agentlens`: a time or severity that is written in another way, and the metadata of the event.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from curio_persistence.compat.agentlens.javascript import stringify
from curio_persistence.compat.agentlens.times import moment_of, text_of
from curio_persistence.compat.agentlens.values import AgentLensEvent, camel
from curio_persistence.errors import InvalidValueError
from curio_persistence.models import AgentRunEvent
from curio_persistence.store.codecs import encode_level, encode_name
from curio_persistence.store.filters import Filter, Where

EVENT, METRIC = "agentlens", "agentlens/otlp_metric"
"""The contracts of events, by which they are found: metrics of OTLP have one of their own."""
OURS: Where = (Filter("contract_id", "in", (EVENT, METRIC)),)
NO_METRICS: Where = (Filter("contract_id", "=", EVENT),)
KEY = "agentlens"
COST_TRACKED, LLM_RESPONSE, TOOL_RESPONSE = "cost_tracked", "llm_response", "tool_response"
_WARN, _WARNING = "warn", "warning"
_DIGITS, _LONGEST_WORD = 8, 40


def record_of(
    event: AgentLensEvent, payload: str | None = None, metadata: str | None = None
) -> AgentRunEvent:
    """Return an event as ours; raise InvalidValueError for values that it cannot have.

    Its payload and metadata may be given as the JSON text that is to be kept.
    """
    for name in ("id", "timestamp", "session_id", "agent_id", "event_type", "severity"):
        checked_text(name, getattr(event, name))
    moment = moment_of(event.timestamp, "AgentLensEvent.timestamp")
    level = level_of(event.severity)
    kept = {
        "timestamp": None if text_of(moment) == event.timestamp else event.timestamp,
        "severity": None if _plain_severity(level) == event.severity else event.severity,
    }
    is_metric = object_of(event.metadata).get("source") == "otlp_metric"
    return AgentRunEvent(
        agent_id=event.agent_id,
        run_id=event.session_id,
        timestamp=moment,
        event_type=event.event_type,
        data=json_of(event.payload) if payload is None else payload,
        event_id=event.id,
        session_id=event.session_id,
        level=level,
        span_id=call_of(event),
        contract_id=METRIC if is_metric else EVENT,
        metadata=_envelope(kept, json_of(event.metadata) if metadata is None else metadata),
    )


def checked_text(name: str, value: Any) -> str:
    """Return the value of a field that is a text."""
    if isinstance(value, str):
        return value
    field = f"AgentLensEvent.{name}"
    raise InvalidValueError(f"{field} ({camel(name)}) is a text, not {value!r:.80}.", field=field)


def _envelope(kept: Mapping[str, str | None], metadata: str) -> str:
    members = [f'"{name}":{json_of(text)},' for name, text in kept.items() if text is not None]
    return f'{{"{KEY}":{{{"".join(members)}"metadata":{metadata}}}}}'


def json_of(value: Any) -> str:
    """Return a value as JSON that is read as the same value, and has the same hash."""
    written = stringify(value)
    try:
        # Keeps 1.0 and whole numbers of any size, which JavaScript writes in another way.
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        is_same = text == written or stringify(json.loads(text)) == written
        return text if is_same else written
    except (TypeError, ValueError):
        return written


def level_of(severity: str) -> str:
    """Return the level of a severity: one of ours, or a word by which it is told from others.

    Ours are in small letters, and name some severities in another way. Those get a level by which
    they are still found, and counted, exactly.
    """
    if severity == _WARN:
        return _WARNING
    try:
        if encode_level(severity) == severity != _WARNING:
            return severity
    except ValueError:
        pass
    digest = hashlib.sha256(stringify(severity).encode()).hexdigest()[:_DIGITS]
    word = "".join(filter(str.isalnum, severity.lower().encode("ascii", "ignore").decode()))
    return f"{word[:_LONGEST_WORD]} {digest}".strip()


def _plain_severity(level: str) -> str:
    return _WARN if level == _WARNING else level


def call_of(event: AgentLensEvent) -> str | None:
    """Return what is the same in all events of one call, if the event has a call's id."""
    call_id = object_of(event.payload).get("callId")
    if call_id is None:
        return None
    try:
        if isinstance(call_id, str):
            return encode_name(call_id) or None
    except ValueError:  # It is too long, or has characters that no id has.
        pass
    return hashlib.sha256(stringify(call_id).encode()).hexdigest()


def event_of(
    record: AgentRunEvent, prev_hash: str | None = None, hash: str | None = None
) -> AgentLensEvent:
    """Return the event that a record is.

    If a column was changed, so that it contradicts what is kept beside it, the column counts: the
    hash does not fit then.
    """
    kept = kept_in(record.metadata)
    severity = kept.get("severity")
    is_kept = isinstance(severity, str) and level_of(severity) == record.level
    assert record.timestamp is not None
    return AgentLensEvent(
        id=record.event_id or "",
        timestamp=text_for(record.timestamp, kept.get("timestamp")),
        session_id=record.run_id,
        agent_id=record.agent_id,
        event_type=record.event_type,
        severity=str(severity) if is_kept else _plain_severity(record.level),
        payload=parsed(record.data),
        metadata=kept.get("metadata"),
        prev_hash=prev_hash,
        hash=hash or "",
    )


def text_for(moment: datetime, kept: Any) -> str:
    """Return the text of a moment that was kept; or another, if it is not that of this moment."""
    try:
        if isinstance(kept, str) and moment_of(kept, "timestamp") == moment:
            return kept
    except InvalidValueError:  # It was changed.
        pass
    return text_of(moment)


def kept_in(metadata: Any) -> Mapping[str, Any]:
    """Return what is kept under our key in the metadata of a record."""
    return object_of(object_of(parsed(metadata)).get(KEY))


def parsed(text: Any) -> Any:
    """Return what JSON text holds; other text unchanged."""
    try:
        return json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return text


def object_of(value: Any) -> Mapping[str, Any]:
    """Return an object, and an empty one for any other value."""
    return value if isinstance(value, Mapping) else {}
