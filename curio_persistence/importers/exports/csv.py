"""Exports in CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, TextIO

from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.exports.csv_lines import EMPTY, CsvLines
from curio_persistence.importers.exports.memory_guards import MAX_LINE
from curio_persistence.importers.exports.values import ParsedRecord, parsed, table_with
from curio_persistence.store.table import Table

_AT_A_TIME = 1_000


_field_size = Lock()


@contextmanager
def _long_fields() -> Iterator[None]:
    """Allow long fields meanwhile; the limit is a setting of the whole process."""
    with _field_size:
        before = csv.field_size_limit(MAX_LINE)
        try:
            yield
        finally:
            csv.field_size_limit(before)


def read_csv(
    path: Path, file: str, table: Table[Any] | None, report: ReportBuilder
) -> Iterator[ParsedRecord]:
    with path.open(encoding="utf-8-sig", newline="") as text:
        header = next(csv.reader([text.readline(1 << 16)]), [])
        table = table_with(header, table)
        for number, values in _rows_below(header, text, file, report):
            yield from parsed(file, number, table, values, report)


def csv_rows(
    text: TextIO, file: str, report: ReportBuilder
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows below a header, without their empty fields, and the line where each ends."""
    header = next(csv.reader([text.readline(1 << 16)]), [])
    yield from _rows_below(header, text, file, report)


def _rows_below(
    header: list[str], text: TextIO, file: str, report: ReportBuilder
) -> Iterator[tuple[int, dict[str, str]]]:
    lines = CsvLines(text, number=1, longest=MAX_LINE)
    rows = csv.reader(lines, strict=True)
    while read := _some(rows, lines):
        for number, cells in read:
            if isinstance(cells, str):
                report.problem(file, number, cells)
            elif cells and len(cells) != len(header):
                report.problem(file, number, f"has {len(cells)} fields, not {len(header)}")
            elif cells:
                yield (
                    number,
                    {
                        name: "" if cell == EMPTY else cell
                        for name, cell in zip(header, cells, strict=True)
                        if cell
                    },
                )


def _some(rows: Any, lines: CsvLines) -> list[tuple[int, list[str] | str]]:
    """Return the next rows, or the fault of one, each with the number of its last line."""
    read: list[tuple[int, list[str] | str]] = []
    letters = 0
    with _long_fields():
        while len(read) < _AT_A_TIME and letters < MAX_LINE:
            try:
                cells = next(rows)
            except StopIteration:
                break
            except csv.Error as error:
                read.append((lines.number, f"cannot be read: {error}"))
                continue
            read.append((lines.number, cells))
            letters += sum(map(len, cells))
    return read
