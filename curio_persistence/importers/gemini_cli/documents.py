"""The older chats of Gemini CLI: one JSON document, read message by message, however long it is.

Of one that was cut off, what comes before that is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from curio_persistence.errors import InvalidValueError
from curio_persistence.importers.common.json_lines import parse
from curio_persistence.importers.common.limits import MAX_BYTES, MAX_CONTAINERS
from curio_persistence.importers.common.report import ReportBuilder

_CHUNK = 1 << 20
_MESSAGES = re.compile(r'"messages"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")


def read_document(path: Path, report: ReportBuilder) -> Iterator[Any]:
    """Yield the object without its messages, each message, and what follows, as a log has it.

    InvalidValueError where it cannot be read on.
    """
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = _Reader(file, report)
        yield reader.header()
        yield from reader.messages()
        yield reader.rest()


class _Reader:
    """Reads on as far as the next message needs it."""

    def __init__(self, file: TextIO, report: ReportBuilder) -> None:
        self._file, self._report = file, report
        self._text, self._at = "", 0

    def header(self) -> Any:
        while (found := _MESSAGES.search(self._text)) is None:
            self._read_on()
        self._at = found.end()
        header = self._text[: found.start()] + '"messages": null}'
        return parse(header.encode("utf-8", "surrogatepass"))

    def messages(self) -> Iterator[Any]:
        decoder = json.JSONDecoder()
        while True:
            self._skip()
            if self._text.startswith("]", self._at):
                return
            try:
                message, end = decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                self._read_on()  # The message may be longer than what was read of it.
            except RecursionError as error:
                raise InvalidValueError("is nested too deeply") from error
            else:
                yield message
                self._at = end

    def rest(self) -> Any:
        rest = self._text[self._at + 1 :] + self._file.read(_CHUNK)
        return {"$set": parse(('{"messages": null' + rest).encode("utf-8", "surrogatepass"))}

    def _skip(self) -> None:
        between = _BETWEEN.match(self._text, self._at)
        self._at = self._at if between is None else between.end()

    def _read_on(self) -> None:
        """Read at least as much again as there is."""
        self._text, self._at = self._text[self._at :], 0
        if len(self._text) > MAX_BYTES:
            raise InvalidValueError(f"is longer than {MAX_BYTES >> 20} MiB, or is not JSON")
        more = self._file.read(max(_CHUNK, len(self._text)))
        if not more:
            raise InvalidValueError("ends too early, or is not JSON")
        self._report.bytes_read += len(more)
        self._text += more
        if self._text.count("{") + self._text.count("[") > MAX_CONTAINERS:
            raise InvalidValueError(f"has more than {MAX_CONTAINERS:,} arrays and objects")
