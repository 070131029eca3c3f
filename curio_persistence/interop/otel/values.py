"""Values of attributes as JSON text that tells them apart, and back.

Bytes, and numbers that JSON lacks, are written as objects with one member whose name begins with
`$`; so is an object that could be taken for one of these.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from math import isfinite
from typing import Any

from curio_persistence.store.json_text import encoder

_BYTES, _DOUBLE, _MAP = "$bytes", "$double", "$map"
_MARK = '"$'


def _bytes_marked(value: Any) -> dict[str, str]:
    if not isinstance(value, bytes):
        raise TypeError(f"An attribute is no {type(value).__name__}.")
    return {_BYTES: b64encode(value).decode()}


_encode = encoder(_bytes_marked)


def json_of(values: Any) -> str:
    """Return a dict of attributes, or a list of such dicts, as JSON text."""
    try:
        text = _encode(values)
    except ValueError:  # NaN or an infinity.
        return _encode(_top(values, _marked))
    # Most texts have no name that begins with the mark, and need no second look.
    return _encode(_top(values, _marked)) if _MARK in text else text


def values_in(text: str | None) -> Any:
    """Return the values that `json_of` wrote; None for None, or for text that is no JSON now."""
    if text is None:
        return None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):  # A redactor has changed it.
        return None
    return _top(values, _unmarked) if _MARK in text else values


def _top(values: Any, convert: Any) -> Any:
    """Convert the members of dicts that are no values themselves."""
    if isinstance(values, list):
        return [_top(each, convert) for each in values]
    if isinstance(values, Mapping):
        return {name: convert(value) for name, value in values.items()}
    return convert(values)


def _marked(value: Any) -> Any:
    if isinstance(value, dict):
        inner = {name: _marked(each) for name, each in value.items()}
        return {_MAP: inner} if _is_marked(value) else inner
    if isinstance(value, list | tuple):
        return [_marked(each) for each in value]
    if isinstance(value, bytes):
        return _bytes_marked(value)
    if isinstance(value, float) and not isfinite(value):
        return {_DOUBLE: repr(value)}
    return value


def _is_marked(value: dict[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)).startswith("$")


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(each) for each in value]
    if not isinstance(value, dict):
        return value
    if not _is_marked(value):
        return {name: _unmarked(each) for name, each in value.items()}
    [(mark, inner)] = value.items()
    if mark == _BYTES:
        return b64decode(inner)
    if mark == _DOUBLE:
        return float(inner)
    return {name: _unmarked(each) for name, each in inner.items()}
