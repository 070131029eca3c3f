"""Stored text on a terminal: harmless, measured in cells, cut to size."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decimal import Decimal

NOTHING = "–"
_LOOKED_AT = 4000
"""Characters of a text that is to fit on one line; no line is that long."""

_SPACE = re.compile(r"\s+")
_SECRETS = re.compile(r"(?<=://)([^\s:/@]*):\S*(?=@)|\b(password=)[^\s&'\"]+", re.IGNORECASE)
_WIDE = frozenset("WF")
_ON_TOP = frozenset(("Mn", "Me"))
_FIRST_ON_TOP = "\u0300"  # Below it nothing is wide either.


def one_line(value: Any) -> str:
    """A value on one line: white space becomes single spaces, what moves a cursor is spelt out."""
    text = value if isinstance(value, str) else str(value)
    return harmless(_SPACE.sub(" ", text[:_LOOKED_AT]).strip())


def lines(value: Any) -> list[str]:
    """A value as the lines it has, each harmless."""
    text = value if isinstance(value, str) else str(value)
    return [harmless(line.expandtabs(4).rstrip()) for line in text.split("\n")]


def harmless(text: str) -> str:
    """A text in which what moves a cursor is spelt out."""
    return text if text.isprintable() else "".join(map(_spelt_out, text))


def _spelt_out(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


def cells(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def _cells_of(character: str) -> int:
    if character < _FIRST_ON_TOP:
        return 1
    if unicodedata.category(character) in _ON_TOP:
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1


def shortened(text: str, width: int) -> str:
    """A text in at most `width` cells, an ellipsis for what was cut off."""
    taken = fitting = 0
    for index, character in enumerate(text):
        taken += _cells_of(character)
        if taken > width:
            return text[:fitting].rstrip() + "…"
        if taken < width:
            fitting = index + 1
    return text


def folded(text: str, width: int) -> Iterator[tuple[int, int]]:
    """Where lines of `width` cells begin and end in a text: after spaces, or before what is wide.

    A word that is longer is broken anywhere.
    """
    begin = taken = fitting = 0
    for index, character in enumerate(text):
        wide = _cells_of(character)
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


def local_time(moment: datetime | None, timespec: str = "seconds") -> str:
    """`2026-11-20 10:30:05`, in the time zone of whoever looks."""
    if moment is None:
        return NOTHING
    try:
        local = moment.astimezone()
    except (OverflowError, ValueError, OSError):  # The first or the last day there is.
        local = moment
    return local.replace(tzinfo=None).isoformat(" ", timespec)


def duration(begin: datetime | None, end: datetime | None) -> str:
    """`850 ms`, `3.2 s`, `4m 05s`, `2h 03m` or `3d 04h`."""
    if begin is None or end is None:
        return NOTHING
    return span((end - begin) / timedelta(milliseconds=1))


def span(milliseconds: float) -> str:
    """A length of time as `duration` says it."""
    if milliseconds < 0:
        return f"-{span(-milliseconds)}"
    whole = round(milliseconds)
    if whole < 1000:
        return f"{whole} ms"
    if whole < 59_950:
        return f"{whole / 1000:.1f} s"
    minutes, seconds = divmod(round(whole / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours:02d}h"
    return f"{hours}h {minutes:02d}m" if hours else f"{minutes}m {seconds:02d}s"


def money(dollars: Decimal | None) -> str:
    """`$1,200.50`, exact."""
    return "unknown" if dollars is None else f"${dollars:,f}"
