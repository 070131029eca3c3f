"""The writing of events: with their hashes, or without."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from curio_persistence.capabilities.chains import Link, given_link
from curio_persistence.compat.agentlens.appending import Appends, Pending
from curio_persistence.compat.agentlens.base import events_in
from curio_persistence.compat.agentlens.hashing import (
    HashChainError,
    compute_event_hash,
    new_id,
    truncate_payload,
)
from curio_persistence.compat.agentlens.records import checked_text, event_of, record_of
from curio_persistence.compat.agentlens.times import text_of
from curio_persistence.compat.agentlens.values import AgentLensEvent, made, named
from curio_persistence.errors import ConflictError, InvalidValueError
from curio_persistence.store.table import Row
from curio_persistence.tables import EVENTS

MOST_INGESTED = 1_000
"""The events that `ingest_events` takes at once."""
_FILLED_IN = ("id", "timestamp", "severity")


class Writes(Appends):
    """The calls that append events."""

    def insert_events(self, events: Iterable[Any]) -> None:
        """Append events with their hashes, all or none; those that are stored already are skipped.

        Raise HashChainError if the hash of an event is not its own, or does not follow that of the
        event appended before it in its session; ConflictError if another event has its id.
        """
        pending = [self._hashed(made(AgentLensEvent, event)) for event in events]
        if pending:
            with self._writing():
                self._append(self._new(pending), _given_link)

    def ingest_events(self, events: Iterable[Any]) -> list[AgentLensEvent]:
        """Append events that have no hashes yet, all or none, and return them as they are stored.

        A missing id, time or severity is filled in, and a payload that is too large is truncated.
        The events of each session are appended in the order of their times. One that is stored
        already, with the same content, is not stored again.
        """
        given = [named(AgentLensEvent, event) for event in events]
        if len(given) > MOST_INGESTED:
            raise InvalidValueError(
                f"ingest_events takes {MOST_INGESTED:,} events at once, not {len(given):,}.",
                field="events",
            )
        ids = [checked_text("id", each["id"]) for each in given if each.get("id") is not None]
        with self._writing():
            stored = self._stored(ids)
            pending = [self._filled(each, stored.get(each.get("id"))) for each in given]
            new: dict[str, Pending] = {}
            for each in pending:
                if each.event.id not in stored:
                    new.setdefault(each.event.id, each)
            ordered = sorted(new.values(), key=lambda each: each.moment)
            self._append(ordered, _own_link(new, stored))
            for each in pending:
                if new.get(each.event.id) is not each:
                    _check_same(each.event, stored[each.event.id])
        return [stored[each.event.id] for each in pending]

    def _pending(self, event: AgentLensEvent, *texts: str) -> Pending:
        record = record_of(event, *texts)
        record.created_at = self._clock.now()
        assert record.timestamp is not None
        return Pending(event, record.timestamp, self._encode_event(record))

    def _hashed(self, event: AgentLensEvent) -> Pending:
        """Return an event that has its hash."""
        pending = self._pending(event)
        own = compute_event_hash(event)
        if own != event.hash:
            raise HashChainError(f"The hash of event {event.id} is {own}, not {event.hash}.")
        if self._hash_as_stored(pending) != own:
            raise InvalidValueError(
                f"The redactor changes event {event.id}, which has its hash already. Pass it to "
                "ingest_events, which redacts events before it hashes them.",
                field="AgentLensEvent.payload",
            )
        set_links(pending.row, event.prev_hash, own)
        return pending

    def _hash_as_stored(self, pending: Pending) -> str:
        if self.persistence.redaction.keeps_all:
            return pending.event.hash
        return compute_event_hash(
            replace(_as_stored(pending.row), prev_hash=pending.event.prev_hash)
        )

    def _filled(self, given: Mapping[str, Any], stored: AgentLensEvent | None) -> Pending:
        """Return an event as it is to be stored, without its hash."""
        missing = self._missing() if stored is None else {n: getattr(stored, n) for n in _FILLED_IN}
        values = missing | {name: value for name, value in given.items() if value is not None}
        if isinstance(values["timestamp"], datetime):
            values["timestamp"] = text_of(values["timestamp"])
        event = made(AgentLensEvent, values | {"prev_hash": None, "hash": ""})
        pending = self._pending(replace(event, payload=truncate_payload(event.payload)))
        if self.persistence.redaction.keeps_all:
            return pending
        return pending._replace(event=_as_stored(pending.row))

    def _missing(self) -> dict[str, Any]:
        return {"id": new_id(), "timestamp": text_of(self._clock.now()), "severity": "info"}

    def _new(self, pending: Iterable[Pending]) -> list[Pending]:
        """Return those events that are not stored yet, each once."""
        pending = list(pending)
        stored = self._stored(each.event.id for each in pending)
        hashes = {event.id: event.hash for event in stored.values()}
        new = []
        for each in pending:
            if each.event.id not in hashes:
                new.append(each)
            if hashes.setdefault(each.event.id, each.event.hash) != each.event.hash:
                raise _conflict(each.event.id)
        return new

    def _stored(self, ids: Iterable[Any]) -> dict[Any, AgentLensEvent]:
        """Return the stored events that have one of these ids."""
        rows = self._rows(EVENTS, "event_id", ids)
        return {event.id: event for columns in rows for event in events_in(columns)}


def _as_stored(row: Row) -> AgentLensEvent:
    return event_of(EVENTS.decode_row(row))


def set_links(row: Row, prev_hash: str | None, own: str) -> None:
    """Make a row the link of a chain."""
    if prev_hash is not None:
        row["prev_hash"] = prev_hash
    row["hash"] = own


def _given_link(kind: str, row: Row, prev_hash: str) -> None:
    """Accept the hash of a row if it follows the chain."""
    try:
        given_link(kind, row, prev_hash)
        if row.get("prev_hash") == "":
            raise ConflictError("prev_hash is empty, and not None.")
    except ConflictError as error:
        raise HashChainError(
            f"Event {row['event_id']} does not follow the last event of session {row['run_id']}: "
            f"{error}"
        ) from error


def _own_link(new: Mapping[str, Pending], done: dict[Any, AgentLensEvent]) -> Link:
    """Return the link that hashes events as they are appended, and collects them."""

    def link(_: str, row: Row, prev_hash: str) -> None:
        event = replace(new[str(row["event_id"])].event, prev_hash=prev_hash or None)
        done[event.id] = replace(event, hash=compute_event_hash(event))
        set_links(row, event.prev_hash, done[event.id].hash)

    return link


def _check_same(event: AgentLensEvent, stored: AgentLensEvent) -> None:
    """Raise ConflictError if the stored event has other content."""
    if compute_event_hash(replace(event, prev_hash=stored.prev_hash)) != stored.hash:
        raise _conflict(event.id)


def _conflict(event_id: str) -> ConflictError:
    return ConflictError(f"Another event has the id {event_id} already.")
