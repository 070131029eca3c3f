"""Events that AgentLens itself has stored, which are kept as they are, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from curio_persistence.compat.agentlens.appending import Pending
from curio_persistence.compat.agentlens.hashing import compute_event_hash, hash_of
from curio_persistence.compat.agentlens.records import parsed
from curio_persistence.compat.agentlens.store import EventStore
from curio_persistence.compat.agentlens.values import AgentLensEvent, named
from curio_persistence.compat.agentlens.writing import set_links
from curio_persistence.errors import InvalidValueError
from curio_persistence.persistence import Persistence
from curio_persistence.store.table import Row


class Prepared(NamedTuple):
    """An event that can be stored, and whether its hash is its own."""

    pending: Pending
    has_its_hash: bool

    @property
    def event(self) -> AgentLensEvent:
        return self.pending.event


@dataclass
class Adopted:
    """The outcome of adopting some events."""

    new: int = 0
    known: int = 0
    without_beginning: set[str] = field(default_factory=set)
    """The sessions whose first events were purged before."""
    faults: list[tuple[AgentLensEvent, str]] = field(default_factory=list)
    """The fault of an event as a link of its chain."""


class Adopter(EventStore):
    """Appends events whose chains another program has made, also where these are broken."""

    def __init__(self, persistence: Persistence) -> None:
        super().__init__(persistence)
        if not persistence.redaction.keeps_all:
            raise InvalidValueError(
                "Events of AgentLens are imported byte for byte, because their hashes cover their "
                "words. Open the database without a redactor.",
                field="redactor",
            )

    def prepare(self, row: Mapping[str, Any]) -> Prepared:
        """Return the event of a row, whose payload and metadata are JSON text.

        Raise InvalidValueError if it cannot be stored.
        """
        given = {
            name: value for name, value in named(AgentLensEvent, row).items() if value is not None
        }
        texts = [_text(given, "payload", None), _text(given, "metadata", "{}")]
        payload, metadata = map(parsed, texts)
        event = AgentLensEvent.from_dict({**given, "payload": payload, "metadata": metadata})
        pending = self._pending(event, *texts)
        set_links(pending.row, event.prev_hash, event.hash)
        own = event.hash in (hash_of(event, *texts), compute_event_hash(event))
        return Prepared(pending, own)

    def adopt(self, events: Sequence[Prepared]) -> Adopted:
        """Append the events that are not stored yet, in their order."""
        done = Adopted()
        with self._writing():
            new = self._unknown(events, done)
            self._check_links(new, done)
            self._append([each.pending for each in new], _any_link)
        done.new = len(new)
        return done

    def _unknown(self, events: Sequence[Prepared], done: Adopted) -> list[Prepared]:
        """Return the events that are not stored yet."""
        stored = self._stored(each.event.id for each in events)
        new = []
        for each in events:
            known = stored.setdefault(each.event.id, each.event)
            if known is each.event:
                new.append(each)
            elif known.hash == each.event.hash:
                done.known += 1
            else:
                fault = "another event has this id already, and this one was left out"
                done.faults.append((each.event, fault))
        return new

    def _check_links(self, new: Iterable[Prepared], done: Adopted) -> None:
        """Note what does not fit; a chain begins where its beginning was purged."""
        tails: dict[str, str | None] = {}
        for event, has_its_hash in ((each.event, each.has_its_hash) for each in new):
            session = event.session_id
            if session not in tails:
                tails[session] = self._tail(session)
                if tails[session] is None and event.prev_hash:
                    done.without_beginning.add(session)
                    self._chains.begin(session, event.prev_hash)
                    tails[session] = event.prev_hash
            if not has_its_hash:
                done.faults.append((event, "its hash is not that of its content"))
            elif event.prev_hash != tails[session]:
                done.faults.append((event, "it does not follow the event before it"))
            tails[session] = event.hash


def _text(given: Mapping[str, Any], name: str, default: str | None) -> str:
    text = given.get(name, default)
    if not isinstance(text, str):
        field = f"AgentLensEvent.{name}"
        raise InvalidValueError(f"{field} is JSON text, not {text!r:.80}.", field=field)
    return text


def _any_link(_: str, row: Row, prev_hash: str) -> None:
    """Keep the hashes of a row as they are."""
