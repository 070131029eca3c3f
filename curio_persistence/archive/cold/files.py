"""The files of an archive on this machine: those of a directory where they are, others fetched."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Condition

from curio_persistence.archive.delta_log import ArchivedFile
from curio_persistence.archive.files import check, fetched
from curio_persistence.archive.scratch import (
    ScratchFolder,
    remove_abandoned,
    telling_of_scratch,
)
from curio_persistence.concurrency import forking
from curio_persistence.places import Place

ROOM = 2 << 30
"""The bytes that fetched files take at most, besides those that a query is reading."""
_AT_ONCE = 8
"""The files that are fetched at the same time."""
_PATTERN = re.compile("[*?[]")
"""DuckDB takes a path with one of these for the pattern of several paths."""


class LocalFiles(forking.Forkable):
    """Files of an archive by their names; what was fetched is deleted when this is closed.

    Each file is compared with its hash once. The texts of deleted runs would stay in a cache that
    outlives the process, so there is none; the child of a fork fetches its own.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self.start_again()
        forking.follow(self)
        remove_abandoned()

    def start_again(self) -> None:
        """Know no file."""
        self._folder: ScratchFolder | None = None
        self._known: dict[str, Path] = {}
        """The checked files, in the order of their last use."""
        self._in_use: Counter[str] = Counter()
        self._fetching: set[str] = set()
        self._change = Condition()

    @contextmanager
    def held(self, folder: str, files: Sequence[ArchivedFile]) -> Iterator[list[str]]:
        """Provide the paths of files, which stay until the end of the block."""
        names = [f"{folder}/{file.path}" for file in files]
        in_use = self._in_use  # After a fork there is another one.
        with self._change:
            in_use.update(names)
        try:
            yield [str(path) for path in self._paths(folder, files)]
        finally:
            with self._change:
                in_use.subtract(names)
                self._make_room()

    def close(self) -> None:
        """Delete what was fetched."""
        with self._change:
            self._known.clear()
            if self._folder is not None:
                self._folder.remove()
                self._folder = None

    def _paths(self, folder: str, files: Sequence[ArchivedFile]) -> list[Path]:
        """Return where files are; several are fetched at the same time."""
        with self._change:
            known = [self._known_path(f"{folder}/{file.path}") for file in files]
        unknown = [file for file, path in zip(files, known, strict=True) if path is None]
        if not unknown:
            return [path for path in known if path is not None]
        with ThreadPoolExecutor(_AT_ONCE, "curio-archive") as pool:
            found = pool.map(partial(self._path, folder), unknown)
            return [path or next(found) for path in known]

    def _known_path(self, name: str) -> Path | None:
        """Return where a file is that was checked, unless another program has deleted it."""
        path = self._known.pop(name, None)
        if path is None or not path.exists():
            return None
        self._known[name] = path
        return path

    def _path(self, folder: str, file: ArchivedFile) -> Path:
        """Return where a file is; of several threads one fetches it."""
        name = f"{folder}/{file.path}"
        with self._change:
            self._change.wait_for(lambda: name not in self._fetching)
            if known := self._known_path(name):
                return known
            self._fetching.add(name)
        try:
            path = self._checked_in_place(folder, file) or self._fetched(folder, file)
            with self._change:
                self._known[name] = path
        finally:
            with self._change:
                self._fetching.discard(name)
                self._change.notify_all()
        return path

    def _checked_in_place(self, folder: str, file: ArchivedFile) -> Path | None:
        path = self._place.local_path(f"{folder}/{file.path}")
        if path is None or _PATTERN.search(str(path)):
            return None
        check(self._place, folder, file, path)
        return path

    def _fetched(self, folder: str, file: ArchivedFile) -> Path:
        content = fetched(self._place, folder, file)
        with self._change:
            if self._folder is None:
                self._folder = ScratchFolder()
            path = Path(self._folder.name, folder, file.path)
        with telling_of_scratch():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.write_bytes(content)
            except OSError:
                path.unlink(missing_ok=True)  # What was written of it may fill the disk.
                raise
        return path

    def _make_room(self) -> None:
        """Delete the fetched files that were not used for longest."""
        if self._folder is None:
            return
        own = Path(self._folder.name)
        sizes = {
            name: path.stat().st_size
            for name, path in self._known.items()
            if path.is_relative_to(own) and path.exists()
        }
        excess = sum(sizes.values()) - ROOM
        for name, size in sizes.items():
            if excess <= 0:
                return
            if not self._in_use[name]:
                with suppress(OSError):
                    self._known.pop(name).unlink()
                excess -= size
