"""The files of sessions: which there are, and which were read before and are unchanged since."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from curio_persistence.importers.common.folders import listed, shown
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.store.base import Store
from curio_persistence.tables import CONSUMERS
from curio_persistence.tables.consumers import position_row

if TYPE_CHECKING:
    from curio_persistence.persistence import Persistence

STILL_AFTER = 3600.0
"""Seconds without a change after which nothing more is expected in a file."""

_BUFFER = 1 << 20
_FOLDERS = 10_000
"""The folders that are looked into to recognize what a folder has."""
_AT_ONCE = 200
"""The states that one statement reads or writes."""


class SessionFile(NamedTuple):
    """A file as it was when the import began; only so many bytes of it are read."""

    path: Path
    name: str
    """The name in reports: the path below the place where it was found."""
    size: int
    changed: float
    """The time of its last change, in seconds since 1970."""

    @classmethod
    def at(cls, path: Path, root: Path) -> SessionFile:
        found = path.stat()
        name = path.name if path == root else shown(path, root)
        return cls(path, name, found.st_size, found.st_mtime)

    def is_still(self, now: float) -> bool:
        """Return whether nothing more is expected in the file."""
        return now - self.changed >= STILL_AFTER


def walk(
    folder: Path, root: Path, report: ReportBuilder, wanted: Callable[[Path], bool]
) -> Iterator[Path]:
    """Yield the wanted files below a folder, in order, and no pipes: these would block for ever.

    No link is followed: what one inside of the root leads to is found at its own place, and one
    that leads out is a problem.
    """
    for entry in listed(folder, root, report).values():
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from walk(path, root, report, wanted)
        elif entry.is_file(follow_symlinks=False) and wanted(path):
            yield path


def some_below(folder: Path, wanted: Callable[[Path], bool]) -> bool:
    """Return whether a file below a folder is wanted: in the nearest folders, so many at most."""
    waiting = deque([folder])
    for _ in range(_FOLDERS):
        if not waiting:
            return False
        with suppress(OSError), os.scandir(waiting.popleft()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False) and wanted(Path(entry.path)):
                    return True
    return False


def beginning(path: Path, most: int) -> bytes:
    """Return the first bytes of an ordinary file; of anything else, or if it fails, nothing."""
    try:
        if path.is_file():  # A pipe would block for ever.
            with path.open("rb") as file:
                return file.read(most)
    except OSError:
        pass
    return b""


class _State(NamedTuple):
    """A file when it was read. `again` is when it is to be read again, if it did not change."""

    size: int
    changed: float
    digest: str
    again: float | None = None


class _Read(NamedTuple):
    """Files that were read, when so many records had come."""

    at: int
    files: tuple[SessionFile, ...]
    how: str
    settled: bool


class FileStates:
    """Remembers in the database which files were read: by size and time, or by their hash.

    Each has a row among the positions of consumers. Nothing is written beside the files.
    """

    def __init__(self, source: str, persistence: Persistence | None, *, verify: bool) -> None:
        self._name = f"sessions {source}"
        self._store: Store | None = None if persistence is None else persistence._store
        self._verify = verify
        self._known: dict[str, _State] | None = None
        self._waiting: deque[_Read] = deque()  # Filled by the thread that reads.
        self._ready: list[_Read] = []

    @property
    def is_new(self) -> bool:
        """Return whether no file of this source was read before."""
        return not self._states()

    def is_read(self, files: Iterable[SessionFile], how: str, now: float) -> bool:
        """Return whether all of the files were read in the same way, and are unchanged."""
        return all(self._is_read(file, how, now) for file in files)

    def has_read(self, files: Collection[SessionFile], how: str, at: int, *, settled: bool) -> None:
        """Note that files were read: when `at` records are stored, this is stored as well."""
        if self._store is not None:
            self._waiting.append(_Read(at, tuple(files), how, settled))

    def stored(self, count: int | None, now: float) -> None:
        """Store what is known of the files whose records are among the first `count`; None: all."""
        if self._store is None:
            return
        while self._waiting and (count is None or self._waiting[0].at <= count):
            self._ready.append(self._waiting.popleft())
        if not self._ready or (count is not None and len(self._ready) < _AT_ONCE):
            return
        done, self._ready = self._ready, []
        states = {
            _key(file, read.how): _state_of(file, settled=read.settled, now=now)
            for read in done
            for file in read.files
        }
        self._states().update(states)
        at = datetime.fromtimestamp(now, UTC)
        rows = [
            position_row(self._name, key, json.dumps(state), at) for key, state in states.items()
        ]
        key, update = ("name", "table_name"), ("watermark", "updated_at")
        with self._store.transaction():
            for first in range(0, len(rows), _AT_ONCE):
                self._store.upsert(
                    CONSUMERS, rows[first : first + _AT_ONCE], key=key, update=update
                )

    def _is_read(self, file: SessionFile, how: str, now: float) -> bool:
        # A file that was read as a whole has nothing more to tell to a narrower import.
        states = self._states()
        state = states.get(_key(file, "")) or states.get(_key(file, how))
        if state is None or (state.size, state.changed) != (file.size, file.changed):
            return False
        if state.again is not None and now >= state.again:
            return False
        return not self._verify or state.digest == _digest(file) != ""

    def _states(self) -> dict[str, _State]:
        if self._known is None:
            self._known = {} if self._store is None else dict(self._stored(self._store))
        return self._known

    def _stored(self, store: Store) -> Iterator[tuple[str, _State]]:
        where = CONSUMERS.where(name=self._name)
        for key, state in store.select_columns(CONSUMERS, ("table_name", "watermark"), where):
            yield str(key), _State(*json.loads(str(state)))


def _key(file: SessionFile, how: str) -> str:
    from hashlib import sha256  # On use: slow to import.

    path = f"{how}\n{os.fspath(file.path)}"
    return sha256(path.encode("utf-8", "surrogateescape")).hexdigest()


def _state_of(file: SessionFile, *, settled: bool, now: float) -> _State:
    again = None if settled else max(now, file.changed + STILL_AFTER)
    return _State(file.size, file.changed, _digest(file), again)


def _digest(file: SessionFile) -> str:
    """Return the hash of the part of a file that was read; empty where it cannot be read now.

    It is empty as well for a session in a database, which is no file.
    """
    from hashlib import sha256

    digest, left = sha256(), file.size
    try:
        with file.path.open("rb") as opened:
            while left > 0 and (some := opened.read(min(left, _BUFFER))):
                digest.update(some)
                left -= len(some)
    except OSError:
        return ""
    return digest.hexdigest()
