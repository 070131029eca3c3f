"""A SQLite file that an original Curio filled; see `sql.legacy`."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path

from curio_persistence.backends.sql.legacy import ASIDE, OldRow, Original
from curio_persistence.backends.sql.statements import Params
from curio_persistence.backends.sqlite.driver import Connection
from curio_persistence.backends.sqlite.store import SQLiteStore
from curio_persistence.errors import AccessDeniedError, PersistenceError, StorageFullError

_TEXT = partial(str, encoding="utf-8", errors="surrogateescape")


class SQLiteOriginal(Original, SQLiteStore):
    """The import in SQLite: it leaves a copy of the old file, and drops the old tables."""

    def _configure(self, connection: Connection) -> Connection:
        connection = super()._configure(connection)
        # What other tables reference by its name shall be the new table, and dropping the old one
        # shall not delete what references it.
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA legacy_alter_table = ON")
        return connection

    def _read(self, sql: str, params: Params) -> list[OldRow]:
        try:
            return super()._read(sql, params)
        except PersistenceError as error:
            if "Could not decode" not in str(error.__cause__):
                raise
        reader = self._mine.reader
        for connection in (self._writer, reader.connection if reader else None):
            if connection is not None:
                connection.text_factory = _TEXT
        return super()._read(sql, params)

    @contextmanager
    def replacing(self) -> Iterator[str]:
        copy = None
        try:
            with self.transaction(), self._copy_of_file() as copy:
                with self._old_ones_aside():
                    yield str(copy)
                for name in self._found:
                    self._write(f"DROP TABLE {name}{ASIDE}", ())
        except PersistenceError:
            with suppress(PersistenceError):
                if copy is not None and not self.is_imported():  # The commit failed.
                    copy.unlink(missing_ok=True)
            raise
        with suppress(PersistenceError):  # Another connection reads: the journal stays as it was.
            self._prepare_file()

    def _put_aside(self) -> None:
        for name in self._found:
            self._write(f"ALTER TABLE {name} RENAME TO {name}{ASIDE}", ())

    @contextmanager
    def _copy_of_file(self) -> Iterator[Path]:
        """Copy the file as it is now, under a temporary name until the block succeeds."""
        unfinished, copy = self._beside(".bak.unfinished"), self._free_name()
        with self._telling_of(unfinished):
            unfinished.unlink(missing_ok=True)  # A killed process left it behind.
        try:
            self._copy_file(unfinished)
            yield copy
            with self._telling_of(copy):
                unfinished.rename(copy)
        finally:
            unfinished.unlink(missing_ok=True)

    @contextmanager
    def _telling_of(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kind = StorageFullError if error.errno == errno.ENOSPC else AccessDeniedError
            raise kind(
                f"{self.location} was not imported: {path}, which is to keep the old one, cannot "
                f"be made ({error.strerror}). Check the rights of the folder, and the disk's room."
            ) from error

    def _copy_file(self, path: Path) -> None:
        with self._telling_of(path):
            # While still empty, it becomes as private as the file.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            from shutil import copymode  # On use: only an upgrade needs it.

            copymode(self._file, path)
        try:
            # By a reading connection: the writer's is inside the transaction.
            with (
                closing(self._driver_connect("mode=rw")) as source,
                closing(sqlite3.connect(path)) as copy,
            ):
                source.backup(copy)
        except sqlite3.Error as error:
            raise self._translate(error) from error

    def _free_name(self) -> Path:
        """Return the first free name of `.bak`, `.bak2`, `.bak3` and so on."""
        ends = (".bak" if number == 1 else f".bak{number}" for number in count(1))
        return next(path for end in ends if not (path := self._beside(end)).exists())

    def _beside(self, end: str) -> Path:
        return self._file.with_name(self._file.name + end)
