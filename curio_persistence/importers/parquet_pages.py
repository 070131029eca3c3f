"""How much memory the pages of a Parquet file will take, as each says itself before it is unpacked.

The file's footer tells it too, but need not tell the truth. A page begins with a description in
Thrift's compact protocol, of which only two numbers are of interest.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import Any, NamedTuple

from curio_persistence.errors import InvalidValueError

_UNPACKED, _PACKED = 2, 3
"""Fields of a page's description: the bytes of the page, and those of them in the file."""

# Types of fields: true and false, which have no value beside that, a byte and a double; numbers.
_SIZES = {1: 0, 2: 0, 3: 1, 7: 8}
_INTEGERS = (4, 5, 6)
_BINARY, _STRUCT = 8, 12
_MOST_FIELDS = 100
_NONE = "has pages that are none"


class _Page(NamedTuple):
    unpacked: int
    end: int


def pages_size(file: mmap, group: Any) -> int:
    """The bytes of all pages of a group of rows; `file` is all that is in the file."""
    columns = map(group.column, range(group.num_columns))
    return sum(page.unpacked for column in columns for page in _pages(file, column))


def _pages(file: mmap, column: Any) -> Iterator[_Page]:
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


def _page(file: mmap, at: int) -> _Page:
    """The page that begins there."""
    sizes: dict[int, int] = {}
    at = _struct(file, at, sizes)
    return _Page(sizes.get(_UNPACKED, -1), at + sizes.get(_PACKED, -1))


def _struct(file: mmap, at: int, numbers: dict[int, int]) -> int:
    """Where a struct ends; notes the numbers that are in its fields."""
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


def _skipped(file: mmap, at: int, kind: int) -> int:
    """Where a value that is of no interest ends."""
    if kind in _SIZES:
        return at + _SIZES[kind]
    if kind == _BINARY:
        length, at = _varint(file, at)
        return at + length
    if kind == _STRUCT:
        return _struct(file, at, {})
    raise InvalidValueError(_NONE)


def _number(file: mmap, at: int) -> tuple[int, int]:
    """A number with its sign in the last bit, and where it ends."""
    value, at = _varint(file, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(file: mmap, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        byte, at = file[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise InvalidValueError(_NONE)
