"""Find numbers of payment cards: the pattern `cards`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from curio_persistence.redaction.pattern import Pattern, Span, label

_SMALLEST = 10**12
# No card begins with 0 or 1, and times in milli- or nanoseconds since 1970 do.
_HINT = re.compile(r"[2-9][0-9]{3}(?:(?:[ -]?[0-9]){9}|(?:\.[0-9]{4}){3})")
_GAP = r"[ \u00a0\u2007\u202f\u2010-\u2015\u2212-]"
"""Separators between groups of digits: spaces and dashes, including typographic ones."""
_ANY_HINT = re.compile(rf"\d{{4}}(?:(?:{_GAP}?\d){{9}}|(?:\.\d{{4}}){{3}})")
# Neither within a word nor after a decimal point.
_DIGITS = re.compile(rf"(?<!\w)(?<!\d\.)\d(?:{_GAP}?\d){{12,}}+")
_WITH_DOTS = re.compile(r"(?<![\w.])\d{4}(?:\.\d{4}){3}(?![\w.]?\w)")
_GROUP = re.compile(r"\d+")
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

_NETWORKS = re.compile(
    r"""
      4 (?:\d{12} | \d{15} | \d{18})                        # Visa
    | 5 [1-5] \d{14}                                        # Mastercard
    | 2 (?:2 (?:2[1-9] | [3-9]\d) | [3-6]\d\d | 7 (?:[01]\d | 20)) \d{12}
    | 3 [47] \d{13}                                         # American Express
    | 3 (?:0 | [689]) \d{12,17}                             # Diners Club
    | 35 \d{14,17}                                          # JCB
    | (?:5 [06-9] | 6\d) \d{11,17}                          # Maestro, Discover, UnionPay
    """,
    re.VERBOSE | re.ASCII,
)
"""Prefixes and lengths that the networks publish (ISO/IEC 7812)."""


def _may_have(text: str) -> bool:
    hint = _HINT if text.isascii() else _ANY_HINT
    return hint.search(text) is not None


def _spans(text: str) -> Iterator[Span]:
    for digits in _DIGITS.finditer(text):
        yield from _cards_among(digits)
    if "." in text:
        yield from (found.span() for found in _WITH_DOTS.finditer(text) if _is_card(found[0]))


def _cards_among(digits: re.Match[str]) -> Iterator[Span]:
    """Yield the groups of digits that form a card number together."""
    groups = [group.span() for group in _GROUP.finditer(digits.string, *digits.span())]
    first = 0
    while first < len(groups):
        last = _last_group(digits.string, groups, first)
        if last is not None:
            yield groups[first][0], groups[last][1]
            first = last
        first += 1


def _last_group(text: str, groups: list[Span], first: int) -> int | None:
    """Return the last group of the longest card number that begins with this one."""
    begin, end = groups[first]
    if end - begin < 4:
        return None
    digits, longest = "", None
    for last in range(first, len(groups)):
        digits += text[slice(*groups[last])]
        if len(digits) > 19:
            break
        if len(digits) >= 13 and _is_card(digits):
            longest = last
    return longest


def _is_card(text: str) -> bool:
    """Return whether a number is a network's, with the right check digit (Luhn)."""
    digits = [int(letter) for letter in text if letter.isdecimal()]  # Full-width ones too.
    if not _NETWORKS.fullmatch("".join(map(str, digits))):
        return False
    return (sum(digits[::-2]) + sum(_DOUBLED[digit] for digit in digits[-2::-2])) % 10 == 0


def _has_number(number: int) -> bool:
    return number >= _SMALLEST and number < 10**19 and _is_card(str(number))


CARDS = Pattern(
    "cards", label("card"), _may_have, _spans, within_words=False, has_number=_has_number
)
