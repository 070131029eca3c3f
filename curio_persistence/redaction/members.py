"""Find secrets by their names in parsed JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from curio_persistence.redaction.names import DOUBTFUL, UNLIKE_A_WORD, Names, is_number_of
from curio_persistence.redaction.pattern import label

_KEY = label("key")
_NAMING = ("name", "Name", "key", "Key", "header", "field", "variable")
_NAMED = ("value", "Value", "val")
_NAME = re.compile(r"[\w-]{2,64}")
_TYPES = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_EXAMPLES = ("default", "const", "example")


class Members:
    """Finds secret members of objects, and values in lists of a name and a value."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def __call__(self, value: Any) -> Mapping[Any, Any]:
        """Return the replacements of secret members, by name or position."""
        if isinstance(value, dict):
            secret = self._names.secret
            hidden = {
                name: self._instead(name, item, value)
                for name, item in value.items()
                if secret(name)
            }
            return hidden | self._named(value)
        return self._pair(*value) if len(value) == 2 else {}

    def _pair(self, name: Any, value: Any) -> Mapping[int, str]:
        """Return the replacement in `["Authorization", "Bearer …"]`."""
        if type(name) is not str or type(value) is not str or not _NAME.fullmatch(name):
            return {}
        return {1: _KEY} if self._names.is_secret(name, value) and _has_secret_word(value) else {}

    def _named(self, value: dict[str, Any]) -> dict[str, Any]:
        """Return the replacement in `{"name": "DB_PASSWORD", "value": …}`."""
        named = [member for member in _NAMED if member in value]
        if not named:
            return {}
        names = [value[member] for member in _NAMING if type(value.get(member)) is str]
        return {
            member: self._instead(name, value[member], {})
            for member in named
            for name in names
            if self._names.secret(name)
        }

    def _instead(self, name: str, value: Any, beside: Mapping[str, Any]) -> Any:
        """Return what replaces a value under a secret name: a label, 0, or the value itself."""
        if type(value) is str:
            is_secret = self._names.is_secret(name, value) and not _has_probabilities(beside)
            return _KEY if is_secret else value
        if type(value) is int or type(value) is float:
            # A number stays a number, so that readers of the JSON find the type that they expect.
            return 0 if is_number_of(name, value) else value
        if not value or type(value) is bool or _is_doubtful(self._names, name):
            return self._items(name, value, beside)
        return self._schema(value) if _is_schema(value) else _KEY

    def _items(self, name: str, value: Any, beside: Mapping[str, Any]) -> Any:
        if type(value) is not list:
            return value
        return [self._instead(name, item, beside) if type(item) is str else item for item in value]

    def _schema(self, value: dict[str, Any]) -> dict[str, Any]:
        """Return the schema of a parameter, without its examples."""
        return {
            name: _KEY if name in _EXAMPLES and item is not None else item
            for name, item in value.items()
        }


def _is_doubtful(names: Names, name: str) -> bool:
    return names.secret(name) in DOUBTFUL.values()


def _has_secret_word(text: str) -> bool:
    return any(map(UNLIKE_A_WORD.fullmatch, text.split()))


def _has_probabilities(beside: Mapping[str, Any]) -> bool:
    """Return whether a token beside these members is part of a model's output."""
    return any("logprob" in name for name in beside)


def _is_schema(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    kind = value.get("type")
    return (isinstance(kind, str) and kind in _TYPES) or "$ref" in value or "anyOf" in value
