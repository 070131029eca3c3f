"""Stored values, parsed and said again: the leaves of what views show and compare."""

from __future__ import annotations

import json
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
        value = json.loads(text, parse_constant=str, parse_float=_finite)
    except (ValueError, RecursionError):
        return text
    return text if _is_too_deep(value) else value


def _finite(text: str) -> float | str:
    """Return a number; its text where that is beyond a float."""
    value = float(text)
    return value if isfinite(value) else text


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
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


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
