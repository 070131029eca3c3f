"""Find payloads that match a pattern in SQLite: by a text comparison first, then by a function.

Every matching payload contains the pattern's key, and then its text, if it has one. SQLite
compares these by itself, so that only payloads that have them are parsed, which takes ten times as
long, and for which a thread must wait for Python's lock.
"""

from __future__ import annotations

import re
import sqlite3
from functools import lru_cache

from curio_persistence.store.filters import Where
from curio_persistence.store.payload_match import contains, read_pattern

FUNCTION = "curio_payload_contains"
MAY_CONTAIN = "({column} GLOB ? OR {column} GLOB '*\\u*')"
"""The condition for the first step; any letter may be written as an escape."""
_PIECE = 100
"""The part of a long text that is compared."""
_MAY_BE_ESCAPED = re.compile(r'["\\/\x00-\x1f]')
_SPECIAL = re.compile(r"[*?[]")


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
def bound(pattern: str) -> tuple[str]:
    """Return the value that `MAY_CONTAIN` binds: a glob of the key and of the value, if a text."""
    asked = read_pattern(pattern)
    texts = [asked.path[-1], *([asked.value] if isinstance(asked.value, str) else [])]
    return (f"*{'*'.join(map(_piece, texts))}*",)


def _piece(text: str) -> str:
    """Return the longest part of a quoted text that is always written alike, but for `\\u`."""
    first, *others = _MAY_BE_ESCAPED.split(text)
    pieces = [f'"{first}', *others]
    pieces[-1] += '"'
    return _SPECIAL.sub(lambda match: f"[{match[0]}]", max(pieces, key=len)[:_PIECE])
