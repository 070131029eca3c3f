"""Rows in the text format of PostgreSQL's COPY."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

from curio_persistence.backends.postgres.pool import Connection
from curio_persistence.store.codecs import (
    PICODOLLARS,
    encode_count,
    encode_integer,
    encode_latency,
    encode_mark,
    encode_money,
    encode_real,
    encode_time,
)
from curio_persistence.store.table import StoredValue
from curio_persistence.tables import TABLES

_NULL = "\\N"
_BYTES = 1 << 20
"""Bytes sent at once: a deadline cannot end the sending of more in the middle."""
_SPECIAL = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_MONEY = {name for table in TABLES for name in table.encoded_by(encode_money)}
_WITHOUT_ESCAPES = (
    encode_count,
    encode_integer,
    encode_latency,
    encode_mark,
    encode_real,
    encode_time,
)
_PLAIN = {
    name for table in TABLES for encode in _WITHOUT_ESCAPES for name in table.encoded_by(encode)
}
_REPEATING = {name for table in TABLES for name in table.repeating}


def copy_text(
    columns: tuple[str, ...], lines: Iterable[tuple[StoredValue, ...]]
) -> Iterator[bytes]:
    """Yield one line for each row of values, in parts of about a megabyte."""
    text = "".join(map(_line_writer(columns), lines)).encode()
    for at in range(0, len(text), _BYTES):
        yield text[at : at + _BYTES]


@lru_cache(maxsize=256)
def _line_writer(columns: tuple[str, ...]) -> Callable[[tuple[StoredValue, ...]], str]:
    """Return a function that writes a line, compiled from a source like `Table.encode`'s."""
    cells = [
        f"{{NULL if row[{at}] is None else row[{at}]}}"
        if name in _PLAIN
        else f"{{write_{name}(row[{at}])}}"
        for at, name in enumerate(columns)
    ]
    scope: dict[str, Any] = {f"write_{name}": _cell_writer(name) for name in columns}
    scope["NULL"] = _NULL
    line = "\\t".join(cells)
    function: Callable[[tuple[StoredValue, ...]], str] = eval(f'lambda row: f"{line}\\n"', scope)
    return function


class CopySource:
    """The file that COPY reads: text that is made while the server stores the text before.

    The time that making it takes does not count against the statement's deadline.
    """

    def __init__(self, text: Iterator[bytes], connection: Connection) -> None:
        self._text = text
        self._connection = connection
        self.failure: BaseException | None = None
        """Why the text ended before its end, if it did."""

    def read(self, size: int) -> bytes:
        connection, begin = self._connection, time.monotonic()
        deadline, connection.deadline = connection.deadline, None
        try:
            return next(self._text, b"")
        except BaseException as failure:
            self.failure = failure
            raise _NoMoreText from None  # The server writes it to its log, so it has no message.
        finally:
            if deadline is not None:
                connection.deadline = deadline + time.monotonic() - begin


class _NoMoreText(Exception):
    """Makes the server give a COPY up."""


def _cell_writer(column: str) -> Callable[[Any], str]:
    if column in _MONEY:
        return _money
    return lru_cache(1024)(_text) if column in _REPEATING else _text


def _money(picodollars: int | None) -> str:
    if picodollars is None:
        return _NULL
    dollars, rest = divmod(abs(picodollars), PICODOLLARS)
    return f"{'-' if picodollars < 0 else ''}{dollars}.{rest:012d}"


def _text(value: str | None) -> str:
    if value is None:
        return _NULL
    if "\\" in value or "\n" in value or "\t" in value or "\r" in value:
        return value.translate(_SPECIAL)
    return value
