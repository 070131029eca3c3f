"""Reads the fields of a span by the rows of the conventions.

Which rows apply follows from the names of a span's attributes. Spans of one maker have the same
names, so this plan is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, NamedTuple

from curio_persistence.interop.otel.conventions import DETAILS, KINDS, NAMES, NOT_SETTINGS, KindName
from curio_persistence.interop.otel.spans import Attributes
from curio_persistence.interop.otel.words import as_text, label, parsed

_SERIES = ".*"
_FEW = 256
"""How many names a plan may have to be remembered."""
_LEVELS = 12
_WRAPPERS = frozenset({"message", "message_content", "tool_call"})
"""What OpenInference puts between an index and its members."""
_MOST = 2**63

Tree = dict[str | int, Any]
"""Members and items by name and index, down to the names of attributes."""


class Series(NamedTuple):
    """JSON that is spread over attributes: its text without their values, and their names."""

    text: str
    keys: tuple[str, ...]


class Place(NamedTuple):
    """Where the value of a field may be: in an attribute, at a path of its JSON, or in several."""

    key: str
    path: tuple[str, ...] = ()
    series: Series | None = None


class Scalar(NamedTuple):
    """A field with one plain value: how it is read, and where."""

    field: str
    convert: Callable[[Any], Any]
    places: tuple[Place, ...]


class Plan(NamedTuple):
    """What attributes with certain names can tell."""

    fields: dict[str, tuple[Place, ...]]
    groups: dict[str, tuple[Scalar, ...]]
    kinds: tuple[KindName, ...]
    details: tuple[str, ...]
    """Those of `DETAILS` that there are."""


class Reader:
    """The attributes of one span, by field. Each JSON text is parsed once."""

    __slots__ = ("_attributes", "_parsed", "plan")

    def __init__(self, attributes: Attributes) -> None:
        self._attributes = attributes
        self._parsed: dict[str, Any] = {}
        names = tuple(attributes)
        self.plan = _plan(names) if len(names) <= _FEW else _plan.__wrapped__(names)

    def group(self, name: str) -> dict[str, Any]:
        """Return the fields of a group that have a value."""
        found = {}
        for field, convert, places in self.plan.groups[name]:
            for place in places:
                value = convert(self._at(place))
                if value is not None:
                    found[field] = value
                    break
        return found

    def values(self, field: str) -> Iterator[Any]:
        """Yield the values that a field may have, the preferred one first."""
        for place in self.plan.fields.get(field, ()):
            value = self._at(place)
            if value is not None and value != "":
                yield value

    def value(self, field: str) -> Any:
        """Return the first value of a field, of any type."""
        for place in self.plan.fields.get(field, ()):
            value = self._at(place)
            if value is not None and value != "":
                return value
        return None

    def text(self, field: str) -> str | None:
        """Return the first value of a field that is text or a number."""
        return next(filter(None, map(word, self.values(field))), None)

    def attribute(self, key: str) -> Any:
        return self._attributes.get(key)

    def _at(self, place: Place) -> Any:
        key, path, series = place
        if series is not None:
            text, keys = series
            return text % tuple([_quoted(self._attributes[each]) for each in keys])
        value = self._attributes[key]
        return self._within(key, value, path) if path else value

    def objects(self, field: str) -> Iterator[dict[str, Any]]:
        """Yield the values that a field may have as objects of JSON."""
        for place in self.plan.fields.get(field, ()):
            found = self._parsed_once(place.key, self._at(place))
            if isinstance(found, dict):
                yield found

    def _parsed_once(self, key: str, value: Any) -> Any:
        if key not in self._parsed:
            self._parsed[key] = parsed(value)
        return self._parsed[key]

    def _within(self, key: str, value: Any, path: tuple[str, ...]) -> Any:
        found = self._parsed_once(key, value)
        for name in path:
            if isinstance(found, dict):
                found = found.get(name)
            elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            else:
                return None
        return found


def word(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def name(value: Any) -> str | None:
    """Return a name or an id as a column holds it."""
    text = word(value)
    return None if text is None else label(text)


def count(value: Any) -> int | None:
    """Return a number of things, which may be written as text."""
    if type(value) is int:
        return value if 0 <= value < _MOST else None
    if isinstance(value, str):
        return count(int(value)) if value.isdecimal() and len(value) < 20 else None
    if isinstance(value, float) and value.is_integer():
        return count(int(value))
    return None


def amount(value: Any) -> Decimal | None:
    """Return an amount of money, which may be written as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None


GROUPS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "span": dict.fromkeys(("run_id", "agent_name", "agent_id", "session_id", "user_id"), name),
    "call": {
        **dict.fromkeys(("request_model", "response_model", "response_id"), name),
        **dict.fromkeys(("input_tokens", "output_tokens", "reasoning_tokens"), count),
        **dict.fromkeys(("cache_read_tokens", "cache_write_tokens"), count),
        "reported_cost": amount,
    },
    "tool": dict.fromkeys(("tool_name", "tool_call_id"), name),
}
"""The fields with one plain value, as far as they are asked for together."""


@lru_cache(1024)
def _plan(names: tuple[str, ...]) -> Plan:
    present = frozenset(names)
    fields = {}
    for field, rows in NAMES.items():
        told = names if field != "params" else tuple(filter(_is_setting, names))
        places = (_place(row.key, row.path, told, present) for row in rows)
        if known := tuple(filter(None, places)):
            fields[field] = known
    groups = {
        group: tuple(
            Scalar(field, convert, fields[field])
            for field, convert in members.items()
            if field in fields
        )
        for group, members in GROUPS.items()
    }
    kinds = tuple(kind for kind in KINDS if kind.key in present)
    return Plan(fields, groups, kinds, tuple(name for name in DETAILS if name in fields))


def _is_setting(name: str) -> bool:
    return name.rpartition(".")[2] not in NOT_SETTINGS


def _place(key: str, path: str, names: tuple[str, ...], present: frozenset[str]) -> Place | None:
    if key.endswith(_SERIES):
        series = _series(key.removesuffix("*"), names)
        return None if series is None else Place(key, series=series)
    return Place(key, tuple(path.split(".")) if path else ()) if key in present else None


def _series(begin: str, names: tuple[str, ...]) -> Series | None:
    root: Tree = {}
    for name in names:
        if name.startswith(begin):
            _add(root, name, _parts(name.removeprefix(begin)))
    keys: list[str] = []
    return Series(_text(root, keys), tuple(keys)) if root else None


def _parts(rest: str) -> list[str | int]:
    """Return the steps of a name below the beginning of its series."""
    return [
        int(part) if part.isdecimal() and len(part) < 9 else part
        for part in rest.split(".", _LEVELS)
        if part and part not in _WRAPPERS
    ]


def _add(root: Tree, name: str, parts: list[str | int]) -> None:
    """Add the name of an attribute, unless there is one at or above its place."""
    if not parts:
        return
    *above, last = parts
    node = root
    for part in above:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            return
    node.setdefault(last, name)


def _text(node: Tree | str, keys: list[str]) -> str:
    """Return JSON with `%s` for the value of each attribute, whose names are added to `keys`."""
    if isinstance(node, str):
        keys.append(node)
        return "%s"
    if all(isinstance(key, int) for key in node):
        items = (_text(node[key], keys) for key in sorted(node, key=int))
        return f"[{', '.join(items)}]"
    members = (
        f"{encode_basestring(str(key)).replace('%', '%%')}: {_text(value, keys)}"
        for key, value in node.items()
    )
    return f"{{{', '.join(members)}}}"


def _quoted(value: Any) -> str:
    if isinstance(value, str):
        return encode_basestring(value)
    return as_text(value)
