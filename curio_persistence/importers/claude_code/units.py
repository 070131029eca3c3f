"""The files that tell one session: its transcript, and those of the agents that it started."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile, beginning

_EDGE = 1 << 16
"""Bytes at the beginning and the end of a transcript that are searched for times."""
_TIME = re.compile(rb'"timestamp":\s*"([^"]{10,40})"')
_SESSION = re.compile(rb'"sessionId":\s*"([^"\\]{1,200})"')
_BEGINNING = b'{"type":"file-history-snapshot"'


@dataclass(slots=True)
class SessionFiles:
    """The files of a session; `main` is None where only files of its agents are left."""

    session_id: str
    main: SessionFile | None = None
    agents: list[SessionFile] = field(default_factory=list)

    @property
    def files(self) -> list[SessionFile]:
        return [*([self.main] if self.main else ()), *self.agents]

    def age(self) -> tuple[bytes, bool, bytes, str]:
        """Return a sort key that puts an original before the sessions that copied its entries.

        Both begin at the same time. Only an original begins with the state of the program, and a
        copy ends later.
        """
        path = self.files[0].path
        first, last = times_in(path)
        return first, not beginning(path, _EDGE).startswith(_BEGINNING), last, self.session_id


def sessions_in(context: SessionContext) -> Iterator[SessionFiles]:
    """Yield the sessions that are new or have changed, oldest first.

    A session that goes on with another one's entries begins as that one does, and is younger.
    """
    units: dict[tuple[Path, str], SessionFiles] = {}
    agents = defaultdict(list)
    for file in context.files():
        folder, session_id = _session_of(file)
        if file.path.name.startswith("agent-"):
            agents[folder, session_id].append(file)
        else:
            units[folder, session_id] = SessionFiles(session_id, file)
    for key, some in agents.items():
        units.setdefault(key, SessionFiles(key[1])).agents += some
    changed = [unit for unit in units.values() if not context.is_read(unit.files)]
    yield from sorted(changed, key=SessionFiles.age)


def _session_of(file: SessionFile) -> tuple[Path, str]:
    """Return the folder of the project, and the session: in the path, or in the file."""
    path = file.path
    if "subagents" in path.parts:
        at = len(path.parts) - 1 - path.parts[::-1].index("subagents")
        session = Path(*path.parts[:at])
        return session.parent, session.name
    if path.name.startswith("agent-") and (found := _SESSION.search(beginning(path, _EDGE))):
        return path.parent, found[1].decode("utf-8", "replace")
    return path.parent, path.stem


def times_in(path: Path) -> tuple[bytes, bytes]:
    """Return the first and the last time that a transcript tells, as they are written."""
    try:
        with path.open("rb") as file:
            first = _TIME.search(file.read(_EDGE))
            file.seek(max(0, path.stat().st_size - _EDGE))
            last = _TIME.findall(file.read(_EDGE))
    except OSError:
        return b"", b""
    return (first[1] if first else b""), (last[-1] if last else b"")
