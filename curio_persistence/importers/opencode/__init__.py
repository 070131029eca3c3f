"""Sessions of OpenCode: the files in `storage/`, the database that came after, and exports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from curio_persistence.errors import PersistenceError
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.common.sqlite_tables import Database, open_database
from curio_persistence.importers.opencode.library import Library, Shelf
from curio_persistence.importers.opencode.newer_rows import NewerRows
from curio_persistence.importers.opencode.rows import Rows
from curio_persistence.importers.opencode.sessions import FamilyReader
from curio_persistence.importers.opencode.storage import Export, Storage
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.databases import is_database
from curio_persistence.importers.sessions.files import beginning, some_below, walk
from curio_persistence.importers.sessions.records import Found, SessionSource

_HEAD = 4_096
_DEPTH = 3
"""Below `storage`, a session is in `session/<project>/`."""


def _places(environment: Mapping[str, str], home: Path) -> Iterator[Path]:
    """Yield the folder of data: the same on every system."""
    if chosen := environment.get("OPENCODE_DATA_DIR"):
        yield Path(chosen)
        return
    data = environment.get("XDG_DATA_HOME")
    yield (Path(data) if data else home / ".local" / "share") / "opencode"


def _recognize(path: Path) -> bool:
    """Return whether a path is such a folder, its `storage`, a database, or an exported session."""
    if path.is_dir():
        return some_below(path, _is_wanted)
    return _is_rows(path) or _is_export(path)


def _is_rows(path: Path) -> bool:
    return is_database(path, _is_ours)


def _is_ours(database: Database) -> bool:
    return Rows.are_in(database) or NewerRows.are_in(database)


def _is_export(path: Path) -> bool:
    if path.suffix != ".json":
        return False
    head = beginning(path, _HEAD)
    return b'"info"' in head and b'"ses_' in head


def _find(root: Path, report: ReportBuilder) -> Iterator[Path]:
    if root.is_file():
        yield root
    else:
        yield from walk(root, root, report, _is_wanted)


def _is_wanted(path: Path) -> bool:
    if path.suffix == ".json":
        return path.parent.parent.name == "session" and path.name.startswith("ses_")
    return path.suffix == ".db" and _is_rows(path)


def _read(context: SessionContext) -> Found:
    """Yield the turns of all sessions, and the agents that they started."""
    with ExitStack() as opened:
        library = Library(context, list(_shelves(context, opened)))
        for family in library.families():
            if not context.is_read(family.files):
                reader = FamilyReader(family, library, context)
                yield from reader.records()
                context.has_read(family.files, settled=not reader.is_live)


def _shelves(context: SessionContext, opened: ExitStack) -> Iterator[Shelf]:
    """Yield what has sessions: databases first, for they have the newer state of a message."""
    files = list(context.files())
    for file in (each for each in files if each.path.suffix != ".json"):
        try:
            database = opened.enter_context(open_database(file.path, context.report))
            if not _is_ours(database):
                context.problem(file.name, None, "lacks the tables of opencode")
            for kind in (Rows, NewerRows):
                if kind.are_in(database):
                    yield kind(database, file, context)
        except (PersistenceError, OSError) as error:
            context.problem(file.name, None, error)
    for file in (each for each in files if each.path.suffix == ".json"):
        if _is_export(file.path):
            yield Export(file, context)
        elif len(Path(file.name).parts) >= _DEPTH:
            yield Storage(file, context)
        else:
            context.problem(file.name, None, "has its messages elsewhere: name the folder storage")


SOURCE = SessionSource("opencode", _places, _recognize, _find, _read)
