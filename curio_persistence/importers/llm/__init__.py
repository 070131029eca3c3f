"""The log of `llm`, Simon Willison's command line for language models: `logs.db`."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from itertools import chain
from pathlib import Path

from curio_persistence.importers.common.sqlite_tables import Database
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.llm.answers import records_of
from curio_persistence.importers.llm.responses import answers_in_responses
from curio_persistence.importers.llm.threads import answers_in_threads
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.databases import database_source
from curio_persistence.importers.sessions.files import SessionFile

_FOLDER, _FILE = "io.datasette.llm", "logs.db"


def _places(environment: Mapping[str, str], home: Path) -> Iterator[Path]:
    """Yield the places that `llm logs path` names, on every system."""
    if chosen := environment.get("LLM_USER_PATH"):
        yield Path(chosen) / _FILE
        return
    config = environment.get("XDG_CONFIG_HOME")
    yield (Path(config) if config else home / ".config") / _FOLDER / _FILE
    yield home / "Library" / "Application Support" / _FOLDER / _FILE
    yield home / "AppData" / "Roaming" / _FOLDER / _FILE


def _is_log(database: Database) -> bool:
    return {"model", "response_json", "datetime_utc"} <= database.tables.get("responses", set())


def _read(
    database: Database, file: SessionFile, context: SessionContext
) -> Generator[ImportedRecord, None, bool]:
    answers = chain(
        answers_in_responses(database, file, context), answers_in_threads(database, file, context)
    )
    yield from records_of(answers)
    return True  # An answer is stored when it is whole.


SOURCE = database_source("llm", _places, _is_log, _read)
