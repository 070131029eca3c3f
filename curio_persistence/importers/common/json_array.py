"""Read the items of a JSON array one by one: a file may be larger than the memory."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from io import TextIOWrapper
from typing import Any, BinaryIO, TextIO

from curio_persistence.errors import InvalidValueError
from curio_persistence.importers.common.limits import (
    MAX_BYTES,
    MAX_CONTAINERS,
    MAX_DEPTH,
    is_deeper,
)
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.common.writer import SourceLocation

_PIECE = 1 << 18
_BEGIN = re.compile(r'\s*(?:\{\s*"\w+"\s*:\s*)?\[')
"""An array, or the object that a page of an API is, whose first member is one."""
_BETWEEN = re.compile(r"[\s,]*")
_decode = json.JSONDecoder().raw_decode


def read_array(
    file: BinaryIO, name: str, report: ReportBuilder
) -> Generator[tuple[dict[str, Any], SourceLocation]]:
    """Yield the objects of the array in a file, or in its page, each with its first line.

    An item that is no object is a problem, and reading goes on; it ends where the text is not JSON.
    """
    with TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape") as text:
        try:
            items = ArrayItems(text, report)
            items.before(_BEGIN)
            for line, value in items:
                if isinstance(value, dict):
                    yield value, SourceLocation(name, line)
                else:
                    report.problem(name, line, f"is a JSON {type(value).__name__}, not an object")
        except InvalidValueError as error:
            report.problem(name, None, error)


class ArrayItems:
    """The items of an array in a text, with their lines, and what stands before and after it.

    InvalidValueError where it cannot be read on.
    """

    def __init__(self, text: TextIO, report: ReportBuilder) -> None:
        self._text = text
        self._report = report
        self._held = ""
        self._at = 0
        self._line = 1
        self._is_whole = False

    def before(self, begin: re.Pattern[str]) -> str:
        """Return the text before the array, which begins with what matches."""
        while (found := begin.search(self._held)) is None:
            self._expect_more()
        self._pass(found.end())
        return self._held[: found.start()]

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        while self._is_within():
            value, end = self._next()
            yield self._line, value
            self._pass(end)

    def after(self) -> str:
        """Return the text after the array; of a long one, the beginning."""
        return self._held[self._at + 1 :] + self._text.read(_PIECE)

    def _is_within(self) -> bool:
        """Return whether another item follows; step over what is between two."""
        self._skip()
        while self._at == len(self._held):
            if self._is_whole:
                raise InvalidValueError(
                    f"ends at line {self._line} within its array: it was cut off"
                )
            self._read_more()
            self._skip()
        return self._held[self._at] != "]"

    def _skip(self) -> None:
        if (found := _BETWEEN.match(self._held, self._at)) is not None:
            self._pass(found.end())

    def _pass(self, end: int) -> None:
        self._line += self._held.count("\n", self._at, end)
        self._at = end

    def _next(self) -> tuple[Any, int]:
        """Return the next item, and where it ends."""
        while True:
            try:
                value, end = _decode(self._held, self._at)
            except RecursionError as error:
                raise InvalidValueError(f"is nested too deep at line {self._line}") from error
            except ValueError:
                self._expect_more()
            else:
                break
        if is_deeper(value, MAX_DEPTH):
            raise InvalidValueError(
                f"is nested deeper than {MAX_DEPTH} levels at line {self._line}"
            )
        return value, end

    def _expect_more(self) -> None:
        """Read more, because the text held is not a whole item."""
        if self._is_whole:
            raise InvalidValueError(f"is not JSON from line {self._line} on, or was cut off")
        if len(self._held) - self._at > MAX_BYTES:
            raise InvalidValueError(
                f"is not JSON from line {self._line} on, or has over {MAX_BYTES >> 20} MiB there"
            )
        self._read_more()

    def _read_more(self) -> None:
        """Read as much again as is held, so that a long item is not parsed too often."""
        held = self._held[self._at :]
        more = self._text.read(max(_PIECE, len(held)))
        self._report.bytes_read += len(more)
        self._is_whole = not more
        self._held, self._at = held + more, 0
        if self._held.count("{") + self._held.count("[") > MAX_CONTAINERS:
            raise InvalidValueError(
                f"has more than {MAX_CONTAINERS:,} arrays and objects from line {self._line} on"
            )
