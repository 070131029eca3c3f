"""Reading exports that may be cut off, edited by hand, or meant to do harm.

Nothing is believed before it was looked at: how long a line is, how many columns there are, how
much a group of rows says that it takes in memory.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from io import BufferedReader
from mmap import ACCESS_READ, mmap
from pathlib import Path
from struct import error as StructError
from threading import Lock
from typing import Any, BinaryIO, NamedTuple

from curio_persistence.capabilities.transfers import KINDS
from curio_persistence.errors import CorruptDatabaseError, InvalidValueError
from curio_persistence.export.formats import KIND_OF, VERSION
from curio_persistence.export.places import MANIFEST
from curio_persistence.importers.arrow_sizes import message_size
from curio_persistence.importers.csv_lines import EMPTY, CsvLines
from curio_persistence.importers.lines import open_ordinary, read_object
from curio_persistence.importers.parquet_pages import pages_size
from curio_persistence.importers.reports import Tally
from curio_persistence.results.arrow import pyarrow
from curio_persistence.store.codecs import decode_text, encode_tags
from curio_persistence.store.table import Kind, Table

MAX_LINE = 256 << 20
"""Bytes of a line of JSON, or letters of a field of CSV: texts of 64 MiB are stored."""

MAX_BESIDE = 1 << 20
"""Bytes of a line of JSON that are in no text. Parsed, they take a multiple of that."""

MAX_COLUMNS = 200

MAX_GROUP = 512 << 20
"""Bytes that a group of rows may take in memory; exports have groups of about 16 MiB."""

MAX_FOOTER = 16 << 20
"""Bytes of a Parquet file's description of itself."""

_PACKED = "jsonl.gz"
_AT_A_TIME = 1_000
_ARROW_BEGIN = 8
"""Where the first part of an Arrow file stands, behind what it is known by."""
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_TABLE_OF = {kind: table for table, kind in KIND_OF.items()}


class Found(NamedTuple):
    """One record, as the fields that are set, and where it stands."""

    file: str
    line: int | None
    table: Table[Any]
    values: dict[str, Any]
    letters: int


def read_records(path: Path, tally: Tally) -> Iterator[Found]:
    """Everything in a file, or in a folder that was exported."""
    if path.is_dir():
        yield from _read_folder(path, tally)
        return
    name = path.name.lower()
    format = next((format for format in _READERS if name.endswith(f".{format}")), None)
    if format is None or not path.is_file():
        raise InvalidValueError(
            f"{path} is no export: its name ends with one of {', '.join(_READERS)}, or it is a "
            f"folder with a {MANIFEST}.",
            field="source",
        )
    found = _READERS[format](path, path.name, None, tally)
    yield from _told(path.name, tally, found if format == _PACKED else _ordinary(path, found))


def read_stream(stream: BinaryIO, tally: Tally) -> Iterator[Found]:
    """Everything in JSON lines that come from an open file or a pipe."""
    name = str(getattr(stream, "name", "the stream"))
    yield from _told(name, tally, _of_lines(_lines_of_json(stream), name, tally))


def _read_folder(path: Path, tally: Tally) -> Iterator[Found]:
    if not (path / MANIFEST).is_file():
        raise InvalidValueError(
            f"{path} has no {MANIFEST}: it is no export, or was cut off. Export it again.",
            field="source",
        )
    _check_inside(path, MANIFEST)
    manifest = read_object(path / MANIFEST, MANIFEST, tally) or {}
    _check_version(manifest)
    format = str(manifest.get("format"))
    if format not in _READERS:
        raise InvalidValueError(f"{path / MANIFEST} has no format that is known: {format!r}.")
    for name, table in KINDS.items():
        if name in manifest:
            file = f"{name}.{format}"
            read = _READERS[format](path / file, file, table, tally)
            count = 0
            for found in _told(file, tally, _inside(path, file, read)):
                count += 1
                yield found
            if count != manifest[name]:
                tally.problem(file, None, f"has {count} records, not {manifest[name]}")


def _inside(folder: Path, file: str, read: Iterator[Found]) -> Iterator[Found]:
    _check_inside(folder, file)
    yield from _ordinary(folder / file, read)


def _check_inside(folder: Path, file: str) -> None:
    if (folder / file).resolve().parent != folder:
        raise InvalidValueError(f"{file} is a link that leads out of {folder}")


def _ordinary(path: Path, read: Iterator[Found]) -> Iterator[Found]:
    """What is found in a file, if it is neither packed nor a pipe, at which one would wait."""
    with open_ordinary(path):
        pass
    yield from read


def _told(file: str, tally: Tally, found: Iterator[Found]) -> Iterator[Found]:
    """What is found, up to where the file cannot be read."""
    try:
        yield from found
    except OSError as error:
        tally.problem(file, None, f"cannot be read: {error.strerror or error}")
    except UnicodeDecodeError as error:
        tally.problem(file, None, f"is not UTF-8 text: {error}")
    except (InvalidValueError, CorruptDatabaseError) as error:
        tally.problem(file, None, error)


def _check_version(header: Mapping[str, Any]) -> None:
    version = header.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise InvalidValueError(
            f"This export has version {version!r}; up to {VERSION} can be read. "
            "Use a newer curio_persistence."
        )


# --- values ---------------------------------------------------------------------------------------


def _time(value: Any) -> Any:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if isinstance(moment, datetime) and moment.tzinfo is None:
        raise ValueError("a time needs its offset from UTC")
    return moment


def _money(value: Any) -> Any:
    return Decimal(value) if isinstance(value, str) else value


def _text(value: Any) -> Any:
    return decode_text(value) if isinstance(value, str) else value


def _tags(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _integer(value: Any) -> Any:
    return int(value) if isinstance(value, str) else value


def _real(value: Any) -> Any:
    return float(value) if isinstance(value, str) else value


_READ: Mapping[Kind, Callable[[Any], Any]] = {
    "time": _time,
    "money": _money,
    "text": _text,
    "integer": _integer,
    "real": _real,
}


@lru_cache
def _readers_of(table: Table[Any]) -> dict[str, Callable[[Any], Any]]:
    """For each column whose values are written in another form, what reads them."""
    readers = {name: _READ[kind] for name, kind in table.kinds.items() if kind in _READ}
    return readers | dict.fromkeys(table.encoded_by(encode_tags), _tags)


def _found(
    file: str, line: int | None, table: Table[Any], values: dict[str, Any], tally: Tally
) -> Iterator[Found]:
    """The record that some values make; or none, and a problem."""
    letters = 0
    try:
        for name, read in _readers_of(table).items():
            if (value := values.get(name)) is not None:
                values[name] = read(value)
                if type(value) is str:
                    letters += len(value)
    except (ValueError, InvalidOperation, RecursionError) as error:
        tally.problem(file, line, f"has a {name} that cannot be read: {error}")
    else:
        yield Found(file, line, table, values, letters)


# --- JSON lines -----------------------------------------------------------------------------------


def _read_jsonl(path: Path, file: str, table: Table[Any] | None, tally: Tally) -> Iterator[Found]:
    with path.open("rb") as lines:
        yield from _of_lines(_lines(lines), file, tally)


def _read_packed(path: Path, file: str, table: Table[Any] | None, tally: Tally) -> Iterator[Found]:
    import gzip
    import zlib

    with BufferedReader(gzip.open(path)) as lines:
        try:
            yield from _of_lines(_lines(lines), file, tally)
        except (EOFError, zlib.error) as error:
            raise InvalidValueError(f"was cut off, or is damaged: {error}") from error


def _lines_of_json(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a stream, whose name does not say what it holds."""
    for number, line in enumerate(_lines(stream)):
        if number == 0 and not line.lstrip().startswith(b"{"):
            raise InvalidValueError(
                "does not begin as JSON lines do. Import other formats from a file, and unpack "
                "what is compressed: zcat … | curio-persistence import records -"
            )
        yield line


def _of_lines(lines: Iterable[bytes], file: str, tally: Tally) -> Iterator[Found]:
    is_open = False
    counts: Counter[str] = Counter()
    for number, line in enumerate(lines, start=1):
        try:
            values = _object_in(line)
        except InvalidValueError as error:
            if not line.isspace():
                tally.problem(file, number, error)
            continue
        match kind := values.pop("kind", None):
            case "export":
                _check_version(values)
                is_open = True
                counts.clear()
            case "end":
                is_open = False
                _check_counts(file, number, values, counts, tally)
            case str() if kind in _TABLE_OF:
                counts[kind] += 1
                yield from _record(file, number, _TABLE_OF[kind], values, tally)
            case _:
                tally.problem(file, number, f"has no kind that is known, but {kind!r}")
    if is_open:
        tally.problem(file, None, "was cut off: its last line is missing. Export it again")


def _check_counts(
    file: str, number: int, told: Mapping[str, Any], counts: Counter[str], tally: Tally
) -> None:
    """Whether there are as many records as the last line of an export says."""
    for name, table in KINDS.items():
        count = counts[KIND_OF[table]]
        if name in told and told[name] != count:
            tally.problem(file, number, f"tells of {told[name]} {name}, but there are {count}")


def _record(
    file: str, number: int, table: Table[Any], values: dict[str, Any], tally: Tally
) -> Iterator[Found]:
    unknown = values.keys() - set(table.names)
    if unknown:
        tally.problem(file, number, f"has fields that nobody knows: {', '.join(sorted(unknown))}")
        return
    yield from _found(file, number, table, values, tally)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines; of one that is too long only so much that it can be told."""
    while line := file.readline(MAX_LINE + 1):
        yield line
        while len(line) > MAX_LINE and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE + 1)


def _object_in(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise InvalidValueError(f"is longer than {MAX_LINE >> 20} MiB")
    if len(line) > MAX_BESIDE and _has_much_beside_texts(line):
        raise InvalidValueError("has more in it than the texts of a record")
    try:
        value = json.loads(line)
    except RecursionError as error:
        raise InvalidValueError("is nested too deeply") from error
    except ValueError as error:
        raise InvalidValueError(f"is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidValueError(f"is a JSON {type(value).__name__}, not an object")
    return value


def _has_much_beside_texts(line: bytes) -> bool:
    beside = end = 0
    for text in _TEXT.finditer(line):
        beside += text.start() - end + len('""')
        end = text.end()
        if beside > MAX_BESIDE:
            return True
    return beside + len(line) - end > MAX_BESIDE


# --- CSV ------------------------------------------------------------------------------------------


_field_size = Lock()


@contextmanager
def _long_fields() -> Iterator[None]:
    """How long a field may be is a setting of the whole process."""
    with _field_size:
        before = csv.field_size_limit(MAX_LINE)
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _read_csv(path: Path, file: str, table: Table[Any] | None, tally: Tally) -> Iterator[Found]:
    with path.open(encoding="utf-8-sig", newline="") as text:
        header = next(csv.reader([text.readline(1 << 16)]), [])
        table = _table_with(header, table)
        lines = CsvLines(text, number=1, longest=MAX_LINE)
        rows = csv.reader(lines, strict=True)
        while read := _some(rows, lines):
            for number, cells in read:
                if isinstance(cells, str):
                    tally.problem(file, number, cells)
                elif cells and len(cells) != len(header):
                    tally.problem(file, number, f"has {len(cells)} fields, not {len(header)}")
                elif cells:
                    values = {
                        name: "" if cell == EMPTY else cell
                        for name, cell in zip(header, cells, strict=True)
                        if cell
                    }
                    yield from _found(file, number, table, values, tally)


def _some(rows: Any, lines: CsvLines) -> list[tuple[int, list[str] | str]]:
    """The next rows, or what is wrong with one, each with the number of its last line."""
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


def _table_with(columns: list[str], table: Table[Any] | None) -> Table[Any]:
    """Whose records have such columns."""
    if len(columns) > MAX_COLUMNS:
        raise InvalidValueError(f"has {len(columns):,} columns; records have no such many")
    named = set(columns)
    fitting = [
        each
        for each in (KINDS.values() if table is None else (table,))
        if named <= set(each.names) and {*each.stored_times, *each.required} <= named
    ]
    if len(fitting) != 1 or len(named) != len(columns):
        raise InvalidValueError(
            f"has columns that are not those of {table.name if table else 'one kind of record'}: "
            f"{', '.join(columns[:20])}"
        )
    return fitting[0]


# --- Parquet and Arrow ----------------------------------------------------------------------------


def _read_parquet(path: Path, file: str, table: Table[Any] | None, tally: Tally) -> Iterator[Found]:
    pa = pyarrow()
    from pyarrow.parquet import ParquetFile

    _check_footer(path)
    with _in_our_words(pa), path.open("rb") as source:
        limits = {"thrift_string_size_limit": MAX_FOOTER, "thrift_container_size_limit": 1_000_000}
        parquet = ParquetFile(source, **limits)
        metadata = parquet.metadata
        table = _table_with_schema(pa, parquet.schema_arrow, table)
        names = parquet.schema_arrow.names
        texts = [name for name in names if table.kinds[name] in ("name", "text")]
        # A text that stands in many rows stands once in the file, and should so in memory.
        parquet = ParquetFile(source, read_dictionary=texts, **limits)
        with mmap(source.fileno(), 0, access=ACCESS_READ) as pages:
            for number in range(metadata.num_row_groups):
                _check_group(metadata.row_group(number), pages)
        batches = parquet.iter_batches(batch_size=_AT_A_TIME, use_threads=False)
        yield from _of_batches(file, table, batches, tally)


def _check_footer(path: Path) -> None:
    with path.open("rb") as file:
        begin = file.read(4)
        file.seek(-min(8, path.stat().st_size), 2)
        end = file.read()
    if begin != b"PAR1" or end[4:] != b"PAR1":
        raise InvalidValueError("is no whole Parquet file: it was cut off, or is something else")
    if int.from_bytes(end[:4], "little") > MAX_FOOTER:
        raise InvalidValueError(f"has a footer of more than {MAX_FOOTER >> 20} MiB")


def _check_group(group: Any, pages: mmap) -> None:
    said = sum(group.column(at).total_uncompressed_size for at in range(group.num_columns))
    if max(said, group.num_rows) > MAX_GROUP or pages_size(pages, group) > MAX_GROUP:
        raise InvalidValueError(_too_large())


def _too_large() -> str:
    return f"has a group of rows that takes more than {MAX_GROUP >> 20} MiB in memory"


def _read_arrow(path: Path, file: str, table: Table[Any] | None, tally: Tally) -> Iterator[Found]:
    pa = pyarrow()
    with _in_our_words(pa), pa.memory_map(str(path)) as source:
        whole = pa.ipc.open_file(source)
        table = _table_with_schema(pa, whole.schema, table)
        # Where its parts are, its end says; they are read from the begin, as they were looked at.
        source.seek(_ARROW_BEGIN)
        for message in pa.ipc.MessageReader.open_stream(source):
            if not 0 <= message_size(message) <= MAX_GROUP:
                raise InvalidValueError(_too_large())
        source.seek(_ARROW_BEGIN)
        batches = _sliced(pa.ipc.open_stream(source), whole.num_record_batches)
        yield from _of_batches(file, table, batches, tally)


def _sliced(batches: Iterable[Any], expected: int) -> Iterator[Any]:
    count = 0
    for batch in batches:
        count += 1
        batch.validate(full=True)
        yield from (batch.slice(at, _AT_A_TIME) for at in range(0, batch.num_rows, _AT_A_TIME))
    if count != expected:
        raise InvalidValueError(f"has {count} groups of rows, and not {expected}")


@contextmanager
def _in_our_words(pa: Any) -> Iterator[None]:
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
    return _table_with(schema.names, table)


def _of_batches(
    file: str, table: Table[Any], batches: Iterable[Any], tally: Tally
) -> Iterator[Found]:
    row = 0
    for batch in batches:
        names = batch.schema.names
        for cells in zip(*map(_values, batch.columns), strict=True):
            row += 1
            values = {
                name: cell for name, cell in zip(names, cells, strict=True) if cell is not None
            }
            yield from _found(file, row, table, values, tally)


def _values(column: Any) -> list[Any]:
    """A column's values; a text that comes many times is one text in memory."""
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


_READERS: Mapping[str, Callable[[Path, str, Table[Any] | None, Tally], Iterator[Found]]] = {
    "jsonl": _read_jsonl,
    _PACKED: _read_packed,
    "csv": _read_csv,
    "parquet": _read_parquet,
    "arrow": _read_arrow,
}
