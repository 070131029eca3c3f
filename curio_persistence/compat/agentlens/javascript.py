"""JSON as `JSON.stringify` of JavaScript writes it, to the byte: it is hashed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from json.encoder import encode_basestring
from math import isfinite
from typing import Any

from curio_persistence.errors import InvalidValueError
from curio_persistence.store.json_text import nearest_json

_SURROGATE = re.compile("[\ud800-\udfff]")
_INDEX = re.compile("0|[1-9][0-9]{0,9}")
_LAST_INDEX = 2**32 - 2
_EXACT = 2**53
"""Integers up to this one are doubles, too."""
_LONGEST = 21
"""Digits before the point of the largest number that is written without an exponent."""
_ZEROS = -6
"""The position of the point, before the first digit, of the smallest such number."""


def stringify(value: Any) -> str:
    """Return a value as JSON; of what JSON lacks, the nearest thing that it has."""
    try:
        return _text(value)
    except RecursionError as error:
        raise InvalidValueError("A value is nested too deeply to be written as JSON.") from error


def _text(value: Any) -> str:
    if isinstance(value, str):
        return _string(str.__str__(value))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, Mapping):
        members = _in_order({_key(key): item for key, item in value.items()})
        return f"{{{','.join(f'{_string(key)}:{_text(item)}' for key, item in members)}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_text, value))}]"
    return _text(nearest_json(value))


def _key(key: Any) -> str:
    return key if isinstance(key, str) else _text(key).strip('"')


def _in_order(members: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return members with the indices of arrays first, by number, and the others as inserted."""
    indices = [key for key in members if _INDEX.fullmatch(key) and int(key) <= _LAST_INDEX]
    first = {key: members.pop(key) for key in sorted(indices, key=int)}
    return [*first.items(), *members.items()]


def _string(text: str) -> str:
    written = encode_basestring(text)
    if written.isascii() or not _SURROGATE.search(written):
        return written
    # Two surrogates that are a pair are one character, and written as one.
    paired = written.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", paired)


def _number(value: int | float) -> str:
    if isinstance(value, int) and -_EXACT <= value <= _EXACT:
        return str(int(value))
    try:
        double = float(value)
    except OverflowError:
        return "null"
    return _double(double) if isfinite(double) else "null"


def _double(value: float) -> str:
    if value == 0:
        return "0"
    sign, digits, point = _shortest(value)
    length = len(digits)
    if length <= point <= _LONGEST:
        return sign + digits + "0" * (point - length)
    if 0 < point <= _LONGEST:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if _ZEROS < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if length > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1:+d}"


def _shortest(value: float) -> tuple[str, str, int]:
    """Return the sign, the fewest digits of a number, and the position of its point in them."""
    negative, digits, exponent = Decimal(repr(float(value))).as_tuple()
    assert isinstance(exponent, int)
    written = "".join(map(str, digits))
    return "-" if negative else "", written.rstrip("0"), len(written) + exponent
