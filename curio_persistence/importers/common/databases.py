"""Import a database of another program: a SQLite file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from curio_persistence.errors import InvalidValueError
from curio_persistence.export.records import checked_persistence
from curio_persistence.importers.common.audit import audited
from curio_persistence.importers.common.folders import Source, source_path
from curio_persistence.importers.common.report import ImportReport, ReportBuilder

if TYPE_CHECKING:
    from curio_persistence.persistence import Persistence

Work = Callable[[Path, "Persistence", ReportBuilder], None]
"""Imports a file, and reports what it does."""


def import_database(
    kind: str, source: Source, persistence: Persistence | None, work: Work
) -> ImportReport:
    """Import a file; without a persistence, into one in memory that is forgotten: a dry run."""
    if persistence is not None:
        checked_persistence(persistence)
    path = source_path(source)
    if path.is_dir():
        raise InvalidValueError(f"{source} is a folder: name the database.", field="source")
    report = ReportBuilder()
    if persistence is not None:
        with audited(persistence, kind, path, report):
            work(path, persistence, report)
        return report.build(dry_run=False)
    from curio_persistence.persistence import SQLitePersistence

    with closing(SQLitePersistence(":memory:", search=False)) as forgotten:
        work(path, forgotten, report)
    return report.build(dry_run=True)
