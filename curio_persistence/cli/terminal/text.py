"""Stored text on a terminal: harmless, measured in cells, cut to size."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

_LOOKED_AT = 4000
"""Characters of a text that is to fit on one line; no line is that long."""

_SPACE = re.compile(r"\s+")
_SECRETS = re.compile(r"(?<=://)([^\s:/@]*):\S*(?=@)|\b(password=)[^\s&'\"]+", re.IGNORECASE)
# Controls, bidirectional controls, line separators and surrogates: a terminal may act on them, or
# UTF-8 cannot carry them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_WIDE = frozenset("WF")
_NO_CELL = frozenset(("Mn", "Me", "Cf"))
_SYMBOLS = frozenset(("So", "Sm"))
_FIRST_WITHOUT_CELL = "\u00ad"  # Below it nothing is wide either.
_JOINER, _AS_EMOJI = "\u200d", "\ufe0f"


def one_line(value: Any) -> str:
    """A value on one line: white space becomes single spaces."""
    text = value if isinstance(value, str) else str(value)
    return harmless(_SPACE.sub(" ", text[:_LOOKED_AT]).strip())


def lines(value: Any) -> list[str]:
    """A value as the lines it has, each harmless."""
    text = value if isinstance(value, str) else str(value)
    return [harmless(line.expandtabs(4).rstrip()) for line in text.split("\n")]


def harmless(text: str) -> str:
    """Return a text with everything spelled out that a terminal might act on."""
    return text if text.isprintable() else _UNSAFE.sub(_spelled_out, text)


def _spelled_out(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(_widths(text))


def _widths(text: str) -> Iterator[int]:
    """Yield how many columns each character adds; an emoji that is joined to another adds none."""
    before, taken = "", 0
    for character in text:
        taken = _width(character, before, taken)
        yield taken
        before = character


def _width(character: str, before: str, taken: int) -> int:
    if character < _FIRST_WITHOUT_CELL:
        return 1
    category = unicodedata.category(character)
    if character == _AS_EMOJI:
        return int(taken == 1 and unicodedata.category(before) in _SYMBOLS)
    if category in _NO_CELL or (before == _JOINER and category in _SYMBOLS):
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1


def shortened(text: str, width: int) -> str:
    """A text in at most `width` cells, an ellipsis for what was cut off."""
    taken = fitting = 0
    for index, added in enumerate(_widths(text)):
        taken += added
        if taken > width:
            return text[:fitting].rstrip() + "…"
        if taken < width:
            fitting = index + 1
    return text


def folded(text: str, width: int) -> Iterator[tuple[int, int]]:
    """Yield the begin and end of lines of `width` cells, cut at spaces or wide characters.

    A word that is longer is broken anywhere.
    """
    begin = taken = fitting = 0
    for index, (character, wide) in enumerate(zip(text, _widths(text), strict=True)):
        if character == " " or wide == 2:
            fitting = index + (character == " ")
        taken += wide
        if taken > width and character != " ":
            end = fitting if fitting > begin else index
            yield begin, end
            begin, taken = end, cells(text[end : index + 1])
    yield begin, len(text)


def padded(text: str, width: int, *, right: bool = False) -> str:
    """A text with spaces to fill `width` cells: after it, or before it to stand on the right."""
    space = " " * (width - cells(text))
    return space + text if right else text + space


def without_secrets(message: str) -> str:
    """A message without the passwords of URLs in it: a mistyped command may have put one there."""
    return _SECRETS.sub(lambda found: f"{found[2] or found[1] + ':'}***", message)
