"""The hash chain of a session: each event's hash covers the event and the hash before it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from curio_persistence.clock import utc_now
from curio_persistence.compat.agentlens.javascript import stringify
from curio_persistence.compat.agentlens.times import text_of
from curio_persistence.compat.agentlens.values import (
    AgentLensEvent,
    ChainVerificationResult,
    camel,
    made,
)
from curio_persistence.errors import ConflictError, InvalidValueError
from curio_persistence.store.codecs import to_unicode

HASH_VERSION = 2
"""The version of what is hashed, which is a part of it."""
MAX_PAYLOAD_SIZE = 10_240
"""The bytes of JSON that a payload may have before it is truncated."""
_PREVIEW = 200
_NAMES = ("id", "timestamp", "session_id", "agent_id", "event_type", "severity")
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""The digits of a ULID: five bits each."""


class HashChainError(ConflictError):
    """An event does not follow the last one of its session, or its hash is not its own."""


def compute_event_hash(event: Any) -> str:
    """Return the hash of an event, given as one or as a mapping; its own `hash` is not used."""
    event = made(AgentLensEvent, event)
    return hash_of(event, stringify(event.payload), stringify(event.metadata))


def compute_event_hash_raw(event: Mapping[str, Any]) -> str:
    """Return the hash of an event whose `payload_raw` and `metadata_raw` are JSON text.

    The text is hashed as it stands.
    """
    made_of = made(AgentLensEvent, event)
    return hash_of(made_of, _raw(event, "payload"), _raw(event, "metadata"))


def _raw(event: Mapping[str, Any], name: str) -> str:
    snake = f"{name}_raw"
    text = event.get(snake, event.get(camel(snake)))
    if not isinstance(text, str):
        raise InvalidValueError(f"{snake} is the JSON text of the {name}.", field=snake)
    return text


def hash_of(event: AgentLensEvent, payload: str, metadata: str) -> str:
    """Return the hash of an event with its payload and metadata as JSON text."""
    members = {
        "v": str(HASH_VERSION),
        **{camel(name): stringify(getattr(event, name)) for name in _NAMES},
        "payload": payload,
        "metadata": metadata,
        "prevHash": stringify(event.prev_hash),
    }
    text = ",".join(f'"{name}":{value}' for name, value in members.items())
    return hashlib.sha256(to_unicode(f"{{{text}}}").encode()).hexdigest()


def verify_chain(events: Iterable[Any]) -> ChainVerificationResult:
    """Verify the events of a session from its first one on, in the order they were appended."""
    return verify_chain_batch(events, None)


def verify_chain_batch(
    events: Iterable[Any], expected_prev_hash: str | None
) -> ChainVerificationResult:
    """Verify events that follow one with this hash."""
    last = expected_prev_hash
    for index, event in enumerate(_events(events)):
        linked = event.prev_hash == last
        if not index and not linked:
            return _broken(0, _first_is_unlinked(event, expected_prev_hash))
        if (reason := _wrong_hash(index, event)) is not None:
            return _broken(index, reason)
        if not linked:
            return _broken(index, f"Event {index} prevHash does not match previous event's hash")
        last = event.hash
    return _VALID


def verify_records(events: Iterable[Any]) -> ChainVerificationResult:
    """Verify the hash of each event by itself, and not that they follow each other."""
    for index, event in enumerate(_events(events)):
        if (reason := _wrong_hash(index, event)) is not None:
            return _broken(index, reason)
    return _VALID


_VALID = ChainVerificationResult(valid=True)


def _events(events: Iterable[Any]) -> Iterator[AgentLensEvent]:
    return (made(AgentLensEvent, event) for event in events)


def _broken(index: int, reason: str) -> ChainVerificationResult:
    return ChainVerificationResult(valid=False, failed_at_index=index, reason=reason)


def _first_is_unlinked(event: AgentLensEvent, expected: str | None) -> str:
    if expected is None:
        return "First event must have prevHash = null"
    got = "null" if event.prev_hash is None else event.prev_hash
    return f"Batch linkage broken: expected prevHash={expected}, got {got}"


def _wrong_hash(index: int, event: AgentLensEvent) -> str | None:
    own = compute_event_hash(event)
    return None if own == event.hash else _mismatch(index, own, event.hash)


def _mismatch(index: int, expected: str, got: str) -> str:
    return f"Event {index} hash mismatch: expected {expected}, got {got}"


def create_event(
    *,
    session_id: str,
    agent_id: str,
    event_type: str,
    payload: Any,
    severity: str = "info",
    metadata: Mapping[str, Any] | None = None,
    prev_hash: str | None = None,
    timestamp: str | None = None,
) -> AgentLensEvent:
    """Return an event with a new id and its hash, now if no time is given.

    A payload that is too large is truncated.
    """
    event = AgentLensEvent(
        id=new_id(),
        timestamp=text_of(utc_now()) if timestamp is None else timestamp,
        session_id=session_id,
        agent_id=agent_id,
        event_type=event_type,
        severity=severity,
        payload=truncate_payload(payload),
        metadata={} if metadata is None else metadata,
        prev_hash=prev_hash,
    )
    return replace(event, hash=compute_event_hash(event))


def new_id() -> str:
    """Return a ULID: 48 bits of milliseconds and 80 random ones, in 26 characters that sort."""
    number = int(utc_now().timestamp() * 1000) << 80 | int.from_bytes(os.urandom(10))
    return "".join(_DIGITS[number >> shift & 31] for shift in range(125, -1, -5))


def truncate_payload(payload: Any) -> Any:
    """Return a payload, or the beginning of its JSON if that is larger than MAX_PAYLOAD_SIZE."""
    text = stringify(payload)
    size = len(text.encode())
    if size <= MAX_PAYLOAD_SIZE:
        return payload
    data = {
        "_truncated": True,
        "originalSize": size,
        "maxSize": MAX_PAYLOAD_SIZE,
        "preview": f"{text[:_PREVIEW]}...",
    }
    return {"type": "_truncated", "data": data}
