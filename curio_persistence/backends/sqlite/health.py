"""The check-up of a SQLite file."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from curio_persistence.backends.sql import health, migrations
from curio_persistence.backends.sqlite.connections import SQLiteConnections
from curio_persistence.store.base import HealthCheck

_ADVICE = "Stop writing, keep a copy of the file, and restore a backup or run `.recover`."
_WORTH_IT = 10_000_000
"""The empty bytes worth a warning, if they are half of the file or more."""
INCREMENTAL = 2
_LITTLE = 16_000_000
"""The free bytes of a disk below which writes soon fail: the log may need twice as much."""
_WAL = 2
"""The value of byte 18 in the header of a file in WAL mode."""


class FileSpace(NamedTuple):
    """The numbers of a file's pages."""

    page_size: int
    pages: int
    free: int
    auto_vacuum: int

    @property
    def size(self) -> int:
        return self.page_size * self.pages

    def check(self, path: Path) -> HealthCheck:
        """Check the space in the file. SQLite reuses empty pages before the file grows."""
        empty = self.page_size * self.free
        said = f"{health.size(self.size)}, of them {health.size(empty)} empty"
        if empty < _WORTH_IT or 2 * self.free < self.pages:
            return HealthCheck("space", "ok", said)
        how = "PRAGMA incremental_vacuum" if self.auto_vacuum == INCREMENTAL else "VACUUM"
        return HealthCheck(
            "space",
            "warning",
            said,
            "What is written next fills it. To give it back to the disk instead: "
            f"sqlite3 {shlex.quote(str(path))} '{how}'",
        )

    def disk_check(self, free: int, make_room: str) -> HealthCheck:
        """Check the free bytes of the file's disk.

        A VACUUM writes what is not empty twice: into the log, and into a temporary file, which may
        be on another disk.
        """
        needed = 2 * (self.size - self.page_size * self.free)
        said = f"{health.size(free)} free on its disk"
        if free >= max(needed, _LITTLE):
            return HealthCheck("disk", "ok", said)
        advice = f"Free some there, or make room inside the file: {make_room}"
        if free < _LITTLE:
            return HealthCheck("disk", "error", f"{said}: writes fail, or soon will", advice)
        said += f", less than the {health.size(needed)} that compact may need"
        return HealthCheck("disk", "warning", said, advice)


class SQLiteHealth(SQLiteConnections):
    """The part of a SQLite store that checks its health."""

    def diagnose(self, *, deep: bool = False) -> list[HealthCheck]:
        space = self._space()
        checks = [
            _engine_check(sqlite3.sqlite_version_info),
            migrations.check(self._catalog(), self.dialect),
            self._journal_check(),
            space.check(self._path),
            *self._disk_checks(space),
            health.indexes(self._names("index"), self.dialect),
            health.views(self._names("view")),
        ]
        if space.size > health.SMALL and not deep:
            return [*checks, *(health.unread(c, space.size) for c in ("integrity", "orphans"))]
        # The second compares the indexes with the rows as well, in three times the time.
        integrity = self._integrity_check("integrity_check" if deep else "quick_check")
        if integrity.level != "ok":
            return [*checks, integrity]
        checks += [integrity, self._orphans_check()]
        return [*checks, self._texts_check(_ADVICE)] if deep else checks

    def _journal_check(self) -> HealthCheck:
        mode = self._journal_mode()
        match mode:
            case "wal":
                return self._log.check()
            case "memory":
                return HealthCheck("journal", "ok", "none: it ends with the process")
        return HealthCheck(
            "journal",
            "warning",
            f"journal mode is {mode!r}: readers and writers block each other",
            "Keep the file on a local file system and open it once for writing.",
        )

    def _journal_mode(self) -> str:
        """Return the journal mode of the file, which an immutable connection does not know."""
        [(mode,)] = self._read("PRAGMA journal_mode", ())
        reader = self._mine.reader
        if reader is None or not reader.for_one_read:
            return str(mode)
        # Closing the file ends every lock that this process has on it: an immutable one has none.
        with self._file.open("rb") as file:
            return "wal" if file.read(19)[18] == _WAL else str(mode)

    def _disk_checks(self, space: FileSpace) -> Iterator[HealthCheck]:
        if not self._in_memory:
            import shutil  # Imported here: it takes 3 ms, and only a check-up needs it.

            free = shutil.disk_usage(self._file.resolve().parent).free
            yield space.disk_check(free, f"{self._command('delete')} --older-than 90d --dry-run")

    def _space(self) -> FileSpace:
        return FileSpace(
            *(
                self._read(f"PRAGMA {name}", ())[0][0]
                for name in ("page_size", "page_count", "freelist_count", "auto_vacuum")
            )
        )

    def _names(self, kind: str) -> set[str]:
        names = self._read("SELECT name FROM sqlite_master WHERE type = ?", (kind,))
        return {name for (name,) in names}

    def _integrity_check(self, check: str) -> HealthCheck:
        faults = [row[0] for row in self._read(f"PRAGMA {check}({health.NAMED})", ())]
        if faults == ["ok"]:
            return HealthCheck("integrity", "ok", f"{check} found no damage")
        return HealthCheck("integrity", "error", "; ".join(faults), _ADVICE)


def _engine_check(version: tuple[int, int, int]) -> HealthCheck:
    """Look for the WAL-reset fault (fixed in 3.51.3, 3.50.7 and 3.44.6)."""
    text = ".".join(map(str, version))
    fixed = (
        version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    )
    if fixed:
        return HealthCheck("engine", "ok", f"SQLite {text}")
    return HealthCheck(
        "engine",
        "warning",
        f"SQLite {text} can, rarely, damage a WAL database when two connections checkpoint in the "
        "same instant (all versions before 3.51.3, except 3.50.7 and 3.44.6)",
        "Use a Python linked with SQLite 3.51.3 or newer, keep backups, and let one process write.",
    )
