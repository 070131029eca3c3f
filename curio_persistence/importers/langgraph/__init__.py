"""Checkpoints of LangGraph in SQLite: the messages of each thread, as its newest one has them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path

from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.common.sqlite_tables import Database
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.langgraph.threads import ThreadReader
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.databases import (
    find_databases,
    holds_database,
    read_databases,
)
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.records import Found, SessionSource

_OF_BOTH = {"thread_id", "checkpoint_ns", "checkpoint_id"}


def places(environment: Mapping[str, str], home: Path) -> Iterator[Path]:
    """Yield nothing: each program that uses LangGraph names a file of its own."""
    yield from ()


def recognize(path: Path) -> bool:
    """Return whether a path is such a database, or a folder with one."""
    return holds_database(path, _is_ours)


def _is_ours(database: Database) -> bool:
    tables = (database.tables.get(name, set()) for name in ("checkpoints", "writes"))
    return all(columns >= _OF_BOTH for columns in tables)


def _find(root: Path, report: ReportBuilder) -> Iterator[Path]:
    return find_databases(root, report, _is_ours)


def read(paths: Sequence[Path], context: SessionContext) -> Found:
    """Yield the turns of all threads."""
    return read_databases(context, _is_ours, _read)


def _read(
    database: Database, file: SessionFile, context: SessionContext
) -> Generator[ImportedRecord, None, bool]:
    settled = True
    for (thread,) in database.rows("SELECT DISTINCT thread_id FROM checkpoints ORDER BY 1"):
        reader = ThreadReader(database, str(thread), file, context)
        yield from reader.records()
        settled &= not reader.is_live
    return settled


SOURCE = SessionSource("langgraph", places, recognize, _find, read)
