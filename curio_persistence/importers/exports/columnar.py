"""Exports in Parquet and Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from struct import error as StructError
from typing import Any

from curio_persistence.errors import InvalidValueError
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.exports.memory_guards import (
    MAX_FOOTER,
    check_footer,
    check_group,
    check_message,
)
from curio_persistence.importers.exports.values import (
    MAX_COLUMNS,
    ParsedRecord,
    parsed,
    table_with,
)
from curio_persistence.results.arrow import pyarrow
from curio_persistence.store.table import Table

_AT_A_TIME = 1_000
LIMITS: Any = {
    "thrift_string_size_limit": MAX_FOOTER,
    "thrift_container_size_limit": 1_000_000,
}
_ARROW_BEGIN = 8
"""Where the first part of an Arrow file stands, behind its magic bytes."""


def read_parquet(
    path: Path, file: str, table: Table[Any] | None, report: ReportBuilder
) -> Iterator[ParsedRecord]:
    pa = pyarrow()
    from pyarrow.parquet import ParquetFile

    check_footer(path)
    with in_our_words(pa), path.open("rb") as source:
        parquet = ParquetFile(source, **LIMITS)
        metadata = parquet.metadata
        table = _table_with_schema(pa, parquet.schema_arrow, table)
        names = parquet.schema_arrow.names
        texts = [name for name in names if table.kinds[name] in ("name", "text")]
        # A text that stands in many rows stands once in the file, and should so in memory.
        parquet = ParquetFile(source, read_dictionary=texts, **LIMITS)
        with mmap(source.fileno(), 0, access=ACCESS_READ) as pages:
            for number in range(metadata.num_row_groups):
                check_group(metadata.row_group(number), pages)
        batches = parquet.iter_batches(batch_size=_AT_A_TIME, use_threads=False)
        yield from _of_batches(file, table, batches, report)


def parquet_groups(
    content: bytes, table: Table[Any] | None = None, columns: Sequence[str] | None = None
) -> Iterator[Any]:
    """Yield the groups of rows of a Parquet file in memory, as Arrow tables.

    With a table its columns are checked; with `columns` only these are read.
    """
    pa = pyarrow()
    from pyarrow.parquet import ParquetFile

    with in_our_words(pa):
        parquet = ParquetFile(pa.BufferReader(content), **LIMITS)
        if table is not None:
            _table_with_schema(pa, parquet.schema_arrow, table)
        for number in range(parquet.metadata.num_row_groups):
            check_group(parquet.metadata.row_group(number), content)
            yield parquet.read_row_group(number, columns, use_threads=False)


def read_arrow(
    path: Path, file: str, table: Table[Any] | None, report: ReportBuilder
) -> Iterator[ParsedRecord]:
    pa = pyarrow()
    with in_our_words(pa), pa.memory_map(str(path)) as source:
        whole = pa.ipc.open_file(source)
        table = _table_with_schema(pa, whole.schema, table)
        # Where its parts are, its end says; they are read from the begin, as they were looked at.
        source.seek(_ARROW_BEGIN)
        for message in pa.ipc.MessageReader.open_stream(source):
            check_message(message)
        source.seek(_ARROW_BEGIN)
        batches = _sliced(pa.ipc.open_stream(source), whole.num_record_batches)
        yield from _of_batches(file, table, batches, report)


def _sliced(batches: Iterable[Any], expected: int) -> Iterator[Any]:
    count = 0
    for batch in batches:
        count += 1
        batch.validate(full=True)
        yield from (batch.slice(at, _AT_A_TIME) for at in range(0, batch.num_rows, _AT_A_TIME))
    if count != expected:
        raise InvalidValueError(f"has {count} groups of rows, and not {expected}")


@contextmanager
def in_our_words(pa: Any) -> Iterator[None]:
    try:
        yield
    except InvalidValueError:
        raise
    except (
        pa.ArrowException,
        MemoryError,
        ValueError,
        IndexError,
        OverflowError,
        StructError,
        RecursionError,
    ) as error:
        raise InvalidValueError(f"cannot be read: {error}") from error


def _table_with_schema(pa: Any, schema: Any, table: Table[Any] | None) -> Table[Any]:
    if len(schema) <= MAX_COLUMNS and any(pa.types.is_nested(field.type) for field in schema):
        raise InvalidValueError("has columns of lists or structures, which no record has")
    return table_with(schema.names, table)


def _of_batches(
    file: str, table: Table[Any], batches: Iterable[Any], report: ReportBuilder
) -> Iterator[ParsedRecord]:
    row = 0
    for batch in batches:
        names = batch.schema.names
        for cells in zip(*map(_values, batch.columns), strict=True):
            row += 1
            values = {
                name: cell for name, cell in zip(names, cells, strict=True) if cell is not None
            }
            yield from parsed(file, row, table, values, report)


def _values(column: Any) -> list[Any]:
    """Return a column's values; a text that comes many times is one text in memory."""
    if not hasattr(column, "dictionary"):
        return list(column.to_pylist())
    places = column.indices.to_pylist()
    used = [at for at in dict.fromkeys(places) if at is not None]
    # Not all of the dictionary: it belongs to a whole group of rows.
    texts = (
        dict(zip(used, column.dictionary.take(pyarrow().array(used)).to_pylist(), strict=True))
        if used
        else {}
    )
    return [texts.get(at) for at in places]
