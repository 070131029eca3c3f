"""All sessions of an import, wherever they are kept: each message once, families together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.places import Place, member

Json = dict[str, Any]


class Item(NamedTuple):
    """A message or a part, with its id."""

    id: str
    value: Json
    place: Place


class Session(NamedTuple):
    """A session without its messages. `state` changes with every message and part."""

    id: str
    parent: str | None
    created: int
    title: str | None
    project: str | None
    version: str | None
    state: SessionFile

    def joined(self, other: Session | None) -> Session:
        """Return the session as another shelf has it, with a state that changes with either."""
        if other is None:
            return self
        size = self.state.size + other.state.size
        changed = max(self.state.changed, other.state.changed)
        return other._replace(state=other.state._replace(size=size, changed=changed))


class Shelf(ABC):
    """A database, or a file, with sessions."""

    @abstractmethod
    def sessions(self) -> Iterable[Session]:
        """Return the sessions."""

    @abstractmethod
    def messages(self, session: str) -> Iterable[tuple[int, str]]:
        """Return the times and the ids of a session's messages."""

    @abstractmethod
    def message(self, session: str, ident: str) -> Item | None:
        """Return a message; None, and a problem, if it cannot be read."""

    @abstractmethod
    def parts(self, message: str, besides: set[str]) -> Iterable[Item]:
        """Return the parts of a message, but not those with these ids."""


@dataclass(slots=True)
class Family:
    """A session, and those that its agents had."""

    root: Session
    children: list[Session] = field(default_factory=list)

    @property
    def files(self) -> Sequence[SessionFile]:
        return tuple(session.state for session in (self.root, *self.children))


class Library:
    """The sessions of some shelves. What two have in common is taken from the first."""

    def __init__(self, context: SessionContext, shelves: Sequence[Shelf]) -> None:
        self._context = context
        self._sessions: dict[str, Session] = {}
        self._shelves: dict[str, list[Shelf]] = {}
        for shelf in shelves:
            for session in shelf.sessions():
                self._sessions[session.id] = session.joined(self._sessions.get(session.id))
                self._shelves.setdefault(session.id, []).append(shelf)

    def families(self) -> Iterable[Family]:
        """Return the sessions that no other began, each with all that began below it."""
        families: dict[str, Family] = {}
        for session in sorted(
            self._sessions.values(), key=lambda each: (each.created, str(each.id))
        ):
            root = self._root(session)
            family = families.setdefault(root.id, Family(root))
            if root is not session:
                family.children.append(session)
        return families.values()

    def _root(self, session: Session) -> Session:
        seen: set[str] = set()
        while session.parent in self._sessions and session.id not in seen:
            seen.add(session.id)
            session = self._sessions[session.parent]
        return session

    def messages(self, session: Session) -> Iterator[tuple[Item, Iterable[Item]]]:
        """Yield the messages of a session in the order of time, each with its parts."""
        shelves: dict[str, list[Shelf]] = {}
        times: dict[str, int] = {}
        for shelf in self._shelves[session.id]:
            for created, ident in shelf.messages(session.id):
                times.setdefault(ident, created)
                shelves.setdefault(ident, []).append(shelf)
        self._context.skip("message in both", sum(len(each) > 1 for each in shelves.values()))
        originals = self._originals(session, min(times.values(), default=0))
        for ident in sorted(times, key=lambda each: (times[each], str(each))):
            message = shelves[ident][0].message(session.id, ident)
            if message is not None and _signature(message.value) in originals:
                self._context.skip("copied message")
            elif message is not None:
                yield message, _parts(ident, shelves[ident])

    def _originals(self, session: Session, first: int) -> set[str]:
        """Return what a fork may have copied: messages of older sessions, under other ids.

        A fork is the one kind of session that is younger than its first message.
        """
        if not 0 < first < session.created:
            return set()
        return {
            _signature(message.value)
            for older in self._sessions.values()
            if older.created < session.created
            for shelf in self._shelves[older.id]
            for created, ident in shelf.messages(older.id)
            if created < session.created and (message := shelf.message(older.id, ident))
        }


def _parts(message: str, shelves: Sequence[Shelf]) -> Iterator[Item]:
    seen: set[str] = set()
    for shelf in shelves:
        for part in shelf.parts(message, seen):
            yield part
            seen.add(part.id)


def _signature(message: Json) -> str:
    """Return what a message and its copies have in common."""
    times = message.get("time")
    return repr((message.get("role"), member(times, "created"), member(times, "completed")))


def created_in(value: Any) -> int:
    """Return the time of an object, in milliseconds."""
    created = member(value, "time", "created")
    return created if isinstance(created, int) else 0
