"""Sessions of Codex: the rollouts in its folders `sessions` and `archived_sessions`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from curio_persistence.importers.codex.exec_json import ExecReader
from curio_persistence.importers.codex.rollouts import Rollouts, is_rollout, kind_of, thread_of
from curio_persistence.importers.codex.thread import ThreadReader
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import walk
from curio_persistence.importers.sessions.records import Found, SessionSource

_FOLDERS = ("sessions", "archived_sessions")
_OF_HOME = ("config.toml", "auth.json", "version.json", "history.jsonl")
"""Files beside these folders where Codex works. What else is there, is not looked at."""


def _places(environment: Mapping[str, str], home: Path) -> Iterator[Path]:
    chosen = environment.get("CODEX_HOME")
    yield Path(chosen).expanduser() if chosen else home / ".codex"


def _find(root: Path, report: ReportBuilder) -> Iterator[Path]:
    """Yield rollouts, and what `codex exec --json` printed into a file."""
    if root.is_file():
        yield root
        return
    is_home = any((root / name).exists() for name in _OF_HOME)
    folders = [root / name for name in _FOLDERS] if is_home else [root]
    for folder in folders:
        if folder.is_dir() and (folder == root or not folder.is_symlink()):
            yield from walk(folder, root, report, lambda path: kind_of(path) is not None)


def _recognize(path: Path) -> bool:
    if path.is_file():
        return kind_of(path) is not None
    return any(islice(_find(path, ReportBuilder()), 1))


def _read(context: SessionContext) -> Found:
    rollouts = Rollouts(context)
    for file in rollouts.changed():
        if context.is_received(thread_of(file.path)):
            continue
        reader = (
            ThreadReader(file, rollouts, context)
            if is_rollout(file.path)
            else ExecReader(file, context)
        )
        yield from reader.records()
        if not rollouts.is_packed(file):
            context.has_read([file], settled=reader.settled)


SOURCE = SessionSource("codex", _places, _recognize, _find, _read)
