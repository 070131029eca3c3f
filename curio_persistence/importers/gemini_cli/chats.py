"""The files of a session, and which of their lines count.

The older kind is one JSON document. The newer is a log: a line has a message, which is written
again as it grows, or changes the history. A session begun in one may go on in the other. What was
taken back or compressed stays a message here: it was paid all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from curio_persistence.importers.common.json_lines import read_object, read_objects
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.places import Place

_HEAD = 4_096
_SESSION = re.compile(rb'"sessionId"\s*:\s*"([^"\\]{1,200})"')
_IS_CHAT = re.compile(rb'"projectHash"|"\$set"|"messages"')
SNAPSHOT = "<state_snapshot>"
"""With this begins what a compressed history is replaced by."""


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
    with suppress(OSError), path.open("rb") as file:
        head = file.read(_HEAD)
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
    """Yield the lines of a log; of a document, its header and then its messages."""
    if file.path.suffix == ".jsonl":
        for line, value in read_objects(file.path, file.name, report):
            yield Entry(Place(context, file.name, line), line, value)
        return
    header = read_object(file.path, file.name, report) or {}
    messages = header.pop("messages", None)
    yield Entry(Place(context, file.name), 0, header)
    for number, message in enumerate(messages if isinstance(messages, list) else [], start=1):
        place = Place(context, file.name, what=f"message {number}")
        if isinstance(message, dict):
            yield Entry(place, number, message)
        else:
            place.problem("is no message")


class History:
    """What a first reading of the files tells: which lines count, and what was taken back."""

    def __init__(self, files: Sequence[SessionFile], context: SessionContext) -> None:
        self.header: dict[str, Any] = {}
        self.rewound: set[str] = set()
        self._last: dict[str, tuple[int, int]] = {}
        self._ends: list[int] = []
        for number, file in enumerate(files):
            end = 0
            for entry in entries(file, context, ReportBuilder()):
                end = entry.position
                self._take(number, entry)
            self._ends.append(end)

    def counts(self, file: int, entry: Entry) -> bool:
        """Return whether no later line has the same message."""
        return self._last.get(key_of(entry)) == (file, entry.position)

    def is_newer(self, file: int, entry: Entry) -> bool:
        """Return whether a line came after the first reading."""
        return entry.position > self._ends[file]

    def has(self, message: dict[str, Any]) -> bool:
        """Return whether a message stands in a line of its own."""
        return message.get("id") in self._last

    def _take(self, file: int, entry: Entry) -> None:
        value = entry.value
        if "$rewindTo" in value:
            self._rewind(value["$rewindTo"])
        elif isinstance(changes := value.get("$set"), dict):
            self.header |= {name: each for name, each in changes.items() if name != "messages"}
        elif is_message(value):
            self._last[key_of(entry)] = (file, entry.position)
        elif "sessionId" in value:
            self.header |= value

    def _rewind(self, target: Any) -> None:
        """Note that a message and all after it are taken back."""
        keys = list(self._last)
        if target in self._last:
            self.rewound.update(keys[keys.index(target) :])


def is_message(value: dict[str, Any]) -> bool:
    return "type" in value and ("content" in value or "id" in value)


def key_of(entry: Entry) -> str:
    """Return the id of a message, or its place if it has none."""
    ident = entry.value.get("id")
    return str(ident) if ident else f"{entry.place.file}-{entry.position}"
