"""SQLite databases that hold sessions: finding them by their tables, and reading each."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from curio_persistence.errors import InvalidValueError, PersistenceError
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.common.sqlite_tables import Database, open_database
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.sessions.files import SessionFile, beginning, walk
from curio_persistence.importers.sessions.records import Found, SessionSource

if TYPE_CHECKING:
    from curio_persistence.importers.sessions.context import SessionContext

_MAGIC = b"SQLite format 3\0"
_BESIDE = ("-wal", "-shm", "-journal")

Places = Callable[[Mapping[str, str], Path], Iterable[Path]]
IsOurs = Callable[[Database], bool]
Read = Callable[[Database, SessionFile, "SessionContext"], Generator[ImportedRecord, None, bool]]
"""Yields the records of a database; returns whether nothing more is expected in its sessions."""


def is_database(path: Path, is_ours: IsOurs) -> bool:
    """Return whether a file is a SQLite database with the tables of a source."""
    if path.name.endswith(_BESIDE):
        return False
    with suppress(PersistenceError):
        if begins_as_database(path):
            with open_database(path) as database:
                return is_ours(database)
    return False


def begins_as_database(path: Path) -> bool:
    """Return whether a file begins like a SQLite database, damaged or not."""
    return beginning(path, len(_MAGIC)) == _MAGIC


def find_databases(root: Path, report: ReportBuilder, is_ours: IsOurs) -> Iterator[Path]:
    """Yield the databases of a source in a folder; a file is yielded without a look into it."""
    if root.is_dir():
        yield from walk(root, root, report, lambda path: is_database(path, is_ours))
    elif root.exists():
        yield root


def holds_database(path: Path, is_ours: IsOurs) -> bool:
    """Return whether a path is a database of a source, or a folder with one in it."""
    if not path.is_dir():
        return is_database(path, is_ours)
    with suppress(OSError):
        return any(is_database(each, is_ours) for each in path.iterdir())
    return False


def database_source(name: str, places: Places, is_ours: IsOurs, read: Read) -> SessionSource:
    """Return a source whose sessions are in SQLite databases."""
    return SessionSource(
        name,
        places,
        lambda path: holds_database(path, is_ours),
        lambda root, report: find_databases(root, report, is_ours),
        lambda context: read_databases(context, is_ours, read),
    )


def read_databases(
    context: SessionContext,
    is_ours: IsOurs,
    read: Read,
    among: Iterable[SessionFile] | None = None,
) -> Found:
    """Yield the records of all databases that changed; one that cannot be read is a problem."""
    for file in context.files() if among is None else among:
        files = (file, *_log_of(file))
        if context.is_read(files):
            continue
        try:
            with open_database(file.path, context.report) as database:
                if not is_ours(database):
                    raise InvalidValueError(f"lacks the tables of {context.source.name}")
                settled = yield from read(database, file, context)
        except (PersistenceError, OSError) as error:
            context.problem(file.name, None, error)
        else:
            context.has_read(files, settled=settled)


def _log_of(file: SessionFile) -> Sequence[SessionFile]:
    """Return the log in which SQLite keeps what is newer than the file."""
    path = file.path.with_name(f"{file.path.name}-wal")
    try:
        return (SessionFile.at(path, path),)
    except OSError:
        return ()
