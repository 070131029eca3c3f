"""Langfuse: traces of its API, and the observations that it exports as JSON lines or CSV."""

from __future__ import annotations

from pathlib import Path

from curio_persistence.importers.langfuse.parts import is_part, split
from curio_persistence.importers.langfuse.traces import records
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.records import Found, SessionSource, nowhere
from curio_persistence.importers.traces.reading import finder, read_traces, recognizer
from curio_persistence.importers.traces.rows import first_row


def _is_ours(path: Path) -> bool:
    return (row := first_row(path)) is not None and is_part(row)


def _read(context: SessionContext) -> Found:
    return read_traces(context, [*context.files()], split, records)


SOURCE = SessionSource("langfuse", nowhere, recognizer(_is_ours), finder(_is_ours), _read)
