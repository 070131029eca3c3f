"""The forms of an archive's files: Parquet, and JSON lines. Both have texts in stored form."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from curio_persistence.capabilities.transfers.kinds import KINDS_OF_RUNS
from curio_persistence.errors import CorruptDatabaseError, InvalidValueError
from curio_persistence.export.formats import gathered, write_jsonl, write_parquet_groups
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.exports.columnar import parquet_groups, read_parquet
from curio_persistence.importers.exports.jsonl import lines_in, object_in, read_packed
from curio_persistence.importers.exports.values import ParsedRecord
from curio_persistence.results.arrow import arrow_schema, arrow_table, pyarrow, stored_columns
from curio_persistence.store.codecs import encode_money, encode_tags
from curio_persistence.store.table import Row, Table

BLOOMS = ("run_id", "event_id")
"""The columns by whose values a reader finds rows."""
_LINES = 5_000
"""Lines of JSON that are in memory at once."""


class Form(NamedTuple):
    """A form of files, and how the rows of a table, as Arrow tables, are written and read."""

    name: str
    folder: str
    """Stands before the names of tables in paths."""
    log: str
    ending: str
    write: Callable[[BinaryIO, Table[Any], Iterable[Any]], None]
    read: Callable[[bytes, Table[Any], Sequence[str] | None], Iterator[Any]]
    records: Callable[[Path, str, Table[Any] | None, ReportBuilder], Iterator[ParsedRecord]]

    def path_of(self, folder: str, name: str) -> str:
        """Return the folder of a table, below that of its database."""
        return f"{folder}/{self.folder}{name}"

    def tables(self, folder: str) -> Iterator[tuple[str, str, Table[Any]]]:
        """Yield the name of each table, and its folder below that of its database."""
        for name, table in KINDS_OF_RUNS.items():
            yield name, self.path_of(folder, name), table


def _write_parquet(file: BinaryIO, table: Table[Any], tables: Iterable[Any]) -> None:
    write_parquet_groups(file, table, gathered(tables), blooms=BLOOMS)


def _read_parquet(
    content: bytes, table: Table[Any], columns: Sequence[str] | None
) -> Iterator[Any]:
    pa, schema = pyarrow(), arrow_schema(table)
    names = table.names if columns is None else columns
    for group in parquet_groups(content, table, names):
        yield group.select(names).cast(pa.schema(map(schema.field, names)))


def _write_lines(file: BinaryIO, table: Table[Any], tables: Iterable[Any]) -> None:
    # Without a time in it, so that the same rows make the same file.
    with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        pieces = (
            stored_columns(table, rows.slice(at, _LINES))
            for rows in tables
            for at in range(0, len(rows), _LINES)
        )
        write_jsonl(packed, table, pieces)  # type: ignore[arg-type]


def _read_lines(content: bytes, table: Table[Any], columns: Sequence[str] | None) -> Iterator[Any]:
    rows: list[Row] = []
    with BufferedReader(gzip.open(BytesIO(content))) as lines:
        for line in lines_in(lines):
            rows.append(object_in(line))
            if len(rows) == _LINES:
                yield _arrow_of(table, rows)
                rows = []
    yield _arrow_of(table, rows)


def _arrow_of(table: Table[Any], rows: list[Row]) -> Any:
    encoders: Mapping[str, Callable[[Any], Any]] = {
        **{name: _picodollars for name, kind in table.kinds.items() if kind == "money"},
        **dict.fromkeys(table.encoded_by(encode_tags), encode_tags),
    }
    columns: list[Sequence[Any]] = [[row.get(name) for row in rows] for name in table.names]
    for at, name in enumerate(table.names):
        if encode := encoders.get(name):
            columns[at] = [None if value is None else encode(value) for value in columns[at]]
    return arrow_table(table, columns, escaped=True)


def _picodollars(dollars: str) -> int:
    return encode_money(Decimal(dollars))


PARQUET = Form("parquet", "", "_delta_log", ".parquet", _write_parquet, _read_parquet, read_parquet)
NDJSON = Form("ndjson", "ndjson/", "_log", ".ndjson.gz", _write_lines, _read_lines, read_packed)
FORMS: Mapping[str, Form] = {form.name: form for form in (PARQUET, NDJSON)}


def checked_form(name: Any) -> Form:
    """Return the form of this name."""
    form = FORMS.get(name) if isinstance(name, str) else None
    if form is None:
        raise InvalidValueError(
            f"format is one of {', '.join(FORMS)}, not {name!r}.", field="format"
        )
    return form


def rows_of(
    where: str,
    form: Form,
    content: bytes,
    table: Table[Any],
    columns: Sequence[str] | None = None,
) -> Iterator[Any]:
    """Yield the rows of a file, an Arrow table for some of them; `where` names it in errors.

    With `columns` they have at least these.
    """
    pa = pyarrow()
    try:
        yield from form.read(content, table, columns)
    except (pa.ArrowException, InvalidValueError, ValueError, KeyError, EOFError, OSError) as error:
        raise CorruptDatabaseError(f"{where} cannot be read: {error}.") from error
