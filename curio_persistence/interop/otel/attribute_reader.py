"""Reads the fields of a span by the rows of the conventions.

Which rows apply follows from the names of a span's attributes. Spans of one maker have the same
names, so this plan is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, NamedTuple

from curio_persistence.interop.otel.conventions import DETAILS, KINDS, NAMES, KindName
from curio_persistence.interop.otel.spans import Attributes
from curio_persistence.interop.otel.words import parsed

_SERIES = ".*"
_FEW = 256
"""How many names a plan may have to be remembered."""
_LEVELS = 12
_WRAPPERS = frozenset({"message", "message_content", "tool_call"})
"""What OpenInference puts between an index and its members."""
_MOST = 2**63

Parts = tuple[str | int, ...]


class Place(NamedTuple):
    """Where the value of a field may be: in an attribute, at a path of its JSON, or in several."""

    key: str
    path: tuple[str, ...] = ()
    series: tuple[tuple[str, Parts], ...] = ()


class Plan(NamedTuple):
    """What attributes with certain names can tell."""

    fields: dict[str, tuple[Place, ...]]
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

    def values(self, field: str) -> Iterator[Any]:
        """Yield the values that a field may have, the preferred one first."""
        for place in self.plan.fields.get(field, ()):
            value = self._at(place)
            if value is not None and value != "":
                yield value

    def value(self, field: str) -> Any:
        return self._first(field, _given)

    def text(self, field: str) -> str | None:
        """Return the first value that is text, or a number as text."""
        found: str | None = self._first(field, _word)
        return found

    def count(self, field: str) -> int | None:
        """Return the first value that is a number of things, which may be written as text."""
        found: int | None = self._first(field, _count)
        return found

    def dollars(self, field: str) -> Decimal | None:
        """Return the first value that is an amount of money."""
        found: Decimal | None = self._first(field, _amount)
        return found

    def attribute(self, key: str) -> Any:
        return self._attributes.get(key)

    def _first(self, field: str, convert: Callable[[Any], Any]) -> Any:
        places = self.plan.fields.get(field)
        if places is None:
            return None
        for place in places:
            value = convert(self._at(place))
            if value is not None:
                return value
        return None

    def _at(self, place: Place) -> Any:
        key, path, series = place
        if series:
            return _assembled(series, self._attributes)
        value = self._attributes[key]
        return self._within(key, value, path) if path else value

    def _within(self, key: str, value: Any, path: tuple[str, ...]) -> Any:
        if key not in self._parsed:
            self._parsed[key] = parsed(value)
        found = self._parsed[key]
        for name in path:
            if isinstance(found, dict):
                found = found.get(name)
            elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            else:
                return None
        return found


@lru_cache(1024)
def _plan(names: tuple[str, ...]) -> Plan:
    present = frozenset(names)
    fields = {}
    for field, rows in NAMES.items():
        places = tuple(
            place for row in rows if (place := _place(row.key, row.path, names, present))
        )
        if places:
            fields[field] = places
    kinds = tuple(kind for kind in KINDS if kind.key in present)
    return Plan(fields, kinds, tuple(name for name in DETAILS if name in fields))


def _place(key: str, path: str, names: tuple[str, ...], present: frozenset[str]) -> Place | None:
    if not key.endswith(_SERIES):
        return Place(key, tuple(path.split(".")) if path else ()) if key in present else None
    begin = key.removesuffix("*")
    series = tuple(
        (name, parts)
        for name in names
        if name.startswith(begin)
        and (parts := _parts(name.removeprefix(begin)))
        and parts != ("model",)
    )
    return Place(key, series=series) if series else None


def _parts(rest: str) -> Parts:
    """Return the steps of a name below the beginning of its series."""
    return tuple(
        int(part) if part.isdecimal() and len(part) < 9 else part
        for part in rest.split(".", _LEVELS)
        if part and part not in _WRAPPERS
    )


def _assembled(series: tuple[tuple[str, Parts], ...], attributes: Attributes) -> Any:
    root: dict[str | int, Any] = {}
    for key, parts in series:
        node = root
        for part in parts[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                break
        else:
            node[parts[-1]] = attributes[key]
    return _with_lists(root)


def _with_lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if all(isinstance(key, int) for key in node):
        return [_with_lists(node[key]) for key in sorted(node)]
    return {str(key): _with_lists(value) for key, value in node.items()}


def _given(value: Any) -> Any:
    return None if value == "" else value


def _word(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def _count(value: Any) -> int | None:
    if type(value) is int:
        return value if 0 <= value < _MOST else None
    if isinstance(value, str):
        if not value.isdecimal() or len(value) > 19:
            return None
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < _MOST else None


def _amount(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None
