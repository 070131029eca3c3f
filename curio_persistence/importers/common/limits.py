"""Limits of what is imported: it may be broken, or meant to do harm."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

MAX_BYTES = 16 << 20
"""Bytes of a line, and of a JSON file that is read at once. Parsed, it takes a multiple of that."""

MAX_CONTAINERS = 500_000
"""Arrays and objects in such a text. An empty one takes two bytes there, and eighty when parsed."""

MAX_DEPTH = 200
"""Levels of arrays and objects inside one another."""

MAX_FOLDERS = 1_000_000
"""Run folders in one folder; their names are kept in memory."""


def is_deeper(value: Any, depth: int) -> bool:
    """Return whether a parsed value is nested deeper; level by level, without recursion."""
    level: list[Any] = [value]
    for _ in range(depth):
        level = list(chain.from_iterable(map(_below, level)))
        if not level:
            return False
    return any(isinstance(each, dict | list) for each in level)


def _below(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
