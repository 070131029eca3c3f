"""Sessions of OpenCode in files: its older `storage/`, and what `opencode export` wrote."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from curio_persistence.importers.common.folders import listed
from curio_persistence.importers.common.json_lines import read_object
from curio_persistence.importers.opencode.library import Item, Json, Session, Shelf, created_in
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.places import Place, member


def _session(ident: str, value: Json, state: SessionFile) -> Session:
    def text(name: str) -> str | None:
        found = value.get(name)
        return found if isinstance(found, str) else None

    return Session(
        ident,
        text("parentID"),
        created_in(value),
        text("title"),
        text("directory"),
        text("version"),
        state,
    )


class Storage(Shelf):
    """One session of the folder `storage/`, whose messages and parts have a file each."""

    def __init__(self, file: SessionFile, context: SessionContext) -> None:
        self._file, self._context = file, context
        self._root = file.path.parents[2]
        self._prefix = file.name.removesuffix(os.path.relpath(file.path, self._root))

    def sessions(self) -> Iterator[Session]:
        value = read_object(self._file.path, self._file.name, self._context.report)
        if value is not None:
            ident = self._file.path.stem
            yield _session(ident, value, self._state(ident))

    def _state(self, session: str) -> SessionFile:
        """Return the session's file as if it had all bytes of its messages and their parts."""
        size, changed = self._file.size, self._file.changed
        for message in self._files("message", session):
            for file in (message, *self._files("part", message.stem)):
                with suppress(OSError):
                    found = file.stat()
                    size, changed = size + found.st_size, max(changed, found.st_mtime)
        return self._file._replace(size=size, changed=changed)

    def messages(self, session: str) -> Iterator[tuple[int, str]]:
        for path in self._files("message", session):
            value = read_object(path, self._name(path), self._context.report)
            if value is not None:
                yield created_in(value), path.stem

    def message(self, session: str, ident: str) -> Item | None:
        return self._item(self._root / "message" / session / f"{ident}.json")

    def parts(self, message: str, besides: set[str]) -> Iterator[Item]:
        for path in self._files("part", message):
            item = None if path.stem in besides else self._item(path)
            if item is not None:
                yield item

    def _files(self, kind: str, owner: str) -> list[Path]:
        folder = self._root / kind / owner
        if not folder.is_dir() or folder.resolve() != self._root.resolve() / kind / owner:
            return []  # A link may lead anywhere.
        entries = listed(folder, self._root, self._context.report).values()
        return [Path(entry.path) for entry in entries if entry.name.endswith(".json")]

    def _item(self, path: Path) -> Item | None:
        name = self._name(path)
        value = read_object(path, name, self._context.report)
        return None if value is None else Item(path.stem, value, Place(self._context, name))

    def _name(self, path: Path) -> str:
        return self._prefix + os.path.relpath(path, self._root)


class Export(Shelf):
    """The output of `opencode export`: one session with its messages."""

    def __init__(self, file: SessionFile, context: SessionContext) -> None:
        self._file, self._context = file, context
        self._value = read_object(file.path, file.name, context.report) or {}

    def sessions(self) -> Iterator[Session]:
        info = self._value.get("info")
        if isinstance(info, dict) and isinstance(info.get("id"), str):
            yield _session(info["id"], info, self._file)
        elif self._value:
            self._context.problem(self._file.name, None, "is no session of OpenCode")

    def messages(self, session: str) -> Iterable[tuple[int, str]]:
        return [(created_in(each["info"]), ident) for ident, each in self._messages()]

    def message(self, session: str, ident: str) -> Item | None:
        found = dict(self._messages()).get(ident)
        return None if found is None else self._item(ident, found["info"])

    def parts(self, message: str, besides: set[str]) -> Iterator[Item]:
        found = member(dict(self._messages()).get(message), "parts")
        for number, part in enumerate(found if isinstance(found, list) else (), start=1):
            if isinstance(part, dict):
                ident = str(part.get("id") or f"{message}-{number}")
                if ident not in besides:
                    yield self._item(ident, part)

    def _messages(self) -> Iterator[tuple[str, Json]]:
        messages = self._value.get("messages")
        for each in messages if isinstance(messages, list) else ():
            ident = member(each, "info", "id")
            if isinstance(ident, str):
                yield ident, each

    def _item(self, ident: str, value: Any) -> Item:
        return Item(ident, value, Place(self._context, self._file.name, what=ident))
