"""Our own exports: JSON lines, CSV, Parquet or Arrow files as `export_records` writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, fields
from functools import cache
from io import TextIOBase
from typing import TYPE_CHECKING, Any, BinaryIO

from curio_persistence.capabilities.transfers.kinds import KINDS
from curio_persistence.errors import InvalidValueError
from curio_persistence.export.records import checked_persistence
from curio_persistence.importers.common.audit import audited
from curio_persistence.importers.common.folders import Source, source_path
from curio_persistence.importers.common.report import ImportReport, ReportBuilder
from curio_persistence.importers.exports.files import read_records, read_stream
from curio_persistence.importers.exports.values import ParsedRecord
from curio_persistence.progress import Progress
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import RUNS_AND_STUBS

if TYPE_CHECKING:
    from curio_persistence.capabilities.transfers.deduplication import Deduplicator
    from curio_persistence.persistence import Persistence

_BATCH = 1_000
_BATCH_LETTERS = 16 << 20
"""Characters of text in the records that are stored together."""


def import_records(
    source: Source | BinaryIO,
    persistence: Persistence | None,
    *,
    progress: Progress | None = None,
) -> ImportReport:
    """Import an export: a file, or a folder; without a persistence, only check it.

    JSON lines may be packed (`.jsonl.gz`), or come from a binary file that is open, as a pipe is.
    It can be repeated: what is stored is skipped, and what a killed import left out is added. All
    times and each `event_id` are kept; rows get new ids. What cannot be read is told in the report,
    and everything else imported all the same.
    """
    report = ReportBuilder()
    records = _found_in(source, report)
    with audited(persistence, "records", source, report):
        store_records(records, persistence, report, progress)
    return report.build(dry_run=persistence is None)


def store_records(
    records: Iterable[ParsedRecord],
    persistence: Persistence | None,
    report: ReportBuilder,
    progress: Progress | None,
) -> None:
    """Store those records that are not stored yet; without a persistence, only check them."""
    arriving = _Arriving(persistence, report, progress)
    for record in records:
        arriving.add(record)
    arriving.flush()


def _found_in(source: Any, report: ReportBuilder) -> Iterator[ParsedRecord]:
    if isinstance(source, TextIOBase):
        raise InvalidValueError("source is a file of text: open it as binary.", field="source")
    if hasattr(source, "readline"):
        return read_stream(source, report)
    return read_records(source_path(source), report)


class _Arriving:
    """Stores records, some at a time."""

    def __init__(
        self, persistence: Persistence | None, report: ReportBuilder, progress: Progress | None
    ) -> None:
        self._deduplicator: Deduplicator | None = None
        self._encoder: Callable[[Table[Any]], Callable[[Any], Row]] = lambda table: table.encode
        if persistence is not None:
            transfers = checked_persistence(persistence)._transfers
            self._deduplicator = transfers.deduplicator()
            self._encoder = transfers.encoder
        self._encoders: dict[Table[Any], Callable[[Any], Row]] = {}
        self._report = report
        self._progress = progress
        self._table: Table[Any] = RUNS_AND_STUBS
        self._rows: list[Row] = []
        self._letters = 0
        self._done = 0

    def add(self, found: ParsedRecord) -> None:
        row = self._row(found)
        if row is None:
            return
        if found.table is not self._table:
            self.flush()
            self._table = found.table
        self._rows.append(row)
        self._letters += found.letters
        if len(self._rows) >= _BATCH or self._letters >= _BATCH_LETTERS:
            self.flush()

    def _row(self, found: ParsedRecord) -> Row | None:
        """Return the row of a record; None, and report a problem, if it cannot be stored."""
        encode = self._encoders.get(found.table)
        if encode is None:
            encode = self._encoders[found.table] = self._encoder(found.table)
        try:
            row = encode(found.table.model(**(_required_of(found.table) | found.values)))
            for name in found.table.stored_times:
                if row[name] is None:
                    raise InvalidValueError(f"has no {name}, without which it would come twice")
        except InvalidValueError as error:
            self._report.problem(found.file, found.line, error)
        else:
            return row
        return None

    def flush(self) -> None:
        """Store what waits, in one transaction, and report the progress."""
        rows, self._rows, self._letters = self._rows, [], 0
        if not rows:
            return
        new = len(rows) if self._deduplicator is None else self._deduplicator.add(self._table, rows)
        self._report.skip("stored before", len(rows) - new)
        self._count(new)
        self._done += len(rows)
        if self._progress is not None:
            self._progress(self._done, None)

    def _count(self, new: int) -> None:
        [name] = [name for name, table in KINDS.items() if table is self._table]
        setattr(self._report, name, getattr(self._report, name) + new)


@cache
def _required_of(table: Table[Any]) -> dict[str, None]:
    """Return the fields that a record is made with; its encoder knows which of them may be None."""
    return {field.name: None for field in fields(table.model) if field.default is MISSING}
