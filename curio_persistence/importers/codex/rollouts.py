"""The files of Codex: each thread has one, which may be compressed, or a copy in the archive."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from curio_persistence.importers.codex.items import Line, is_prompt, line_of
from curio_persistence.importers.common.json_lines import objects_in, read_objects
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile, beginning
from curio_persistence.importers.sessions.records import stable_id

SOURCE_NAME = "codex"
_NAME = re.compile(
    r"rollout-[\dT:-]*?-?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.jsonl(\.zst)?$"
)
_ARCHIVE = "archived_sessions"
_INDEX = "session_index.jsonl"
_NEEDS = (
    "is compressed: install zstandard (pip install 'curio-persistence[sessions]') to read such "
    "files"
)


class Parent(NamedTuple):
    """A thread that started another one."""

    session_id: str
    run_id: str | None


def is_rollout(path: Path) -> bool:
    return _NAME.search(path.name) is not None


def thread_of(path: Path) -> str:
    """Return the thread of a rollout; of another file, its name."""
    found = _NAME.search(path.name)
    return path.stem if found is None else found[1]


def kind_of(path: Path) -> str | None:
    """Return what a file is; None for files that are no sessions."""
    if is_rollout(path):
        return "rollout"
    if path.suffix != ".jsonl" or path.name in (_INDEX, "history.jsonl"):
        return None
    return "exec" if b'"thread.started"' in beginning(path, 200) else None


class Rollouts:
    """All files of an import; of a thread that has several, one counts."""

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._threads: dict[str, SessionFile] = {}
        self._others: list[SessionFile] = []
        self._packed: set[Path] = set()
        self._names = dict(self._read_names(context.roots))
        for file in sorted(context.files(), key=_preference):
            found = _NAME.search(file.path.name)
            if found is None:
                self._others.append(file)
            elif found[1] not in self._threads:
                self._threads[found[1]] = file
            else:
                is_archived = _ARCHIVE in file.path.parts
                context.skip("archived copy" if is_archived else "compressed copy")

    def changed(self) -> Iterator[SessionFile]:
        """Yield the files that are new or have changed, oldest first."""
        files = [*self._threads.values(), *self._others]
        changed = [file for file in files if not self._context.is_read([file])]
        yield from sorted(changed, key=lambda file: file.path.name)

    def title(self, thread_id: str) -> str | None:
        """Return the name that the user, or a model, gave to a thread."""
        return self._names.get(thread_id)

    def is_packed(self, file: SessionFile) -> bool:
        """Return whether a file could not be read because it is compressed."""
        return file.path in self._packed

    # --- lines ---------------------------------------------------------------------------------

    def lines(self, file: SessionFile) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the objects of a file, compressed or not, with their lines."""
        try:
            grows = not self._context.is_still(file)
            yield from _objects(file, self._context.report, grows=grows)
        except ImportError:
            if not self._packed:
                self._context.problem(file.name, None, _NEEDS)
            self._packed.add(file.path)
            self._context.skip("compressed files")

    # --- other threads -------------------------------------------------------------------------

    def parent(self, thread_id: str, at: Any) -> Parent | None:
        """Return the run that was going on in a thread at a time."""
        run: str | None = None
        count = 0
        for line in self._quietly(thread_id):
            if line.kind == "session_meta" and count == 0 and run is None:
                session = str(line.payload.get("session_id") or thread_id)
                if line.payload.get("parent_thread_id"):
                    run = stable_id(SOURCE_NAME, session, f"agent-{thread_id}")
                    return Parent(session, run)
                run = ""
            elif is_prompt(line):
                if run and at is not None and line.at is not None and line.at > at:
                    break
                count += 1
                run = stable_id(SOURCE_NAME, thread_id, f"turn-{count}")
        return None if run is None else Parent(thread_id, run or None)

    def contents(self, thread_id: str) -> set[int]:
        """Return hashes of what a thread has told, which a fork of it repeats."""
        return {line.hash for line in self._quietly(thread_id)}

    def _quietly(self, thread_id: str) -> Iterator[Line]:
        """Yield the lines of another thread; its problems are told when it is read itself."""
        file = self._threads.get(thread_id)
        if file is None:
            return
        try:
            for number, entry in _objects(file, ReportBuilder()):
                if (line := line_of(number, entry)) is not None:
                    yield line
        except ImportError:
            return

    def _read_names(self, roots: Sequence[Path]) -> Iterator[tuple[str, str]]:
        for root in roots:
            path = root / _INDEX
            if not path.is_file() or path.is_symlink():
                continue
            for _, entry in read_objects(path, path.name, ReportBuilder()):
                name, thread = entry.get("thread_name"), entry.get("id")
                if isinstance(name, str) and isinstance(thread, str):
                    yield thread, name


def _objects(
    file: SessionFile, report: ReportBuilder, *, grows: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a file with their lines; ImportError if it needs zstandard."""
    if file.path.suffix != ".zst":
        yield from read_objects(file.path, file.name, report, grows=grows)
        return
    import zstandard

    try:
        with file.path.open("rb") as packed:
            unpacking = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
            lines = cast("BinaryIO", io.BufferedReader(cast("Any", unpacking)))
            yield from objects_in(lines, file.name, report)
    except (OSError, zstandard.ZstdError) as error:
        report.problem(file.name, None, f"cannot be unpacked: {error}")


def _preference(file: SessionFile) -> tuple[bool, bool, str]:
    """Return what sorts the files of a thread: the first one counts."""
    parts = file.path.parts
    return _ARCHIVE in parts, file.path.suffix == ".zst", str(file.path)
