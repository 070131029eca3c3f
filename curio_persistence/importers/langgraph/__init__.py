"""Checkpoints of LangGraph in SQLite: the messages of each thread, as its newest one has them."""

from __future__ import annotations

from collections.abc import Generator

from curio_persistence.importers.common.sqlite_tables import Database
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.langgraph.threads import ThreadReader
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.databases import database_source
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.records import nowhere

_OF_BOTH = {"thread_id", "checkpoint_ns", "checkpoint_id"}


def _is_ours(database: Database) -> bool:
    tables = (database.tables.get(name, set()) for name in ("checkpoints", "writes"))
    return all(columns >= _OF_BOTH for columns in tables)


def _read(
    database: Database, file: SessionFile, context: SessionContext
) -> Generator[ImportedRecord, None, bool]:
    settled = True
    for (thread,) in database.rows("SELECT DISTINCT thread_id FROM checkpoints ORDER BY 1"):
        reader = ThreadReader(database, str(thread), file, context)
        yield from reader.records()
        settled &= not reader.is_live
    return settled


SOURCE = database_source("langgraph", nowhere, _is_ours, _read)
