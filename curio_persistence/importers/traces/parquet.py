"""Read rows from Parquet, a thousand at a time."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from curio_persistence.errors import InvalidValueError
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.common.writer import SourceLocation
from curio_persistence.importers.exports.columnar import LIMITS, in_our_words
from curio_persistence.importers.exports.memory_guards import check_footer, check_group
from curio_persistence.results.arrow import pyarrow

_AT_A_TIME = 1_000


def read_parquet(
    path: Path, name: str, report: ReportBuilder
) -> Iterator[tuple[dict[str, Any], SourceLocation]]:
    """Yield the rows of a file without their empty cells; a row's line is its number."""
    try:
        yield from _rows(path, name)
    except InvalidValueError as error:
        report.problem(name, None, error)


def columns_of(path: Path) -> frozenset[str]:
    """Return the names of a file's columns; none if it cannot be read."""
    pa = pyarrow()
    from pyarrow.parquet import read_schema

    try:
        check_footer(path)
        with in_our_words(pa):
            return frozenset(read_schema(path).names)
    except (InvalidValueError, OSError):
        return frozenset()


def _rows(path: Path, name: str) -> Iterator[tuple[dict[str, Any], SourceLocation]]:
    pa = pyarrow()
    from pyarrow.parquet import ParquetFile

    check_footer(path)
    with in_our_words(pa), path.open("rb") as source:
        parquet = ParquetFile(source, **LIMITS)
        with mmap(source.fileno(), 0, access=ACCESS_READ) as pages:
            for number in range(parquet.metadata.num_row_groups):
                check_group(parquet.metadata.row_group(number), pages)
        row = 0
        for batch in parquet.iter_batches(batch_size=_AT_A_TIME, use_threads=False):
            for values in batch.to_pylist():
                row += 1
                told = {k: _plain(v) for k, v in values.items() if not _is_empty(v)}
                yield told, SourceLocation(name, row)


def _is_empty(value: Any) -> bool:
    """Return whether a cell is empty; pandas writes an empty number as NaN."""
    return value is None or (isinstance(value, float) and isnan(value))


def _plain(value: Any) -> Any:
    """Return a map of Arrow, which comes as pairs, as an object of JSON."""
    if isinstance(value, list) and value and all(isinstance(each, tuple) for each in value):
        return dict(value)
    return value
