"""Conversations of the OpenAI Agents SDK: `SQLiteSession` and `AdvancedSQLiteSession`."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path

from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.common.sqlite_tables import Database
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.openai_agents.items import SessionReader
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.databases import (
    find_databases,
    holds_database,
    read_databases,
)
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.records import Found, SessionSource

_MESSAGES = {"id", "session_id", "message_data", "created_at"}


def places(environment: Mapping[str, str], home: Path) -> Iterator[Path]:
    """Yield nothing: each program that uses the SDK names a file of its own."""
    yield from ()


def recognize(path: Path) -> bool:
    """Return whether a path is such a database, or a folder with one."""
    return holds_database(path, _is_ours)


def _is_ours(database: Database) -> bool:
    return bool(_tables_of_messages(database))


def _tables_of_messages(database: Database) -> list[str]:
    """Return the tables of items, whose names can be chosen."""
    return [table for table, columns in database.tables.items() if columns >= _MESSAGES]


def _find(root: Path, report: ReportBuilder) -> Iterator[Path]:
    return find_databases(root, report, _is_ours)


def read(paths: Sequence[Path], context: SessionContext) -> Found:
    """Yield the turns of all sessions."""
    return read_databases(context, _is_ours, _read)


def _read(
    database: Database, file: SessionFile, context: SessionContext
) -> Generator[ImportedRecord, None, bool]:
    settled = True
    for table in _tables_of_messages(database):
        for (session,) in database.rows(f'SELECT DISTINCT session_id FROM "{table}"'):
            reader = SessionReader(database, table, str(session), file, context)
            yield from reader.records()
            settled &= not reader.is_live
    return settled


SOURCE = SessionSource("openai-agents", places, recognize, _find, read)
