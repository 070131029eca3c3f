"""Patterns for payloads: one value at the end of one path.

A pattern is stored as JSON, with an object for each key of the path:
`{"result": {"status": "error"}}`. This module is the reference; a database that matches patterns
itself gives the same answers. A payload that one of the databases cannot represent therefore
matches nothing on any backend:

* text that is not a JSON object;
* NUL, or half of a surrogate pair, written as an escape (`\\u0000`);
* more than 256 levels of brackets, or more than 16 million characters;
* a number of more than 131,072 digits before the point or 16,383 behind it.
"""

from __future__ import annotations

import json
import numbers
import operator
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple, cast

from curio_persistence.store.codecs import encode_text

Path = str | tuple[str, ...]
"""Keys joined by dots, or a tuple of keys that may contain dots."""

_MOST_KEYS = 64
_LONGEST_PATH = 1_000
_DEEPEST = 256
_LONGEST = 16_000_000
_LONG = 4_000
"""Digits that Python converts to an integer by default."""
_DIGITS_BEFORE = 131_072
_DIGITS_BEHIND = 16_383
_LARGEST_EXPONENT = 2**30 - 2


class Asked(NamedTuple):
    """A parsed pattern: its keys, and a text, bool, Decimal or None."""

    path: tuple[str, ...]
    value: str | bool | Decimal | None


def encode_pattern(path: Any, value: Any) -> str:
    """Return the stored form of a pattern; raises ValueError or TypeError with a clause."""
    text = _json_of(value)
    for key in reversed(_keys(path)):
        text = f"{{{_quoted(key)}: {text}}}"
    return text


def _keys(path: Any) -> tuple[str, ...]:
    keys = tuple(path.split(".")) if isinstance(path, str) else path
    if not isinstance(keys, tuple) or not all(isinstance(key, str) for key in keys):
        raise TypeError(f"is asked by paths ('result.status') or tuples of keys, not {path!r}")
    if not keys or (isinstance(path, str) and "" in keys):
        raise ValueError(f"is asked by a path without a key: {path!r}; an empty one needs a tuple")
    if len(keys) > _MOST_KEYS or sum(map(len, keys)) > _LONGEST_PATH:
        raise ValueError(
            f"is asked by a path of more than {_MOST_KEYS} keys or {_LONGEST_PATH:,} characters"
        )
    return keys


def _json_of(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return _quoted(value)
    try:
        return str(_plain_number(value))
    except TypeError:
        raise TypeError(
            f"is compared with text, numbers, booleans and None, not {type(value).__name__}"
        ) from None
    except ArithmeticError:
        raise ValueError(f"has no such number in it: {value!r}") from None


def _quoted(text: str) -> str:
    stored = encode_text(text)
    if "\0" in text:
        raise ValueError("is not searched for NUL")
    return json.dumps(stored, ensure_ascii=False)


def _plain_number(value: Any) -> Decimal:
    """Return a number as a Decimal; a float is read as it prints."""
    if isinstance(value, numbers.Integral):
        return _checked(Decimal(operator.index(value)))
    if isinstance(value, numbers.Real | Decimal):
        return _number(str(value))
    raise TypeError


def _number(text: str) -> Decimal:
    number = Decimal(text)
    if len(text) < _LONG and "e" not in text and "E" not in text:  # The common case.
        return number if number.is_finite() else _checked(number)
    return _checked(number)


def _checked(number: Decimal) -> Decimal:
    """Return the number; raises InvalidOperation where a database cannot represent it."""
    exponent = number.as_tuple().exponent
    if (
        isinstance(exponent, str)  # NaN, infinity.
        or not -_DIGITS_BEHIND <= exponent <= _LARGEST_EXPONENT
        or (number and number.adjusted() >= _DIGITS_BEFORE)
    ):
        raise InvalidOperation
    return number


def _no_json(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


_DECODER = json.JSONDecoder(parse_float=_number, parse_constant=_no_json)
_DECODER_OF_LONG = json.JSONDecoder(parse_float=_number, parse_int=_number, parse_constant=_no_json)
_NO_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[^\[\]{}"]+|"', re.DOTALL)
_PAIRS = re.compile(r"\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..")
_UNHOLDABLE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


@lru_cache
def read_pattern(pattern: str) -> Asked:
    """Parse a pattern in stored form."""
    keys = []
    value = _DECODER_OF_LONG.decode(pattern)
    while isinstance(value, dict):
        [(key, value)] = value.items()
        keys.append(key)
    return Asked(tuple(keys), value)


def contains(stored: str, pattern: str) -> bool:
    """Return whether a stored payload has the pattern's value at the end of its path.

    The last of repeated keys counts. Numbers are compared exactly, as decimals.
    """
    path, wanted = read_pattern(pattern)
    found: Any = _object_in(stored)
    for key in path:
        if not isinstance(found, dict) or key not in found:
            return False
        found = found[key]
    if isinstance(wanted, Decimal):
        return type(found) in (int, Decimal) and bool(found == wanted)  # A bool is also an int.
    return type(found) is type(wanted) and bool(found == wanted)


def _object_in(stored: str) -> Mapping[str, Any] | None:
    """Return the payload as an object, or None where a database cannot represent it as one."""
    text = stored.strip(" \t\n\r")
    if not text.startswith("{") or _is_too_much(stored):
        return None
    decoder = _DECODER_OF_LONG if len(text) > _LONG else _DECODER
    try:
        found, end = decoder.raw_decode(text)
    except (ValueError, ArithmeticError, RecursionError):
        return None
    if end < len(text) or ("\\u" in text and _UNHOLDABLE.search(_PAIRS.sub(" ", text))):
        return None
    return cast(dict[str, Any], found)


def _is_too_much(stored: str) -> bool:
    if len(stored) <= 2 * _DEEPEST:  # The text is too short for that many pairs of brackets.
        return False
    return len(stored) > _LONGEST or (
        stored.count("[") + stored.count("{") > _DEEPEST and _depth(stored) > _DEEPEST
    )


def _depth(stored: str) -> int:
    brackets = _NO_BRACKETS.sub("", stored)
    return max(accumulate(1 if bracket in "[{" else -1 for bracket in brackets), default=0)
