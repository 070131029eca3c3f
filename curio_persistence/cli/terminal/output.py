"""Write answers: tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any

from curio_persistence.cli.terminal.text import (
    cells,
    harmless,
    lines,
    one_line,
    padded,
    without_secrets,
)

if TYPE_CHECKING:
    from curio_persistence.cli.terminal.tables import Cell, Column

BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"

_NARROWEST = 40

# Characters that JSON allows, but a terminal may act on or UTF-8 cannot encode.
_UNSAFE = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def _finite(value: Any) -> Any:
    """Return a value with text in place of infinities and NaN, which JSON lacks."""
    match value:
        case float() if not isfinite(value):
            return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case dict():
            return {key: _finite(each) for key, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
    return value


PASSING: list[Callable[[], None]] = []
"""Functions that wipe a line which stands on the terminal only while something is done."""


def wipe() -> None:
    """Wipe passing lines, before something is written that stays."""
    for each in PASSING:
        each()


def say(message: str) -> None:
    """Write a message to stderr, on one line, without passwords."""
    wipe()
    print(one_line(without_secrets(message)), file=sys.stderr)


class Output:
    """The process's stdout; `for_people` is True if it is a terminal and JSON was not asked for."""

    def __init__(self, *, as_json: bool, as_lines: bool = False) -> None:
        self._on_terminal = on_terminal = sys.stdout is not None and sys.stdout.isatty()
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        self.for_people = on_terminal and not as_json and not as_lines
        self._as_lines = as_lines
        self._colours = on_terminal and not plain
        self._encoding = getattr(sys.stdout, "encoding", None) or "utf-8"

    @property
    def width(self) -> int:
        """Return the number of cells in a line of the terminal."""
        import shutil

        return max(shutil.get_terminal_size().columns, _NARROWEST)

    def paint(self, text: str, style: str) -> str:
        """Return a text in a style, if colours are wanted."""
        return f"\x1b[{style}m{text}\x1b[0m" if self._colours and style and text else text

    def json(self, value: Any) -> None:
        """Write a value as JSON; what JSON lacks (an exact decimal, say) as text."""
        self.line(self._as_json(value, indent=2))

    def json_line(self, value: Any) -> None:
        """Write a value as JSON on one line."""
        self.line(self._as_json(value))

    def json_list(self, values: Iterable[Any]) -> None:
        """Write a list as JSON while it is read, or each value on a line if that was asked for."""
        if self._as_lines:
            for value in values:
                self.json_line(value)
            return
        begin = "["
        for value in values:
            self.text(f"{begin}\n  " + self._as_json(value, indent=2).replace("\n", "\n  "))
            begin = ","
        self.line("[]" if begin == "[" else "\n]")

    def _as_json(self, value: Any, indent: int | None = None) -> str:
        in_ascii = not self._encoding.lower().startswith("utf")
        encode = partial(
            json.dumps, indent=indent, ensure_ascii=in_ascii, default=str, allow_nan=False
        )
        try:
            text = encode(value)
        except ValueError:
            text = encode(_finite(value))
        return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)

    def line(self, text: str = "") -> None:
        """Write a line; what the terminal's encoding lacks is spelt out."""
        self.text(f"{text}\n")

    def text(self, text: str) -> None:
        """Write a text unchanged."""
        if self._on_terminal:
            wipe()
        print(text.encode(self._encoding, "backslashreplace").decode(self._encoding), end="")

    def flush(self) -> None:
        """Flush the output."""
        if sys.stdout is not None:
            sys.stdout.flush()

    def check_reader(self) -> None:
        """Raise BrokenPipeError if the reader of the output has gone, without writing anything."""
        import select

        if sys.stdout is None or not hasattr(select, "poll"):
            return
        output = select.poll()
        output.register(sys.stdout.fileno(), 0)
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in output.poll(0)):
            raise BrokenPipeError

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
        """Write aligned rows under a header."""
        from curio_persistence.cli.terminal.tables import table

        for line in table(columns, rows, self.width, self.paint, header=BOLD):
            self.line(line)

    def csv(self, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Write rows as CSV; on a terminal without characters that it may act on."""
        import csv
        import io

        printable = harmless if self.for_people else str
        written = io.StringIO()
        lines = csv.writer(written, lineterminator="\n")
        for row in (header, *rows):
            lines.writerow(printable(each) if isinstance(each, str) else each for each in row)
        self.text(written.getvalue())

    def fields(self, values: dict[str, Any]) -> None:
        """Write each value beside its name, in full; those that are None are left out."""
        width = max(map(cells, values))
        for name, value in values.items():
            if value is None:
                continue
            label = self.paint(padded(name, width), DIM)
            for line in lines(value):
                self.line(f"{label}  {line}".rstrip())
                label = " " * width
