"""The frame of a reader of traces: the rows of all files, brought together by trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from curio_persistence.errors import ConfigurationError
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.common.sqlite_tables import Database
from curio_persistence.importers.sessions.databases import (
    Read,
    begins_as_database,
    is_database,
    read_databases,
)
from curio_persistence.importers.sessions.files import walk
from curio_persistence.importers.sessions.records import Found, SourceLocation
from curio_persistence.importers.traces.rows import Placed, Row, read_rows, suffix_of
from curio_persistence.importers.traces.spool import by_trace

if TYPE_CHECKING:
    from curio_persistence.importers.sessions.context import SessionContext
    from curio_persistence.importers.sessions.files import SessionFile

IsOurs = Callable[[Path], bool]
Holds = Callable[[Database], bool] | None
Split = Callable[[Row], Iterable[tuple[str, Row]]]
"""Yields the parts of a row, each with its trace's id; nothing for a row of an unknown kind."""
Records = Callable[["SessionContext", str, list[Placed]], Found]
"""Makes the records of a trace of all its parts."""

_NAMED = frozenset({".json", ".jsonl", ".ndjson", ".csv", ".parquet", ".db", ".sqlite", ".sqlite3"})
"""The endings of the files that are read in a folder."""

_FEW = 50
"""The files of a folder that are looked at to tell whose it is."""


def recognizer(is_ours: IsOurs, holds: Holds = None) -> Callable[[Path], bool]:
    """Return a function that tells whether a file, or one of the first in a folder, is ours.

    `is_ours` is asked about ordinary files, and `holds` about databases.
    """
    wanted = partial(_is_wanted, is_ours, holds)

    def recognize(path: Path) -> bool:
        if not path.is_dir():
            return wanted(path)
        for each in islice(walk(path, path, ReportBuilder(), _is_named_so), _FEW):
            with suppress(ConfigurationError):
                if wanted(each):
                    return True
        return False

    return recognize


def finder(is_ours: IsOurs, holds: Holds = None) -> Callable[[Path, ReportBuilder], Iterator[Path]]:
    """Return a function that yields the files in a place that are ours."""

    def find(root: Path, report: ReportBuilder) -> Iterator[Path]:
        def wanted(path: Path) -> bool:
            try:
                return _is_named_so(path) and _is_wanted(is_ours, holds, path)
            except ConfigurationError as error:
                report.problem(path.name, None, error)
                return False

        yield from walk(root, root, report, wanted) if root.is_dir() else [root]

    return find


def _is_named_so(path: Path) -> bool:
    return suffix_of(path) in _NAMED


def _is_wanted(is_ours: IsOurs, holds: Holds, path: Path) -> bool:
    return is_ours(path) or (holds is not None and is_database(path, holds))


def read_mixed(
    context: SessionContext,
    files: Sequence[SessionFile],
    holds: Callable[[Database], bool],
    read: Read,
    split: Split,
    records: Records,
) -> Found:
    """Yield the records of databases and of files of rows."""
    databases = [file for file in files if begins_as_database(file.path)]
    yield from read_databases(context, holds, read, databases)
    yield from read_traces(context, [f for f in files if f not in databases], split, records)


def read_traces(
    context: SessionContext, files: Sequence[SessionFile], split: Split, records: Records
) -> Found:
    """Yield the records of the traces in files of rows that changed since they were read."""
    changed = [file for file in files if not context.is_read([file])]
    for trace_id, rows in by_trace(_parts(context, changed, split)):
        yield from records(context, trace_id, rows)
    context.has_read(changed, settled=all(map(context.is_still, changed)))


def _parts(
    context: SessionContext, files: Sequence[SessionFile], split: Split
) -> Iterator[tuple[str, Row, SourceLocation]]:
    for file in files:
        for row, location in read_rows(file.path, file.name, context.report):
            is_known = False
            for trace_id, part in split(row):
                is_known = True
                yield trace_id, part, location
            if not is_known:
                context.skip("rows of an unknown kind")
