"""Stored values, parsed and said again: the leaves of what views show and compare."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any

_DEEPEST = 100
"""Levels of JSON: what is nested deeper is taken as the text it is kept as."""

_MOST = 10**15


def parsed(text: Any) -> Any:
    """Return what JSON text holds, with text for NaN and infinities; anything else as it is."""
    if not isinstance(text, str):
        return text
    try:
        value = _read(text)
    except (ValueError, RecursionError):
        return text
    may_be_deep = text.count("{") + text.count("[") > _DEEPEST
    return text if may_be_deep and _is_too_deep(value) else value


def _read(text: str) -> Any:
    if text[:1] not in "{[":
        return _PARSER.decode(text)
    value, end = _PARSER.raw_decode(text)  # In half the time: it allows for no spaces around.
    return value if end == len(text) else _PARSER.decode(text)


def parsed_beginning(text: str) -> Any:
    """Return what the beginning of JSON text holds: of an object the members that it has.

    The last of them is the beginning of its text.
    """
    if not text.startswith("{"):
        return text
    members: dict[str, Any] = {}
    at = 1
    while (found := _MEMBER.match(text, at)) is not None:
        key, at = json.loads(found[1]), found.end()
        try:
            members[key], at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            members[key] = _beginning_of_value(text[at:])
            break
    return members or text


def _beginning_of_value(text: str) -> str:
    """Return the text whose JSON is cut, perhaps in the middle of an escape; others as they are."""
    if text.startswith('"'):
        for end in range(len(text), len(text) - _ESCAPE, -1):
            with suppress(ValueError):
                return str(json.loads(f'{text[:end]}"'))
    return text


_ESCAPE = len("\\ud83d\\ude00")
_DECODER = json.JSONDecoder()
_MEMBER = re.compile(r'[\s,]*("(?:[^"\\]|\\.)*")\s*:\s*')


def _finite(text: str) -> float | str:
    """Return a number; its text where that is beyond a float."""
    value = float(text)
    return value if isfinite(value) else text


_PARSER = json.JSONDecoder(parse_constant=str, parse_float=_finite)
_WRITER = json.JSONEncoder(ensure_ascii=False)


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True


def compact(value: Any) -> str:
    """Return a parsed value on one line: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else _WRITER.encode(value)


def is_number(value: Any) -> bool:
    """Return True for what can be calculated with; numbers in JSON may have any size."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return False
    return -_MOST < value < _MOST


def without_nothing(parts: dict[str, Any]) -> dict[str, Any]:
    """Return the members that are not None."""
    return {name: value for name, value in parts.items() if value is not None}


def milliseconds(begin: datetime | None, end: datetime | None) -> float | None:
    """Return the time between two moments; None where one is unknown."""
    if begin is None or end is None:
        return None
    return (end - begin) / timedelta(milliseconds=1)


def length_of_time(ms: float) -> str:
    """Return `0.4 ms`, `850 ms`, or `1,200.5 s`."""
    if round(ms) >= 1000:
        return f"{ms / 1000:,.1f} s"
    return f"{ms:.1f} ms" if 0 < ms < 9.95 else f"{ms:.0f} ms"
