"""Write any Python value as JSON: no value is refused, and an odd one costs itself only.

What JSON lacks becomes the nearest thing it has. Objects of pydantic, attrs, numpy, pandas and the
like are known by their methods, so that none of these packages is imported.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import numbers
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    KeysView,
    Mapping,
    Sequence,
    Set,
    ValuesView,
)
from copy import copy
from datetime import date, time
from enum import Enum
from math import isfinite
from typing import Any

_DEEPEST = 256
_SCALARS = frozenset({str, int, float, bool, type(None)})
_STR = frozenset({str})
_EMPTY: tuple[Iterable[Any], ...] = ([], (), {}, {}.values(), {}.items(), set(), range(0), "", b"")
_ITERATORS = tuple(type(iter(each)) for each in _EMPTY)
"""Iterators that can be copied, so that reading them does not use them up."""


def encoder(default: Callable[[Any], Any] | None = None) -> Callable[[Any], str]:
    """Return the `encode` of a JSONEncoder, whose part in C is made once instead of at each call.

    To make it takes longer than to encode a small payload. It raises ValueError for NaN, and
    RecursionError for a cycle. `default` returns what is written for a value that JSON lacks.
    """
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=default).encode
    text = json.encoder.encode_basestring
    parts = make(None, default, text, None, ": ", ", ", False, False, False)
    return lambda value: "".join(parts(value, 0))


_encode = encoder()


def json_text(value: Any) -> str:
    """Return a value as JSON without ASCII escapes; NaN and what JSON lacks are text in it."""
    try:
        if _is_plain(value):
            return _encode(value)
    except (ValueError, RecursionError):  # NaN, an integer of too many digits, or a cycle.
        pass
    return _encode(nearest_json(value))


def as_object(value: Any) -> dict[str, Any]:
    """Return what a JSON field holds as a dictionary; what is not an object is its `value`."""
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {"value": value}
    return value if isinstance(value, dict) else {"value": value}


def bool_as_number(value: Any) -> Any:
    """Return 1 or 0 for a bool, numpy's too, and any other value as it is."""
    nearest = nearest_json(value)
    return int(nearest) if isinstance(nearest, bool) else value


def _is_plain(value: Any) -> bool:
    """Return whether the encoder writes this as it is meant: it misreads odd keys and tuples."""
    kind = type(value)
    if kind is dict:
        if not _STR.issuperset(map(type, value)):
            return False
        value = value.values()
    elif kind is not list and kind is not tuple:
        return kind in _SCALARS
    return _SCALARS.issuperset(map(type, value)) or all(map(_is_plain, value))


def nearest_json(value: Any, above: frozenset[int] = frozenset()) -> Any:
    """Return a copy that JSON can express; `above` are the ids of the values that contain it."""
    if value is None or isinstance(value, str | bool):
        return value
    try:
        if type(value) in _SCALARS:
            return _number(value)
        if id(value) in above:
            return "<recursion>"
        if len(above) > _DEEPEST:
            return "<nested too deeply>"
        return _parts(_step(value), above | {id(value)})
    except Exception as error:
        return f"<{type(error).__name__} in {type(value).__name__}>"


def _number(value: int | float) -> int | float | str:
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    return value if value.bit_length() < 10_000 else hex(value)  # Python limits decimal digits.


def _parts(value: Any, above: frozenset[int]) -> Any:
    if isinstance(value, dict):
        return {
            key: nearest_json(item, above)
            for key, item in zip(_keys(value), value.values(), strict=True)
        }
    if isinstance(value, list):
        return [nearest_json(item, above) for item in value]
    return nearest_json(value, above)


def _keys(value: dict[Any, Any]) -> list[str]:
    """Return the keys as text; one that would hide another names its type too."""
    taken = {key for key in value if type(key) is str}
    names = []
    for key in value:
        name = key if type(key) is str else _key_text(key)
        if type(key) is not str:
            while name in taken:
                name = f"{name} ({type(key).__name__})"
            taken.add(name)
        names.append(name)
    return names


def _key_text(key: Any) -> str:
    if isinstance(key, Enum):
        key = key.value
    if key is None or isinstance(key, bool | int | float):
        return json.dumps(nearest_json(key)).strip('"')
    try:
        return str(key)
    except Exception as error:
        return f"<{type(error).__name__} in {type(key).__name__}>"


def _step(value: Any) -> Any:
    """Return a dict, a list or a scalar for a value, or an object that is nearer to them."""
    if type(value) is dict or type(value) is list:  # Nearly all that an SDK's object consists of.
        return value.copy()
    for read in _READERS:
        try:
            if (found := read(value)) is not value:
                return found
        except Exception:
            continue  # It cannot be read in this way.
    return str(value)


def _read_scalar(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else value


def _read_bytes(value: Any) -> Any:
    if not isinstance(value, bytes | bytearray | memoryview):
        return value
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def _read_object(value: Any) -> Any:
    """Call a method of the value's type: a mock seems to have every method, its type does not."""
    for name, read in _METHODS.items():
        if hasattr(type(value), name):
            return read(value)
    return value


def _pydantic(value: Any) -> Any:
    try:
        return value.model_dump(mode="json")
    except Exception:  # One of its fields has a value that pydantic cannot write.
        return value.model_dump()


def _frame(value: Any) -> Any:
    return value.to_dict(orient="records") if hasattr(type(value), "columns") else value.to_dict()


def _fields(value: Any, fields: Iterable[Any]) -> dict[str, Any]:
    return {field.name: getattr(value, field.name, None) for field in fields}


_METHODS: Mapping[str, Callable[[Any], Any]] = {
    "model_dump": _pydantic,
    "__fields__": lambda value: value.dict(),
    "__dataclass_fields__": lambda value: _fields(value, dataclasses.fields(value)),
    "__attrs_attrs__": lambda value: _fields(value, value.__attrs_attrs__),
    "_asdict": lambda value: dict(value._asdict()),
    "to_pylist": lambda value: value.to_pylist(),
    "to_dicts": lambda value: value.to_dicts(),
    "to_dict": _frame,
    "tolist": lambda value: value.tolist(),
}
"""Readers of objects whose type has this attribute: models, records, frames and arrays."""


def _read_container(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, KeysView | ValuesView | ItemsView):
        return list(value)
    if isinstance(value, Set):
        return sorted(value, key=repr)
    if isinstance(value, _ITERATORS):
        return list(copy(value))
    return list(value) if isinstance(value, Sequence) else value


_READERS = (_read_scalar, _read_bytes, _read_object, _read_container)
