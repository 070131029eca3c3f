"""Find payloads that match a pattern in SQLite: by a text comparison first, then by a function.

Every matching payload contains the pattern's key, and then its value in one of the ways to write
it. SQLite compares these by itself, so that only payloads that have them are parsed, which takes
ten times as long, and for which a thread must wait for Python's lock.
"""

from __future__ import annotations

import json
import re
import sqlite3
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from curio_persistence.store.filters import Where
from curio_persistence.store.payload_match import contains, read_pattern

FUNCTION = "curio_payload_contains"
_BETWEEN = " \t\n\r:-.0"
"""Characters between a key and the first digit of a number that is not zero."""
MAY_CONTAIN = (
    "({column} GLOB ? AND (ltrim(substr({column}, instr({column}, ?) + ?), ?) GLOB ? "
    "OR {column} GLOB ?) OR {column} GLOB '*\\u*')"
)
"""The condition for the first step, with the values of `Bound`; any letter may be written as an
escape."""
_PIECE = 100
"""The part of a long text that is compared."""
_MOST_DIGITS = 20
_MAY_BE_ESCAPED = re.compile(r'["\\/\x00-\x1f]')
_SPECIAL = re.compile(r"[*?[]")


class Bound(NamedTuple):
    """The values that `MAY_CONTAIN` binds.

    The value must follow the key, and follow it at once where the key stands only once.
    """

    key_and_value: str
    key: str
    key_length: int
    between: str
    value: str
    key_twice: str


def configure(connection: sqlite3.Connection) -> None:
    """Define the SQL function that decides."""
    connection.create_function(FUNCTION, 2, contains, deterministic=True)


def in_two_steps(where: Where) -> Where:
    """Return the filters, all of which SQLite compares by itself, before those that call Python."""
    decided = tuple(f for f in where if f.op == "contains")
    if not decided:
        return where
    return tuple(f._replace(op="may contain") if f.op == "contains" else f for f in where) + decided


@lru_cache
def bound(pattern: str) -> Bound:
    """Return the values that `MAY_CONTAIN` binds for a pattern."""
    asked = read_pattern(pattern)
    key = _piece(asked.path[-1])
    value = _value(asked.value)
    if key != f'"{asked.path[-1]}"':  # A part of it, which the value does not follow at once.
        value = f"*{value}"
    glob = _glob(key)
    return Bound(f"*{glob}*{value}", key, len(key), _BETWEEN, value, f"*{glob}*{glob}*")


def _value(value: str | bool | Decimal | None) -> str:
    """Return a glob of what follows a key that has this value, behind what is `_BETWEEN`.

    All ways to write a number share its digits, with a point between two of them at most, and
    behind them no digit but zeros.
    """
    if isinstance(value, str):
        return f"*{_glob(_piece(value))}*"
    if not isinstance(value, Decimal):
        return f"{json.dumps(value)}*"
    digits = "".join(map(str, value.as_tuple().digits)).rstrip("0")
    behind = "[^1-9]*" if len(digits) <= _MOST_DIGITS else "*"
    return "*".join(digits[:_MOST_DIGITS]) + behind


def _piece(text: str) -> str:
    """Return the longest part of a quoted text that is always written alike, but for `\\u`."""
    first, *others = _MAY_BE_ESCAPED.split(text)
    pieces = [f'"{first}', *others]
    pieces[-1] += '"'
    return max(pieces, key=len)[:_PIECE]


def _glob(text: str) -> str:
    return _SPECIAL.sub(lambda match: f"[{match[0]}]", text)
