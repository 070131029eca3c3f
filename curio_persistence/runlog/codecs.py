"""Entries as the JSON text of events, and back: the entry that is read equals the one written.

How a field is converted follows from its annotation: times, words of enums, decimals, dataclasses,
and lists, tuples and dictionaries of these. Other values are written as they are. A time within
such a value is marked, so that it comes back as a time. What JSON lacks becomes what is nearest to
it, and a tuple a list. A field that is None by default is left out if it is None.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from operator import attrgetter
from types import UnionType
from typing import Any, NamedTuple, NoReturn, Union, get_args, get_origin, get_type_hints

from curio_persistence.errors import InvalidValueError
from curio_persistence.runlog.registry import RunLogEntry, UnknownEntry, class_of, upgrade_of
from curio_persistence.runlog.shapes import shape_of
from curio_persistence.runlog.values import ContentPart, UserMessage
from curio_persistence.store.json_text import encoder, json_text, nearest_json

_VERSION = "__version"
"""The member of the stored object with the version of its kind, if that is not 1."""
_TYPE = "__type"
"""The member of a stored `user_input` that says which of its forms it is."""
_TIME = "__datetime__"
"""The only member of an object that stands for a time within a value."""

Convert = Callable[[Any], Any]


class Codec(NamedTuple):
    """How the values of a field are written, and how they are read."""

    write: Convert
    read: Convert


class Fields:
    """The fields of a dataclass, how they are written into a dictionary, and read from one."""

    def __init__(self, cls: type, without: frozenset[str] = frozenset()) -> None:
        hints = get_type_hints(cls)
        own = [field for field in fields(cls) if field.name not in without]
        codecs = [(field.name, codec) for field in own if (codec := _codec(hints[field.name]))]
        self._class = cls.__name__
        shapes = [(field.name, shape_of(hints[field.name])) for field in own]
        self._shapes = [(name, shape.fits, shape.words) for name, shape in shapes if shape]
        self._names = [field.name for field in own]
        self._told = [field.name for field in own if field.default is not None]
        self._writers = [(name, codec.write) for name, codec in codecs]
        self._readers = [(name, codec.read) for name, codec in codecs]
        # Of one name, attrgetter returns the value instead of a tuple.
        self._get = attrgetter(*self._names, "__class__", "__class__")

    def write(self, value: Any) -> dict[str, Any]:
        """Return the fields by name, without those that are None, and by default None."""
        found = dict(zip(self._names, self._get(value), strict=False))
        self._check(found)
        data = {name: each for name, each in found.items() if each is not None}
        for name, write in self._writers:
            if name in data:
                data[name] = self._written(name, write, data[name])
        for name in self._told:
            if name not in data:
                data[name] = None
        return data

    def read(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that are there, without other members."""
        values = {name: data[name] for name in self._names if name in data}
        for name, read in self._readers:
            if values.get(name) is not None:
                values[name] = read(values[name])
        self._check(values)
        return values

    def _check(self, values: Mapping[str, Any]) -> None:
        for name, fits, words in self._shapes:
            if name in values and not fits(values[name]):
                self._refuse(name, f"must be {words}, not {values[name]!r:.80}")

    def _written(self, name: str, write: Convert, value: Any) -> Any:
        try:
            return write(value)
        except (AttributeError, TypeError):
            self._refuse(name, f"cannot be written: it is {value!r:.80}")

    def _refuse(self, name: str, reason: str) -> NoReturn:
        field = f"{self._class}.{name}"
        raise InvalidValueError(f"{field} {reason}.", field=field)


def encode(entry: RunLogEntry) -> str:
    """Return the fields of an entry as a JSON object, without those that every entry has."""
    return _text(fields_of(entry))


def fields_of(entry: RunLogEntry) -> dict[str, Any]:
    """Return the fields of an entry that are stored in an object; free values are as they are."""
    if isinstance(entry, UnknownEntry):
        data = dict(entry.data) if isinstance(entry.data, Mapping) else {}
    else:
        data = _known_fields(entry)
    if entry.version != 1:
        data[_VERSION] = entry.version
    return data


def _known_fields(entry: RunLogEntry) -> dict[str, Any]:
    if class_of(entry.kind) is None:
        name = type(entry).__name__
        raise InvalidValueError(
            f"{name} is no kind of entry: register it, with @register('its_kind').", field=name
        )
    return _fields_of(type(entry)).write(entry)


def decode(
    kind: str,
    data: Any,
    *,
    sequence: int,
    session_id: str,
    run_id: str,
    agent_id: str,
    created_at: datetime,
) -> RunLogEntry:
    """Return the entry of a kind from its stored fields, JSON text or parsed.

    It is an UnknownEntry if it cannot be read as its kind.
    """
    place: dict[str, Any] = {
        "sequence": sequence,
        "session_id": session_id,
        "run_id": run_id,
        "agent_id": agent_id,
        "created_at": created_at,
    }
    stored = _object(data)
    version = stored.get(_VERSION, 1)
    cls = class_of(kind)
    try:
        if cls is not None and version <= cls.version:
            return cls(**place, **_fields_of(cls).read(_current(cls, stored, version)))
    except (TypeError, ValueError, KeyError, AttributeError):
        pass  # A field is missing, or is not what this class takes.
    own = {name: value for name, value in stored.items() if name != _VERSION}
    return UnknownEntry(**place, kind=kind, version=version, data=own)


def _object(data: Any) -> dict[str, Any]:
    """Return stored fields as a dictionary, with marked times as times."""
    if isinstance(data, str):
        try:
            parsed = json.loads(data)
        except (ValueError, RecursionError):
            return {}
        data = unmarked(parsed) if _TIME in data else parsed
    elif isinstance(data, Mapping):
        data = unmarked(dict(data))
    return data if isinstance(data, dict) else {}


def _current(cls: type[RunLogEntry], stored: dict[str, Any], version: int) -> dict[str, Any]:
    upgrade = upgrade_of(cls.kind) if version < cls.version else None
    return stored if upgrade is None else upgrade(stored, version)


_FIELDS: dict[type[RunLogEntry], Fields] = {}
_COMMON = frozenset(field.name for field in fields(RunLogEntry))


def _fields_of(cls: type[RunLogEntry]) -> Fields:
    known = _FIELDS.get(cls)
    if known is None:
        known = _FIELDS[cls] = Fields(cls, without=_COMMON)
    return known


def _codec(hint: Any) -> Codec | None:
    """Return how values of a type are converted; None if they are written as they are."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _codec_of_union([each for each in arguments if each is not type(None)])
    if origin in (list, tuple):
        return _codec_of_sequence(origin, arguments)
    if origin is dict:
        return _codec_of_dict(_codec(arguments[1]))
    return _codec_of_class(hint) if isinstance(hint, type) else None


def _codec_of_union(members: list[Any]) -> Codec | None:
    if UserMessage in members:
        return Codec(_write_input, _read_input)
    return _codec(members[0]) if len(members) == 1 else None


def _codec_of_sequence(origin: type, arguments: tuple[Any, ...]) -> Codec | None:
    item = _codec(arguments[0]) if len({*arguments} - {Ellipsis}) == 1 else None
    if item is None:
        return None if origin is list else Codec(list, tuple)
    return Codec(
        lambda values: [item.write(value) for value in values],
        lambda values: origin(item.read(value) for value in values),
    )


def _codec_of_dict(item: Codec | None) -> Codec | None:
    if item is None:
        return None
    return Codec(
        lambda values: {name: item.write(value) for name, value in values.items()},
        lambda values: {name: item.read(value) for name, value in values.items()},
    )


def _codec_of_class(cls: type) -> Codec | None:
    if issubclass(cls, Enum):
        return Codec(lambda word: getattr(word, "value", word), lambda word: _word(cls, word))
    if issubclass(cls, datetime):
        return Codec(lambda time: time.isoformat(), datetime.fromisoformat)
    if issubclass(cls, Decimal):
        return Codec(str, Decimal)
    if not is_dataclass(cls):
        return None
    parts = Fields(cls)
    return Codec(
        # A caller may have written a dictionary in place of the dataclass.
        lambda value: value if isinstance(value, dict) else parts.write(value),
        lambda stored: cls(**parts.read(stored)),
    )


def _word(cls: type[Enum], word: Any) -> Any:
    """Return the member of an enum; a word that it lacks is kept."""
    try:
        return cls(word)
    except ValueError:
        return word


def _write_input(value: Any) -> Any:
    if isinstance(value, UserMessage):
        return {_TYPE: "user_message", **_part(UserMessage).write(value)}
    if isinstance(value, list):
        return {_TYPE: "content_parts", "parts": [_part(ContentPart).write(each) for each in value]}
    return value


def _read_input(stored: Any) -> Any:
    kind = stored.get(_TYPE) if isinstance(stored, Mapping) else None
    if kind == "user_message":
        return _part(UserMessage).read(stored)
    if kind == "content_parts":
        return [_part(ContentPart).read(each) for each in stored["parts"]]
    return stored


@cache
def _part(cls: type) -> Codec:
    codec = _codec_of_class(cls)
    assert codec is not None
    return codec


def _text(data: dict[str, Any]) -> str:
    try:
        text = _encode(data)
        # Only times and what pretends to be one: neither is frequent.
        return _encode(marked(data)) if _TIME in text else text
    except (ValueError, RecursionError):  # NaN, or a cycle: then a time becomes text, too.
        return json_text(data)


def _nearest(value: Any) -> Any:
    return {_TIME: value.isoformat()} if isinstance(value, datetime) else nearest_json(value)


_encode = encoder(_nearest)


def marked(value: Any) -> Any:
    """Return a copy in which times are marked, and names that look like the mark have a dash."""
    if isinstance(value, datetime):
        return {_TIME: value.isoformat()}
    if isinstance(value, dict):
        return {
            f"-{name}" if _looks_marked(name) else name: marked(each)
            for name, each in value.items()
        }
    return [marked(each) for each in value] if isinstance(value, list | tuple) else value


def unmarked(value: Any) -> Any:
    """Return a copy with times for their marks, and names as they were."""
    if isinstance(value, list):
        return [unmarked(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_TIME}:
        return _time(value)
    return {
        name.removeprefix("-") if _looks_marked(name) else name: unmarked(each)
        for name, each in value.items()
    }


def _looks_marked(name: Any) -> bool:
    return isinstance(name, str) and name.lstrip("-") == _TIME


def _time(mark: dict[str, Any]) -> Any:
    """Return the time that is marked; the object itself if another program wrote it."""
    try:
        return datetime.fromisoformat(mark[_TIME])
    except (TypeError, ValueError):
        return mark
