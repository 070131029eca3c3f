"""Phoenix: its database, spans of its REST API, and data frames of spans as Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from curio_persistence.importers.phoenix.database import is_phoenix, read_database
from curio_persistence.importers.phoenix.spans import LISTS, is_span, records, split
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.records import Found, SessionSource
from curio_persistence.importers.traces.reading import finder, read_mixed, recognizer
from curio_persistence.importers.traces.rows import names_in


def _places(environment: Mapping[str, str], home: Path) -> Iterator[Path]:
    folder = environment.get("PHOENIX_WORKING_DIR")
    yield (Path(folder) if folder else home / ".phoenix") / "phoenix.db"


def _holds_spans(path: Path) -> bool:
    return is_span(names_in(path, *LISTS))


def _read(context: SessionContext) -> Found:
    return read_mixed(context, [*context.files()], is_phoenix, read_database, split, records)


SOURCE = SessionSource(
    "phoenix",
    _places,
    recognizer(_holds_spans, is_phoenix),
    finder(_holds_spans, is_phoenix),
    _read,
)
