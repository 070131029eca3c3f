"""Values as LangGraph's checkpoints have them: their fields, and never an object of their classes.

Most are msgpack with extension types: a module, a class and its arguments, of which the arguments
are taken. Older checkpoints are JSON. Nothing that is pickled is opened.
"""

from __future__ import annotations

from typing import Any

from curio_persistence.errors import ConfigurationError, InvalidValueError
from curio_persistence.importers.common.json_lines import parse
from curio_persistence.importers.common.limits import MAX_BYTES, MAX_DEPTH

_ARGUMENTS = 2
"""The position of the arguments in an extension type, after its module and its class."""
_WITH_CLASS, _SNAPSHOT = range(6), 7
_MISSING = "it needs ormsgpack: pip install 'curio-persistence[langgraph]'"


class UnreadableError(InvalidValueError):
    """A value is stored in a way that is not read here."""


def decode(kind: Any, stored: Any) -> Any:
    """Return a stored value; `kind` is the way it was serialized."""
    if isinstance(stored, bytes | str) and len(stored) > MAX_BYTES:
        raise UnreadableError(f"is longer than {MAX_BYTES >> 20} MiB")
    if kind == "msgpack" and isinstance(stored, bytes):
        return _unpack(stored, 0)
    if kind == "json" and isinstance(stored, bytes | str):
        return parse(stored.encode() if isinstance(stored, str) else stored)
    if kind in (None, "null", "empty"):
        return None
    raise UnreadableError(f"is stored as {kind!r:.40}, which is not read")


def _unpack(stored: bytes, depth: int) -> Any:
    try:
        import ormsgpack
    except ImportError as error:
        raise ConfigurationError(_MISSING) from error
    if depth > MAX_DEPTH:
        raise UnreadableError(f"is nested deeper than {MAX_DEPTH} levels")
    try:
        return ormsgpack.unpackb(
            stored,
            ext_hook=lambda code, data: _extension(code, data, depth),
            option=ormsgpack.OPT_NON_STR_KEYS,
        )
    except ValueError as error:
        raise UnreadableError(f"is not msgpack: {error}") from error


def _extension(code: int, data: bytes, depth: int) -> Any:
    if code == _SNAPSHOT:
        return _unpack(data, depth + 1)
    if code not in _WITH_CLASS:
        return None  # An array of numbers, or a type that came later.
    inside = _unpack(data, depth + 1)
    is_object = isinstance(inside, list) and len(inside) > _ARGUMENTS
    return inside[_ARGUMENTS] if is_object else None
