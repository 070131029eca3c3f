"""Chats of Gemini CLI: `~/.gemini/tmp/<project>/chats/`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.gemini_cli.chats import chats_of, session_in
from curio_persistence.importers.gemini_cli.turns import ChatReader
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import some_below, walk
from curio_persistence.importers.sessions.records import Found, SessionSource

_SUFFIXES = (".json", ".jsonl")


def _places(environment: Mapping[str, str], home: Path) -> Iterator[Path]:
    """Yield the folder in which each project has its chats."""
    chosen = environment.get("GEMINI_CLI_HOME")
    yield (Path(chosen) if chosen else home) / ".gemini" / "tmp"


def _recognize(path: Path) -> bool:
    """Return whether a path is a chat, or a folder with the chats of projects."""
    if path.is_file():
        return path.suffix in _SUFFIXES and session_in(path) is not None
    return some_below(path, _is_wanted)


def _is_wanted(path: Path) -> bool:
    """Return whether a file is a chat of a session, or one of its agents."""
    if path.suffix not in _SUFFIXES:
        return False
    if path.parent.name == "chats":
        return path.name.startswith("session-")
    return path.parent.parent.name == "chats"


def _find(root: Path, report: ReportBuilder) -> Iterator[Path]:
    if root.is_file():
        yield root
    else:
        yield from walk(root, root, report, _is_wanted)


def _read(context: SessionContext) -> Found:
    """Yield the turns of all sessions, and the agents that they started."""
    for chat in chats_of(context.files()):
        if not context.is_read(chat.files) and not context.is_received(chat.session):
            reader = ChatReader(chat, context)
            yield from reader.records()
            context.has_read(chat.files, settled=not reader.is_live)


SOURCE = SessionSource("gemini-cli", _places, _recognize, _find, _read)
