"""The entries of transcripts: what a line of the file is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from curio_persistence.importers.sessions.places import Place, an_object, objects_in, text_of

Entry = dict[str, Any]

STATE = frozenset(
    {
        *("file-history-snapshot", "queue-operation", "attachment", "last-prompt", "tag"),
        *("permission-mode", "mode", "agent-name", "agent-color", "agent-setting", "pr-link"),
        *("worktree-state", "content-replacement", "task-summary", "marble-origami-commit"),
        *("attribution-snapshot", "speculation-accept", "fork-context-ref", "bridge-session"),
    }
)
"""Types of entries with the state of the program, which tell nothing of the conversation."""

TITLES = {"summary": "summary", "ai-title": "aiTitle", "custom-title": "customTitle"}
"""Types of entries that name the session, and where."""

INTERRUPTED = "[Request interrupted by user"
_INJECTED = ("<local-command-", "<bash-", "<task-notification", "Caveat:")
_COMMAND = "<command-name>"
_NAME = re.compile(r"<command-name>(.*?)</command-name>", re.DOTALL)
_ARGS = re.compile(r"<command-args>(.*?)</command-args>", re.DOTALL)


def key_of(entry: Entry, place: Place) -> str:
    """Return the id of an entry; without one, its file and line."""
    uuid = entry.get("uuid")
    if isinstance(uuid, str) and uuid:
        return uuid
    return f"{PurePath(place.file).stem}:{place.line}"


def message_of(entry: Entry) -> Entry:
    """Return the message of an entry, or an empty one."""
    return an_object(entry.get("message"))


def blocks_of(entry: Entry) -> Iterator[Entry]:
    """Yield the content of an entry as blocks."""
    content = message_of(entry).get("content")
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    else:
        yield from objects_in(content)


def said_in(entry: Entry) -> str:
    """Return the text of an entry."""
    return text_of(message_of(entry).get("content"))


def is_injected(entry: Entry, text: str) -> bool:
    """Return whether the program, not a person, wrote what a user entry says."""
    return bool(entry.get("isMeta") or entry.get("isCompactSummary") or text.startswith(_INJECTED))


def is_command(text: str) -> bool:
    """Return whether a text is a command, which is a prompt only if a model answers."""
    return text.lstrip().startswith((_COMMAND, "<command-message>"))


def command_in(text: str) -> str:
    """Return a command as it was typed."""
    name, args = _NAME.search(text), _ARGS.search(text)
    return " ".join(found[1].strip() for found in (name, args) if found and found[1].strip())
