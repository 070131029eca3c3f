"""Read JSON that other programs wrote: whole files, and files with one object on each line.

A fault is an InvalidValueError whose text follows the name of the file. Files
are read as they are; compressed ones are not unpacked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from curio_persistence.errors import InvalidValueError
from curio_persistence.importers.common.limits import (
    MAX_BYTES,
    MAX_CONTAINERS,
    MAX_DEPTH,
    is_deeper,
)
from curio_persistence.importers.common.report import ReportBuilder

_BUFFER = 1 << 16
_BOM = b"\xef\xbb\xbf"
_PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd")
_TOO_MANY = f"has more than {MAX_CONTAINERS:,} arrays and objects"
_TOO_DEEP = f"is nested deeper than {MAX_DEPTH} levels"


def read_objects(
    path: Path, name: str, report: ReportBuilder, *, grows: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects in a file of JSON lines, each with the number of its line.

    A line that holds none is a problem of its own; empty ones are passed over. The last line of a
    file that `grows` may be cut off: it is told as incomplete.
    """
    try:
        with open_ordinary(path) as file:
            yield from objects_in(file, name, report, grows=grows)
    except OSError as error:
        report.problem(name, None, f"cannot be read: {error.strerror}")


def objects_in(
    file: BinaryIO, name: str, report: ReportBuilder, *, grows: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects in an open file of JSON lines; see `read_objects`."""
    for number, line in enumerate(_lines(file), start=1):
        report.bytes_read += len(line)
        try:
            value = _object_in(line)
        except InvalidValueError as error:
            if grows and not line.endswith(b"\n") and len(line) <= MAX_BYTES:
                report.wait(name, number)
            else:
                report.problem(name, number, error)
            continue
        if value is not None:
            yield number, value


def read_object(path: Path, name: str, report: ReportBuilder) -> dict[str, Any] | None:
    """Return the object that a whole file holds; None, and a problem, if it holds none."""
    try:
        with open_ordinary(path) as file:
            text = file.read(MAX_BYTES + 1)
        report.bytes_read += len(text)
        value = _object_in(text)
        if value is None:
            report.problem(name, None, "is empty")
        return value
    except OSError as error:
        report.problem(name, None, f"cannot be read: {error.strerror}")
    except InvalidValueError as error:
        report.problem(name, None, error)
    return None


@contextmanager
def open_ordinary(path: Path) -> Iterator[BinaryIO]:
    """Open a file to read. OSError for a packed one, and for a pipe, which would block for ever."""
    if not path.is_file():
        raise OSError(0, "it is not an ordinary file")
    with path.open("rb", buffering=_BUFFER) as file:
        if file.read(4).startswith(_PACKED):
            raise OSError(0, "it is compressed; unpack it first")
        file.seek(0)
        yield file


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines; of one that is too long, no more than shows that it is."""
    while line := file.readline(MAX_BYTES + 1):
        yield line
        while len(line) > MAX_BYTES and not line.endswith(b"\n"):
            line = file.readline(MAX_BYTES + 1)


def _object_in(text: bytes) -> dict[str, Any] | None:
    """Return the object that a text holds; None for an empty text."""
    if not text or text.isspace():
        return None
    value = parse(text)
    if not isinstance(value, dict):
        raise InvalidValueError(f"is a JSON {type(value).__name__}, not an object")
    return value


def parse(text: bytes, *, most_bytes: int = MAX_BYTES) -> Any:
    """Return the value that a JSON text holds."""
    if len(text) > most_bytes:
        raise InvalidValueError(f"is longer than {most_bytes >> 20} MiB")
    brackets = text.count(b"{") + text.count(b"[")
    if brackets > MAX_CONTAINERS:
        raise InvalidValueError(_TOO_MANY)
    try:
        value = json.loads(text.removeprefix(_BOM).decode())
    except UnicodeDecodeError as error:
        raise InvalidValueError("is not UTF-8 text") from error
    except RecursionError as error:
        raise InvalidValueError(_TOO_DEEP) from error
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" starting at")
        raise InvalidValueError(f"is not JSON: {what} at character {error.pos + 1}") from error
    except ValueError as error:  # A number of thousands of digits.
        raise InvalidValueError(f"is JSON that cannot be read: {error}") from error
    # Most values have fewer brackets than they may have levels, which is quickly told.
    if brackets > MAX_DEPTH and is_deeper(value, MAX_DEPTH):
        raise InvalidValueError(_TOO_DEEP)
    return value


def moment(value: Any) -> datetime:
    """Return a time, written as seconds since 1970 or as ISO 8601 text (UTC without an offset)."""
    try:
        if isinstance(value, str):
            read = datetime.fromisoformat(value)
            return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidValueError(f"has an unreadable time: {_short(value)}") from error
    raise InvalidValueError(f"has no time, but {_short(value)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
