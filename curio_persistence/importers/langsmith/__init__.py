"""LangSmith: its runs, as JSON, JSON lines or Parquet. A trace of runs is a run here."""

from __future__ import annotations

from pathlib import Path

from curio_persistence.importers.langsmith.runs import is_run, records, split
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.records import Found, SessionSource, nowhere
from curio_persistence.importers.traces.reading import finder, read_traces, recognizer
from curio_persistence.importers.traces.rows import names_in


def _is_ours(path: Path) -> bool:
    return is_run(names_in(path, "runs"))


def _read(context: SessionContext) -> Found:
    return read_traces(context, [*context.files()], split, records)


SOURCE = SessionSource("langsmith", nowhere, recognizer(_is_ours), finder(_is_ours), _read)
