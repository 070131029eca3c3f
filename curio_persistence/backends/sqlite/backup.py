"""Copies of a whole SQLite file, made while others write, and files made from them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from shlex import quote

from curio_persistence.atomic_files import new_file
from curio_persistence.backends.sql import migrations
from curio_persistence.backends.sql.backup_files import SQLITE, check_kind
from curio_persistence.backends.sqlite.driver import Connection
from curio_persistence.backends.sqlite.file import DRIVER_ERRORS
from curio_persistence.backends.sqlite.streams import SQLiteStreams
from curio_persistence.concurrency.fair_lock import Ticket
from curio_persistence.errors import (
    CorruptDatabaseError,
    InvalidValueError,
    StorageFullError,
    UnsupportedError,
)
from curio_persistence.progress import Progress

_PAGES = 1_000
"""Pages that are copied at a time; between two times the caller is told, and may be interrupted."""
_LOGS = ("-wal", "-journal")


class SQLiteBackup(SQLiteStreams):
    """The part of a SQLite store that makes backups."""

    backup_ending = ".db"

    @property
    def backup_name(self) -> str:
        return "memory" if self._in_memory else self._path.stem

    def back_up(self, path: Path, progress: Progress | None = None) -> None:
        self.check_outside("backup()")

        def told(status: int, remaining: int, total: int) -> None:
            if progress is not None:
                progress(total - remaining, total)

        try:
            with self._fixed() as source, closing(sqlite3.connect(path)) as copy:
                # What is not complete is never used: nothing of it has to survive a crash.
                copy.execute("PRAGMA journal_mode = OFF")
                copy.execute("PRAGMA synchronous = OFF")
                source.backup(copy, pages=_PAGES, progress=told)
        except DRIVER_ERRORS as error:
            # The source is only read, so that it is the other disk which is full.
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise StorageFullError(
                    f"{path.parent} has no room for a backup of {self.location}. Free some space "
                    "there, and begin again."
                ) from error
            raise self._translate(error) from error

    @contextmanager
    def _fixed(self) -> Iterator[Connection]:
        """Yield a connection that sees the database as it is now.

        It is read in an open transaction: without one, SQLite would begin the copy again after
        each write of another connection, and never end beside a busy writer. A fork waits for it.
        """
        if not self._in_memory:
            with self._own_reader() as reader, reader.lock:
                self._fix_state(reader, "a backup")
                yield self._connection(reader)
            return
        lock, ticket = self._lock, Ticket()
        try:
            self._acquire(ticket)
            yield self._writer or self._open_writer()
        finally:
            lock.release(ticket)
            lock.wake()

    def check_backup(self, path: Path, *, deep: bool = False) -> None:
        check_kind(path, SQLITE)
        check = "integrity_check" if deep else "quick_check"
        # Immutable: nothing is made beside the file.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as copy:
            try:
                [(said,)] = copy.execute(f"PRAGMA {check}(1)")
                ours = copy.execute(
                    "SELECT 1 FROM sqlite_master WHERE name = ?", (migrations.MIGRATIONS_TABLE,)
                ).fetchall()
            except DRIVER_ERRORS as error:
                said, ours = str(error), []
        if said != "ok":
            raise CorruptDatabaseError(f"{path} is damaged: {said}.")
        if not ours:
            raise InvalidValueError(
                f"{path} is a SQLite database of another program: name another file.",
                field="source",
            )

    def restore_backup(self, path: Path) -> None:
        from shutil import copyfile  # On use: only backups need it.

        if self._in_memory:
            raise UnsupportedError("A backup is restored into a file: name one that is not there.")
        _refuse_in_use(path)
        self.check_backup(path)
        with suppress(OSError):  # Otherwise the next line tells.
            self._file.parent.mkdir(parents=True, exist_ok=True)
        with new_file(self._file) as draft:
            self._refuse_old_logs()
            copyfile(path, draft)
            _refuse_in_use(path)  # A program may have begun to write meanwhile.
            self.check_backup(draft, deep=True)

    def _refuse_old_logs(self) -> None:
        for end in _LOGS:
            if (left := Path(f"{self._file}{end}")).exists():
                raise InvalidValueError(
                    f"{left} belongs to a database that is gone, and SQLite would write it into "
                    "the restored one: move it away first.",
                    field="path",
                )


def _refuse_in_use(path: Path) -> None:
    """Refuse a file with a log: the file alone lacks what is in that."""
    for end in _LOGS:
        log = Path(f"{path}{end}")
        if log.exists() and log.stat().st_size:
            raise InvalidValueError(
                f"{path} is in use, or was not closed: a part of it is in {log.name}. Restore a "
                "backup of it instead: curio-persistence backup copy.db --db-path "
                f"{quote(str(path))}",
                field="source",
            )
