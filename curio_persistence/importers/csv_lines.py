"""The lines of a CSV file, for a reader that would take one of any length into memory."""

from __future__ import annotations

import csv
from typing import TextIO

_PIECE = 1 << 20
_STEP = 1 << 16
_MOST_COMMAS = 1 << 20
"""A text without quotes has none; those in quotes are few where a piece can soon be cut."""


class CsvLines:
    """Lines of a sane length as they are, longer ones in pieces.

    To a CSV reader the end of a piece is the end of a row, unless it is inside of quotes; so it is
    there that lines are cut. `number` is that of the line that was read last; what is left of one
    that is too long comes next.
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
        piece = self._read(_PIECE)
        if not piece:
            raise StopIteration
        if len(piece) == _PIECE and not self._may_end:
            piece += self._up_to_where_it_may_end()
        return piece

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
