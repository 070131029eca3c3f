"""Read the rows of an export: JSON, JSON lines, CSV or Parquet, told apart by their beginning."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, cast

from curio_persistence.errors import InvalidValueError
from curio_persistence.importers.common.json_array import read_array
from curio_persistence.importers.common.json_lines import objects_in, open_ordinary, parse
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.common.writer import SourceLocation
from curio_persistence.importers.exports.csv import csv_rows

Row = dict[str, Any]
"""A row as the export has it."""
Placed = tuple[Row, SourceLocation]

_is_page = re.compile(rb'\{\s*"(?:data|traces|runs)"\s*:\s*\[').match
PARQUET, CSV, LINES, ARRAY, DOCUMENT = "parquet", "csv", "lines", "array", "document"
_BEGIN, _PIECE = 1 << 16, 1 << 9
_LONGEST_DOCUMENT = 64 << 20
"""Bytes of one trace; parsed, they take a few times as much."""
_PACKED = b"\x1f\x8b"
_OF_LINES = (".jsonl", ".ndjson")


def form_of(path: Path) -> str | None:
    """Return the form of a file, by its beginning; None if it is none of these."""
    try:
        with _opened(path) as file:
            begin = _beginning(file)
    except OSError:
        return None
    if begin.startswith(b"PAR1"):
        return PARQUET
    suffix = suffix_of(path)
    if suffix in _OF_LINES:
        return LINES
    begin = begin.removeprefix(b"\xef\xbb\xbf").lstrip()
    if begin.startswith(b"["):
        return ARRAY
    line, end, _ = begin.partition(b"\n")
    if begin.startswith(b"{"):
        if end and _is_json(line):
            return LINES
        return ARRAY if _is_page(begin) else DOCUMENT
    return CSV if suffix == ".csv" and b"," in line else None


def _beginning(file: BinaryIO) -> bytes:
    """Return the first bytes of a file; of a damaged one those before the damage."""
    begin = b""
    with suppress(EOFError, zlib.error):
        while len(begin) < _BEGIN and (some := file.read(_PIECE)):
            begin += some
    return begin


def suffix_of(path: Path) -> str:
    """Return how the name of a file ends, packed or not."""
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file to read; one that gzip has packed is unpacked on the way."""
    if path.is_file():
        with path.open("rb") as file:
            is_packed = file.read(len(_PACKED)) == _PACKED
        if is_packed:
            with gzip.open(path) as unpacked:
                yield cast("BinaryIO", unpacked)
            return
    with open_ordinary(path) as plain:
        yield plain


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
    if form is None:
        return None
    with closing(read_rows(path, path.name, report)) as rows:
        return next((row for row, _ in rows), None)


def names_in(path: Path, *lists: str) -> Collection[str]:
    """Return the names of the first row of a file, or of the first in one of its lists."""
    row = first_row(path) or {}
    for name in lists:
        if isinstance(items := row.get(name), list):
            return next((each for each in items if isinstance(each, dict)), {})
    return row


def read_rows(path: Path, name: str, report: ReportBuilder) -> Generator[Placed]:
    """Yield the rows of a file. A document is one row; its reader knows what is in it."""
    form = form_of(path)
    if form == PARQUET:
        from curio_persistence.importers.traces.parquet import read_parquet  # Needs pyarrow.

        yield from read_parquet(path, name, report)
        return
    if form is None:
        report.problem(name, None, "holds neither JSON nor CSV nor Parquet")
        return
    try:
        with _opened(path) as file:
            yield from _READERS[form](file, name, report)
    except (EOFError, zlib.error) as error:
        report.problem(name, None, f"was cut off, or is damaged: {error}")
    except OSError as error:
        report.problem(name, None, f"cannot be read: {error.strerror or error}")


def _of_lines(file: BinaryIO, name: str, report: ReportBuilder) -> Generator[Placed]:
    for number, value in objects_in(file, name, report):
        yield value, SourceLocation(name, number)


def _of_document(file: BinaryIO, name: str, report: ReportBuilder) -> Generator[Placed]:
    text = file.read(_LONGEST_DOCUMENT + 1)
    report.bytes_read += len(text)
    try:
        yield parse(text, most_bytes=_LONGEST_DOCUMENT), SourceLocation(name)
    except InvalidValueError as error:
        report.problem(name, None, error)


def _of_csv(file: BinaryIO, name: str, report: ReportBuilder) -> Generator[Placed]:
    with TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        for number, values in csv_rows(text, name, report):
            yield dict(values), SourceLocation(name, number)


_READERS: Mapping[str, Callable[[BinaryIO, str, ReportBuilder], Generator[Placed]]] = {
    LINES: _of_lines,
    ARRAY: read_array,
    DOCUMENT: _of_document,
    CSV: _of_csv,
}
