"""Yield the lines of a CSV file in pieces of bounded length."""

from __future__ import annotations

import csv
import re
from typing import TextIO

_PIECE = 1 << 20
_STEP = 1 << 16
_MOST_COMMAS = 1 << 20
"""A text without quotes has none; those in quotes are few where a piece can soon be cut."""

EMPTY = "\0"
"""Stands for `""`, an empty text, which `csv` would read like an empty field, None."""

_QUOTED = re.compile(r'"[^"]*+(?:""[^"]*+)*+"?')
"""A field in quotes; without the last quote, it goes on in the next piece."""


class CsvLines:
    """Lines of an ordinary length unchanged, longer ones in pieces.

    To a CSV reader the end of a piece is the end of a row, unless it is inside quotes; so lines are
    cut inside quotes. `number` is that of the line read last. Fields that are empty texts are
    `EMPTY`.
    """

    def __init__(self, text: TextIO, number: int, longest: int) -> None:
        self._text = text
        self._longest = longest
        self._is_quoted = False
        self._has_ended = True
        self.number = number

    def __iter__(self) -> CsvLines:
        return self

    def __next__(self) -> str:
        was_quoted = self._is_quoted
        piece = self._read(_PIECE)
        if not piece:
            raise StopIteration
        if len(piece) == _PIECE and not self._may_end:
            piece += self._up_to_where_it_may_end()
        return _marked(piece, was_quoted) if '""' in piece else piece

    def _read(self, size: int) -> str:
        piece = self._text.readline(size)
        self.number += self._has_ended
        self._has_ended = piece.endswith(("\n", "\r"))
        self._is_quoted ^= piece.count('"') % 2 == 1
        return piece

    @property
    def _may_end(self) -> bool:
        return self._is_quoted or self._has_ended

    def _up_to_where_it_may_end(self) -> str:
        pieces = []
        commas = letters = 0
        while piece := self._read(_STEP):
            pieces.append(piece)
            commas += piece.count(",")
            letters += len(piece)
            if self._may_end:
                break
            if commas > _MOST_COMMAS or letters > self._longest:
                raise csv.Error("the line is longer than a record")
        return "".join(pieces)


def _marked(piece: str, is_quoted: bool) -> str:
    """Mark the empty texts of a piece, which begins with a row or, quoted, within a field."""
    start = 1 if is_quoted else 0

    def mark(field: re.Match[str]) -> str:
        begin, end = field.span()
        is_whole = begin >= start and piece_with_quote[end : end + 1] in _BEHIND_A_FIELD
        return EMPTY if field[0] == '""' and is_whole else field[0]

    piece_with_quote = '"' * start + piece
    return _QUOTED.sub(mark, piece_with_quote)[start:]


_BEHIND_A_FIELD = ("", ",", "\r", "\n")
