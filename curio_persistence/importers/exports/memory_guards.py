"""Estimates of the memory that a file of an export will take, made before it is unpacked.

Nothing is believed before it was looked at: a file may be broken, or meant to do harm. pyarrow
would unpack first, and a Parquet file's footer need not tell the truth. A page of Parquet begins
with a description in Thrift's compact protocol, of which two numbers are of interest; a message of
Arrow is described by a flatbuffer, whose form pyarrow has checked when it yields the message.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from pathlib import Path
from struct import unpack_from
from typing import Any, NamedTuple

from curio_persistence.errors import InvalidValueError

MAX_LINE = 512 << 20
"""Bytes of a line of JSON, or letters of a field of CSV.

Texts of 64 MiB are stored, and a lone surrogate takes seven bytes.
"""

MAX_GROUP = 512 << 20
"""Bytes that a group of rows may take in memory; exports have groups of about 16 MiB."""

MAX_FOOTER = 16 << 20
"""Bytes of a Parquet file's description of itself."""


# --- what readers check ---------------------------------------------------------------------------


def check_footer(path: Path) -> None:
    with path.open("rb") as file:
        begin = file.read(4)
        file.seek(-min(8, path.stat().st_size), 2)
        end = file.read()
    if begin != b"PAR1" or end[4:] != b"PAR1":
        raise InvalidValueError("is not a whole Parquet file: it was cut off, or is something else")
    if int.from_bytes(end[:4], "little") > MAX_FOOTER:
        raise InvalidValueError(f"has a footer of more than {MAX_FOOTER >> 20} MiB")


def check_group(group: Any, pages: mmap | bytes) -> None:
    said = sum(group.column(at).total_uncompressed_size for at in range(group.num_columns))
    if max(said, group.num_rows) > MAX_GROUP or _pages_size(pages, group) > MAX_GROUP:
        raise InvalidValueError(_too_large())


def _too_large() -> str:
    return f"has a group of rows that takes more than {MAX_GROUP >> 20} MiB in memory"


def check_message(message: Any) -> None:
    """Refuse a message of an Arrow file that takes too much memory."""
    if not 0 <= _message_size(message) <= MAX_GROUP:
        raise InvalidValueError(_too_large())


# --- pages of Parquet -----------------------------------------------------------------------------

_UNPACKED, _PACKED = 2, 3
"""Fields of a page's description: the bytes of the page, and those of them in the file."""

# Types of fields: true and false, which have no value beside that, a byte and a double; numbers.
_SIZES = {1: 0, 2: 0, 3: 1, 7: 8}
_INTEGERS = (4, 5, 6)
_BINARY, _STRUCT = 8, 12
_MOST_FIELDS = 100
_NONE = "has damaged pages"


class _Page(NamedTuple):
    unpacked: int
    end: int


def _pages_size(file: mmap | bytes, group: Any) -> int:
    """Return the unpacked bytes of all pages of a group of rows."""
    columns = map(group.column, range(group.num_columns))
    return sum(page.unpacked for column in columns for page in _pages(file, column))


def _pages(file: mmap | bytes, column: Any) -> Iterator[_Page]:
    at = column.data_page_offset
    if column.has_dictionary_page and 0 < column.dictionary_page_offset < at:
        at = column.dictionary_page_offset
    end = at + column.total_compressed_size
    while 0 <= at < end:
        page = _page(file, at)
        if page.unpacked < 0 or page.end <= at:
            raise InvalidValueError(_NONE)
        yield page
        at = page.end


def _page(file: mmap | bytes, at: int) -> _Page:
    """Return the page that begins at this position."""
    sizes: dict[int, int] = {}
    at = _struct(file, at, sizes)
    return _Page(sizes.get(_UNPACKED, -1), at + sizes.get(_PACKED, -1))


def _struct(file: mmap | bytes, at: int, numbers: dict[int, int]) -> int:
    """Return where a struct ends, and note the numbers in its fields."""
    field = 0
    for _ in range(_MOST_FIELDS):
        head, at = file[at], at + 1
        if not head:
            return at
        if head >> 4:
            field += head >> 4
        else:
            field, at = _number(file, at)
        kind = head & 15
        if kind in _INTEGERS:
            numbers[field], at = _number(file, at)
        else:
            at = _skipped(file, at, kind)
    raise InvalidValueError(_NONE)


def _skipped(file: mmap | bytes, at: int, kind: int) -> int:
    """Return where a value ends that is of no interest."""
    if kind in _SIZES:
        return at + _SIZES[kind]
    if kind == _BINARY:
        length, at = _varint(file, at)
        return at + length
    if kind == _STRUCT:
        return _struct(file, at, {})
    raise InvalidValueError(_NONE)


def _number(file: mmap | bytes, at: int) -> tuple[int, int]:
    """Return a number, which has its sign in the last bit, and where it ends."""
    value, at = _varint(file, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(file: mmap | bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        byte, at = file[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise InvalidValueError(_NONE)


# --- messages of Arrow ----------------------------------------------------------------------------

# Fields of the tables that are read, by their numbers; see Message.fbs in Arrow's format.
_HEADER = 2
_DICTIONARYS_BATCH = 1
_BUFFERS, _COMPRESSION = 2, 3

_AS_IT_IS = -1
"""In a compressed message, the size of a buffer that is not compressed."""


def _message_size(message: Any) -> int:
    """Return the unpacked bytes of its columns, or of its dictionary."""
    if message.body is None:
        return 0
    described = message.metadata.to_pybytes()
    batch = _table(described, _table(described, 0), _HEADER)
    if message.type == "dictionary":
        batch = _table(described, batch, _DICTIONARYS_BATCH)
    if not _field(described, batch, _COMPRESSION):
        return int(message.body.size)
    buffers = _table(described, batch, _BUFFERS)
    (count,) = unpack_from("<I", described, buffers)
    buffers_at = (unpack_from("<qq", described, buffers + 4 + 16 * at) for at in range(count))
    return sum(_unpacked(message.body, start, length) for start, length in buffers_at)


def _unpacked(body: Any, start: int, length: int) -> int:
    """Return the size with which a compressed buffer begins: its unpacked one."""
    if length < 8:
        return length
    (size,) = unpack_from("<q", body, start)
    return length if size == _AS_IT_IS else int(size)


def _table(described: bytes, at: int, field: int | None = None) -> int:
    """Return the position of a flatbuffer's root, or of what a field refers to."""
    start = at if field is None else _field(described, at, field)
    return start + int(unpack_from("<I", described, start)[0])


def _field(described: bytes, table: int, number: int) -> int:
    """Return the position of a field of a table; 0 if the table lacks it."""
    fields = table - unpack_from("<i", described, table)[0]
    (size,) = unpack_from("<H", described, fields)
    if 4 + 2 * number >= size:
        return 0
    (offset,) = unpack_from("<H", described, fields + 4 + 2 * number)
    return table + int(offset) if offset else 0
