"""How much memory a message of an Arrow file will take, as it says itself before it is unpacked.

pyarrow would unpack a compressed one to tell. What describes a message is a flatbuffer, whose form
pyarrow has checked by the time it hands the message out.
"""

from __future__ import annotations

from struct import unpack_from
from typing import Any

# Fields of the tables that are read, by their numbers; see Message.fbs in Arrow's format.
_HEADER = 2
_DICTIONARYS_BATCH = 1
_BUFFERS, _COMPRESSION = 2, 3

_AS_IT_IS = -1
"""In a compressed message, the size of a buffer that is not compressed."""


def message_size(message: Any) -> int:
    """The bytes of its columns, or of its dictionary."""
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
    places = (unpack_from("<qq", described, buffers + 4 + 16 * at) for at in range(count))
    return sum(_unpacked(message.body, start, length) for start, length in places)


def _unpacked(body: Any, start: int, length: int) -> int:
    """A compressed buffer begins with the size that it has when it is unpacked."""
    if length < 8:
        return length
    (size,) = unpack_from("<q", body, start)
    return length if size == _AS_IT_IS else int(size)


def _table(described: bytes, at: int, field: int | None = None) -> int:
    """Where the root of a flatbuffer is, or what a field of one of its tables refers to."""
    place = at if field is None else _field(described, at, field)
    return place + int(unpack_from("<I", described, place)[0])


def _field(described: bytes, table: int, number: int) -> int:
    """Where a field of a table is; 0 if it is not there."""
    fields = table - unpack_from("<i", described, table)[0]
    (size,) = unpack_from("<H", described, fields)
    if 4 + 2 * number >= size:
        return 0
    (offset,) = unpack_from("<H", described, fields + 4 + 2 * number)
    return table + int(offset) if offset else 0
