"""Read the rows of an export: JSON, JSON lines, CSV or Parquet, told apart by their beginning."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from curio_persistence.importers.common.json_lines import open_ordinary, read_object, read_objects
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.common.writer import SourceLocation
from curio_persistence.importers.exports.csv import csv_rows
from curio_persistence.importers.traces.json_array import read_array

Row = dict[str, Any]
Placed = tuple[Row, SourceLocation]

PARQUET, CSV, LINES, ARRAY, DOCUMENT = "parquet", "csv", "lines", "array", "document"
_BEGIN = 1 << 16
_OF_LINES = (".jsonl", ".ndjson")


def form_of(path: Path) -> str | None:
    """Return the form of a file, by its beginning; None if it is none of these."""
    try:
        with open_ordinary(path) as file:
            begin = file.read(_BEGIN)
    except OSError:
        return None
    if begin.startswith(b"PAR1"):
        return PARQUET
    if path.suffix.lower() in _OF_LINES:
        return LINES
    begin = begin.removeprefix(b"\xef\xbb\xbf").lstrip()
    if begin.startswith(b"["):
        return ARRAY
    line, end, _ = begin.partition(b"\n")
    if begin.startswith(b"{"):
        return LINES if end and _is_json(line) else DOCUMENT
    return CSV if path.suffix.lower() == ".csv" and b"," in line else None


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def first_row(path: Path) -> Row | None:
    """Return the first row of a file, to tell whose it is; None if it has none.

    A Parquet file is told by the names of its columns only, and needs pyarrow even for that.
    """
    form, report = form_of(path), ReportBuilder()
    if form == PARQUET:
        from curio_persistence.importers.traces.parquet import columns_of  # Needs pyarrow.

        return dict.fromkeys(columns_of(path))
    rows = iter(()) if form is None else read_rows(path, path.name, report)
    return next((row for row, _ in rows), None)


def names_in(path: Path, *lists: str) -> Collection[str]:
    """Return the names of the first row of a file, or of the first in one of its lists."""
    row = first_row(path) or {}
    for name in lists:
        if isinstance(items := row.get(name), list):
            return next((each for each in items if isinstance(each, dict)), {})
    return row


def read_rows(path: Path, name: str, report: ReportBuilder) -> Iterator[Placed]:
    """Yield the rows of a file. A document is one row; its reader knows what is in it."""
    form = form_of(path)
    if form == PARQUET:
        from curio_persistence.importers.traces.parquet import read_parquet  # Needs pyarrow.

        yield from read_parquet(path, name, report)
    elif form == CSV:
        yield from _of_csv(path, name, report)
    elif form == ARRAY:
        yield from read_array(path, name, report)
    elif form == DOCUMENT:
        if (value := read_object(path, name, report)) is not None:
            yield value, SourceLocation(name)
    elif form == LINES:
        for number, value in read_objects(path, name, report):
            yield value, SourceLocation(name, number)
    else:
        report.problem(name, None, "holds neither JSON nor CSV nor Parquet")


def _of_csv(path: Path, name: str, report: ReportBuilder) -> Iterator[Placed]:
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
            for number, values in csv_rows(text, name, report):
                yield dict(values), SourceLocation(name, number)
    except OSError as error:
        report.problem(name, None, f"cannot be read: {error.strerror}")
