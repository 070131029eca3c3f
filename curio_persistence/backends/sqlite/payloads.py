"""How SQLite looks for payloads that hold a pattern: most are passed by, what is left is parsed.

Every payload that holds a pattern has certain pieces of text in it. SQLite compares these by
itself; only what has them reaches Python, where the reference decides: to parse takes ten times as
long, and beside a thread that computes, each call into Python has to wait for its turn.
"""

from __future__ import annotations

import re
import sqlite3
from decimal import Decimal
from functools import lru_cache
from math import inf

from curio_persistence.store.filters import Where
from curio_persistence.store.payload_match import Asked, holds, read_pattern

FUNCTION = "curio_payload_holds"
_PIECE = 100
"""How much of a long text is compared."""
_MAY_BE_ESCAPED = re.compile(r'["\\/\x00-\x1f]')
_MEANS_MORE = re.compile(r"[*?[]")
_ONE_OR_TWO = (1, 2)
_ANYTHING = (1, None, None, None, "", "")
_MOST_DIGITS = 20
_WORDS = {True: "true", False: "false", None: "null"}

Bound = tuple[str | float | None, ...]


def configure(connection: sqlite3.Connection) -> None:
    """Teach a connection the function that decides."""
    connection.create_function(FUNCTION, 2, holds, deterministic=True)


def in_two_steps(where: Where) -> Where:
    """The filters, all of which SQLite compares by itself, before those that call Python."""
    decided = tuple(f for f in where if f.op == "holds")
    if not decided:
        return where
    return tuple(f._replace(op="may hold") if f.op == "holds" else f for f in where) + decided


def may_hold(column: str) -> str:
    """The condition for the first step, whatever the pattern; it takes what `bound` gives.

    SQLite's own look at a value is a rough one, and of a key that is repeated sees the first.
    """
    return (
        f"({column} GLOB ? OR {column} GLOB ?) AND (? "
        f"OR CASE WHEN json_valid({column}) THEN json_extract({column}, ?) BETWEEN ? AND ? END "
        f"OR {column} GLOB ? OR {column} GLOB ? OR {column} GLOB '*\\u*')"
    )


@lru_cache
def bound(pattern: str) -> Bound:
    """The pieces of text in their order, and how else they may be written; then what `_roughly`
    gives."""
    asked = read_pattern(pattern)
    pieces = [_piece(asked.path[-1]), *_pieces_of_value(asked.value)]
    # An ASCII letter written as an escape begins with two zeros.
    escape = "\\u00" if "".join(pieces).isascii() else "\\u"
    return (_glob(*pieces), _glob(escape), *_roughly(asked))


def _pieces_of_value(value: str | bool | Decimal | None) -> list[str]:
    if isinstance(value, str):
        return [_piece(value)]
    return _digits(value) if isinstance(value, Decimal) else [_WORDS[value]]


def _digits(number: Decimal) -> list[str]:
    """What all ways to write a number share: its digits, perhaps with a point between two of them,
    and then no other digit but zeros."""
    digits = "".join(map(str, number.as_tuple().digits)).rstrip("0") or "0"
    if len(digits) > _MOST_DIGITS:
        return [*digits[:_MOST_DIGITS]]
    return [*digits[:-1], f"{digits[-1]}[^1-9]"]


def _piece(text: str) -> str:
    """The longest piece of a quoted text that is always written alike, but for `\\u` escapes."""
    first, *others = _MAY_BE_ESCAPED.split(text)
    pieces = [f'"{first}', *others]
    pieces[-1] += '"'
    return _MEANS_MORE.sub(_as_it_is, max(pieces, key=len)[:_PIECE])


def _as_it_is(match: re.Match[str]) -> str:
    return f"[{match[0]}]"


def _glob(*pieces: str) -> str:
    """The pattern for texts that have all pieces in them, one after the other."""
    return f"*{'*'.join(pieces)}*"


def _roughly(asked: Asked) -> Bound:
    """Whether any value will do; else its path, bounds, and globs for repeated keys."""
    plain = all(key and not _MAY_BE_ESCAPED.search(key) for key in asked.path)
    if asked.value is None or not plain or len(asked.path) not in _ONE_OR_TWO:
        return _ANYTHING
    path = "".join(f'."{key}"' for key in asked.path)
    first, *second = (_glob(piece, piece) for piece in map(_piece, asked.path))
    return (0, f"${path}", *_bounds(asked.value), first, "".join(second))


def _bounds(value: str | bool | Decimal) -> tuple[str | float, str | float]:
    """Around a value as SQLite reads it: true is 1, and it need not round a number exactly."""
    if not isinstance(value, Decimal):
        return value, value
    near = float(value)
    margin = abs(near) * 1e-9 + 1e-300
    return (near - margin, near + margin) if abs(near) < 1e300 else (-inf, inf)
