"""The turns of a session of Gemini CLI, and the agents that its tools started."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.gemini_cli.chats import (
    SNAPSHOT,
    Chat,
    Entry,
    History,
    changes_in,
    entries,
    is_message,
    key_of,
)
from curio_persistence.importers.gemini_cli.messages import answer, notice
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.places import objects_in, text_of
from curio_persistence.importers.sessions.turns import Conversation, OpenTurn, Starter

_ROOT_NOTE = ".project_root"
_LONGEST_PATH = 4_096


class ChatReader:
    """Reads the files of one session."""

    def __init__(self, chat: Chat, context: SessionContext) -> None:
        self._chat, self._context = chat, context
        self._starters: dict[str, Starter] = {}
        self.is_live = False

    def records(self) -> Iterator[ImportedRecord]:
        """Yield the turns, and then the agents, those that an agent started after it."""
        yield from self._read(self._chat.own)
        for file in sorted(self._chat.agents, key=self._start):
            yield from self._read([file], file.path.stem)

    def _start(self, file: SessionFile) -> str:
        header = next(entries(file, self._context, ReportBuilder()), None)
        return "" if header is None else str(header.value.get("startTime"))

    def _read(
        self, files: Sequence[SessionFile], agent: str | None = None
    ) -> Iterator[ImportedRecord]:
        reading = _Reading(self._chat.session, files, self._context, self._starters, agent)
        yield from reading.records()
        self.is_live |= reading.is_live


class _Reading:
    """One reading of the files that tell of the same turns, or of one agent."""

    def __init__(
        self,
        session: str,
        files: Sequence[SessionFile],
        context: SessionContext,
        starters: dict[str, Starter],
        agent: str | None,
    ) -> None:
        self._files, self._context = files, context
        self._starters, self._agent = starters, agent
        self._history = History(files, context)
        told = {"project": _project(self._history.header, files)}
        if agent is None:
            told["title"] = self._history.header.get("summary")
        self._conversation = Conversation(context, session, told)
        self._turn: OpenTurn | None = None
        self._held: list[ImportedRecord] = []
        self._is_rewound = False
        self.is_live = False

    def records(self) -> Iterator[ImportedRecord]:
        """Yield the records; those of the last message are held back, for it may be growing."""
        entry = None
        for number, file in enumerate(self._files):
            for entry in entries(file, self._context, self._context.report):
                if not self._history.is_newer(number, entry):
                    yield from self._read(number, entry)
        if self._turn is not None and entry is not None:
            self.is_live = self._context.is_live(self._files[-1], self._turn.last_at)
            if not self.is_live:
                yield from self._held
            yield from self._turn.end(entry.place, is_last=True, is_live=self.is_live)

    def _read(self, file: int, entry: Entry) -> Iterator[ImportedRecord]:
        value = entry.value
        if is_message(value):
            if self._history.counts(file, entry):
                yield from self._message(entry)
            else:
                self._context.skip("message written again")
        elif changes_in(value) is not None:
            for message in self._history.first_listed(file, entry):
                yield from self._listed(entry._replace(value=message))
        elif "$rewindTo" not in value:
            self._context.skip(f"unknown: {next(iter(value), 'empty object')}"[:80])

    def _listed(self, entry: Entry) -> Iterator[ImportedRecord]:
        """Take a message that only a new history has: the summary of the old, or any other."""
        text = text_of(entry.value.get("content"))
        if not text.startswith(SNAPSHOT):
            yield from self._message(entry)
        elif self._turn is not None:
            at = entry.place.time(entry.value.get("timestamp"))
            data = {"summary": text}
            yield from self._turn.event(key_of(entry), "compaction", at, data, entry.place)

    def _message(self, entry: Entry) -> Iterator[ImportedRecord]:
        yield from self._held
        self._held = []
        value, place = entry.value, entry.place
        at = place.time(value.get("timestamp"))
        if value["type"] == "user":
            yield from self._begin(entry)
        elif self._turn is None:
            self._context.skip("before the first prompt")
        elif value["type"] == "gemini":
            self._turn.cancelled = self._is_rewound
            self._note_agents(value)
            self._held = list(answer(self._turn, key_of(entry), value, at, place))
        else:
            yield from notice(self._turn, key_of(entry), value, at, place)

    def _begin(self, entry: Entry) -> Iterator[ImportedRecord]:
        """Begin a turn; an agent is one run, however often it is asked."""
        text = text_of(entry.value.get("content"))
        at = entry.place.time(entry.value.get("timestamp"))
        if self._agent is not None and self._turn is not None:
            yield from self._turn.event(
                key_of(entry), "user_message", at, {"text": text}, entry.place
            )
            return
        if self._turn is not None:
            yield from self._turn.end(entry.place, is_last=False, is_live=False)
        key = key_of(entry)
        self._is_rewound = key in self._history.rewound
        if self._agent is None:
            self._turn = OpenTurn(self._conversation, key, at, text)
        else:
            agent, parent = self._starters.get(self._agent, Starter())
            key = f"agent-{self._agent}"
            self._turn = OpenTurn(self._conversation, key, at, text, agent=agent, parent=parent)
        if self._is_rewound:
            self._turn.cancel()

    def _note_agents(self, message: dict[str, Any]) -> None:
        for call in objects_in(message.get("toolCalls")):
            agent = call.get("agentId")
            if isinstance(agent, str) and self._turn is not None:
                self._starters[agent] = Starter(str(call.get("name") or ""), self._turn.run_id)


def _project(header: dict[str, Any], files: Sequence[SessionFile]) -> str | None:
    """Return the project's folder; where that is not told, the name that Gemini CLI gave it."""
    directories = header.get("directories")
    if isinstance(directories, list) and directories and isinstance(directories[0], str):
        return directories[0]
    for folder in files[0].path.parents if files else ():
        if folder.name == "chats":
            is_inside = "chats" in Path(files[0].name).parts
            return (_note(folder.parent) if is_inside else None) or folder.parent.name
    return None


def _note(folder: Path) -> str | None:
    """Return the project's folder from the file in which newer versions keep it."""
    path = folder / _ROOT_NOTE
    with suppress(OSError, UnicodeDecodeError):
        if path.is_file() and not path.is_symlink():
            with path.open(encoding="utf-8") as note:
                return note.read(_LONGEST_PATH).strip() or None
    return None
