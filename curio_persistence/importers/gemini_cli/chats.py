"""The files of a session, and which of their lines count.

The older kind is one JSON document. The newer is a log: a line has a message, which is written
again as it grows, or changes the history. A session begun in one may go on in the other. What was
taken back or compressed stays a message here: it was paid all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from curio_persistence.errors import InvalidValueError
from curio_persistence.importers.common.json_lines import read_objects
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.gemini_cli.documents import read_document
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile, beginning
from curio_persistence.importers.sessions.places import Place, member, objects_in

_HEAD = 4_096
_SESSION = re.compile(rb'"sessionId"\s*:\s*"([^"\\]{1,200})"')
_IS_CHAT = re.compile(rb'"projectHash"|"\$set"|"messages"')
SNAPSHOT = "<state_snapshot>"
"""The beginning of the text that a history was compressed to."""


@dataclass(slots=True)
class Chat:
    """The files of one session: its own, and those of its agents."""

    session: str
    own: list[SessionFile] = field(default_factory=list)
    agents: list[SessionFile] = field(default_factory=list)

    @property
    def files(self) -> Sequence[SessionFile]:
        return (*self.own, *self.agents)


def session_in(path: Path) -> str | None:
    """Return the session that the beginning of a chat names; None if it is no chat."""
    head = beginning(path, _HEAD)
    found = _SESSION.search(head)
    if found and _IS_CHAT.search(head):
        return found[1].decode("utf-8", "replace")
    return None


def chats_of(files: Iterable[SessionFile]) -> Iterable[Chat]:
    """Return the sessions that files belong to."""
    chats: dict[str, Chat] = {}
    for file in files:
        folder = file.path.parent
        is_agent = folder.parent.name == "chats"
        session = folder.name if is_agent else session_in(file.path) or file.path.stem
        chat = chats.setdefault(session, Chat(session))
        (chat.agents if is_agent else chat.own).append(file)
    for chat in chats.values():
        chat.own.sort(key=lambda file: file.path.suffix)  # The document is the older one.
    return chats.values()


class Entry(NamedTuple):
    """One object of a file."""

    place: Place
    position: int
    value: dict[str, Any]


def entries(file: SessionFile, context: SessionContext, report: ReportBuilder) -> Iterator[Entry]:
    """Yield the lines of a log; of a document, its header, its messages, and what follows them."""
    if file.path.suffix == ".jsonl":
        grows = not context.is_still(file)
        for line, value in read_objects(file.path, file.name, report, grows=grows):
            yield Entry(Place(context, file.name, line), line, value)
        return
    number = 0
    try:
        for number, value in enumerate(read_document(file.path, report)):
            place = Place(context, file.name, what=f"message {number}")
            if isinstance(value, dict):
                yield Entry(place, number, value)
            else:
                report.problem(*place.location, "is no message")
    except InvalidValueError as error:
        report.problem(f"{file.name} message {number + 1}", None, error)
    except OSError as error:
        report.problem(file.name, None, f"cannot be read: {error.strerror}")


class History:
    """Facts from a first reading of the files: the lines that count, and those taken back.

    If a message has several lines, the last one counts. A message that only histories list is read
    where the first history lists it, with the content from the last.
    """

    def __init__(self, files: Sequence[SessionFile], context: SessionContext) -> None:
        self.header: dict[str, Any] = {}
        self.rewound: set[str] = set()
        self._seen: dict[str, None] = {}
        self._last: dict[str, tuple[int, int]] = {}
        self._listed: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}
        self._ends: list[int] = []
        for number, file in enumerate(files):
            end = 0
            for entry in entries(file, context, ReportBuilder()):
                end = entry.position
                self._take(number, entry)
            self._ends.append(end)
        for key in self._last.keys() & self._listed.keys():
            del self._listed[key]

    def counts(self, file: int, entry: Entry) -> bool:
        """Return whether no later line has the same message."""
        return self._last.get(key_of(entry)) == (file, entry.position)

    def first_listed(self, file: int, entry: Entry) -> Iterator[dict[str, Any]]:
        """Yield the messages that only histories have, and this line's the first of them."""
        for ident in listed_in(entry.value):
            place, message = self._listed.get(ident, (None, {}))
            if place == (file, entry.position):
                yield message

    def is_newer(self, file: int, entry: Entry) -> bool:
        """Return whether a line came after the first reading."""
        return entry.position > self._ends[file]

    def _take(self, file: int, entry: Entry) -> None:
        value = entry.value
        if "$rewindTo" in value:
            self._rewind(value["$rewindTo"])
        elif is_message(value):
            key = key_of(entry)
            self._seen.setdefault(key)
            self._last[key] = (file, entry.position)
        elif (changes := changes_in(value)) is not None:
            self.header |= {name: each for name, each in changes.items() if name != "messages"}
            for ident, message in listed_in(value).items():
                self._seen.setdefault(ident)
                first, _ = self._listed.get(ident, ((file, entry.position), None))
                self._listed[ident] = (first, message)

    def _rewind(self, target: Any) -> None:
        """Note that a message and all after it are taken back; all, if there is none like it."""
        keys, target = list(self._seen), str(target)
        self.rewound.update(keys[keys.index(target) if target in self._seen else 0 :])


def changes_in(value: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a line tells of the session: the first one, or one that changes it."""
    changes = value.get("$set")
    if isinstance(changes, dict):
        return changes
    return value if "sessionId" in value else None


def listed_in(value: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the messages of the history that a line sets, by their ids."""
    return {
        str(message["id"]): message
        for message in objects_in(member(changes_in(value), "messages"))
        if is_message(message) and message.get("id")
    }


def is_message(value: dict[str, Any]) -> bool:
    return "type" in value and ("content" in value or "id" in value)


def key_of(entry: Entry) -> str:
    """Return the id of a message, or its place if it has none."""
    ident = entry.value.get("id")
    return str(ident) if ident else f"{entry.place.file}-{entry.position}"
