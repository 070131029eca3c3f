"""Conversations of the OpenAI Agents SDK: `SQLiteSession` and `AdvancedSQLiteSession`."""

from __future__ import annotations

from collections.abc import Generator

from curio_persistence.importers.common.sqlite_tables import Database, quoted
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.openai_agents.items import SessionReader
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.databases import database_source
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.records import nowhere

_MESSAGES = {"id", "session_id", "message_data", "created_at"}


def _is_ours(database: Database) -> bool:
    return bool(_tables_of_messages(database))


def _tables_of_messages(database: Database) -> list[str]:
    """Return the tables of items, whose names can be chosen."""
    return [table for table, columns in database.tables.items() if columns >= _MESSAGES]


def _read(
    database: Database, file: SessionFile, context: SessionContext
) -> Generator[ImportedRecord, None, bool]:
    settled = True
    for table in _tables_of_messages(database):
        for (session,) in database.rows(f"SELECT DISTINCT session_id FROM {quoted(table)}"):
            reader = SessionReader(database, table, str(session), file, context)
            yield from reader.records()
            settled &= not reader.is_live
    return settled


SOURCE = database_source("openai-agents", nowhere, _is_ours, _read)
