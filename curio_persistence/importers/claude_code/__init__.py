"""Sessions of Claude Code: the transcripts in its folder `projects`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from curio_persistence.importers.claude_code.session import SessionReader
from curio_persistence.importers.claude_code.units import SessionFiles, sessions_in
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import walk
from curio_persistence.importers.sessions.records import Found, SessionSource

_PROJECTS = "projects"
_NO_TRANSCRIPTS = {"journal.jsonl", "history.jsonl"}
_LOOKED_AT = 30
"""Lines, and files, that are looked at to recognize a transcript."""
_LONG = 1 << 20


def _places(environment: Mapping[str, str], home: Path) -> Iterator[Path]:
    if chosen := environment.get("CLAUDE_CONFIG_DIR"):
        folders = [Path(each).expanduser() for each in chosen.split(",") if each]
    else:
        folders = [home / ".claude", home / ".config" / "claude"]
    yield from (folder / _PROJECTS for folder in folders)


def _find(root: Path, report: ReportBuilder) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    projects = root / _PROJECTS
    if projects.is_dir() and not projects.is_symlink():
        yield from walk(projects, root, report, _is_transcript)
    else:
        wanted = _is_transcript if root.name == _PROJECTS else _seems_transcript
        yield from walk(root, root, report, wanted)


def _is_transcript(path: Path) -> bool:
    return (
        path.suffix == ".jsonl"
        and path.name not in _NO_TRANSCRIPTS
        and "tool-results" not in path.parts
        and (path.name.startswith("agent-") or "subagents" not in path.parts)
    )


def _seems_transcript(path: Path) -> bool:
    """Return whether a file of any folder can be ours: another tool's has objects, none of ours."""
    objects = [*_head(path)] if _is_transcript(path) else [{}]
    return not objects or any(map(_is_ours, objects))


def _recognize(path: Path) -> bool:
    if path.is_file():
        return path.suffix == ".jsonl" and any(map(_is_ours, _head(path)))
    return any(map(_recognize, islice(_find(path, ReportBuilder()), _LOOKED_AT)))


def _head(path: Path) -> Iterator[Any]:
    """Yield the values of the first lines; of long ones only those that are read at once."""
    try:
        with path.open("rb") as file:
            for _ in range(_LOOKED_AT):
                line = file.readline(_LONG)
                with suppress(ValueError, RecursionError):
                    yield json.loads(line)
                while len(line) == _LONG and not line.endswith(b"\n"):
                    line = file.readline(_LONG)
    except OSError:
        return


def _is_ours(entry: Any) -> bool:
    return isinstance(entry, dict) and {"uuid", "sessionId", "type"} <= entry.keys()


def _read(context: SessionContext) -> Found:
    for unit in sessions_in(context):
        yield from _read_session(unit, context)


def _read_session(unit: SessionFiles, context: SessionContext) -> Found:
    reader = SessionReader(unit, context)
    yield from reader.records()
    context.has_read(unit.files, settled=reader.settled)


SOURCE = SessionSource("claude-code", _places, _recognize, _find, _read)
