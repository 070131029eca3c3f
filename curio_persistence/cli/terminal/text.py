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


def local_time(moment: datetime | None, timespec: str = "seconds") -> str:
    """Return a time as `2026-11-20 10:30:05`, in the local time zone."""
    if moment is None:
        return NOTHING
    try:
        local = moment.astimezone()
    except (OverflowError, ValueError, OSError):  # The first or the last day there is.
        local = moment
    return local.replace(tzinfo=None).isoformat(" ", timespec)


def duration(begin: datetime | None, end: datetime | None) -> str:
    """`0.4 ms`, `850 ms`, `3.2 s`, `4m 05s`, `2h 03m` or `3d 04h`."""
    if begin is None or end is None:
        return NOTHING
    return span((end - begin) / timedelta(milliseconds=1))


def span(milliseconds: float) -> str:
    """A length of time as `duration` says it."""
    if milliseconds < 0:
        return f"-{span(-milliseconds)}"
    if 0 < milliseconds < 9.95:
        return f"{milliseconds:.1f} ms"
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
