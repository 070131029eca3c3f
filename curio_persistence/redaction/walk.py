"""Apply patterns to a text: to JSON value by value, to other text as a whole."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from curio_persistence.redaction.pattern import Pattern
from curio_persistence.store.json_text import json_text

Tell = Callable[[str], object]
"""Is called with the name of the pattern for each secret found."""

ANY_JSON = re.compile(r'\s*[\[{"\d-]')
_NESTED_JSON = re.compile(r"\s*[\[{]")


def redact(
    text: str, patterns: tuple[Pattern, ...], tell: Tell, opens: re.Pattern[str] = ANY_JSON
) -> str:
    """Return a text redacted: JSON value by value, if it opens like JSON, other text as a whole.

    JSON nested too deeply to be read raises RecursionError, so that none of it is stored.
    """
    if opens.match(text):
        walk = _Walk(patterns, tell)
        try:
            value = _DECODER.decode(text)
        except ValueError:  # Not JSON, or a number with more digits than Python reads.
            pass
        else:
            redacted = walk.value(value)
            return json_text(redacted) if walk.found else text
    for pattern in patterns:
        text = redact_words(text, pattern, tell)
    return text


def redact_words(text: str, pattern: Pattern, tell: Tell) -> str:
    """Return a text redacted by one pattern, without parsing JSON."""
    redacted, count = pattern.redact(text)
    if redacted == text:
        return text
    for _ in range(count):
        tell(pattern.name)
    return redacted


class _Repeating(dict[str, Any]):
    """An object with a duplicate name: the parsed dictionary lacks a value."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else _Repeating(members)


_DECODER = json.JSONDecoder(object_pairs_hook=_members)


class _Walk:
    """A walk through a JSON value; `found` tells whether anything was redacted."""

    def __init__(self, patterns: tuple[Pattern, ...], tell: Tell) -> None:
        self.found = False
        self._patterns = patterns
        self._tell = tell
        self._of_members = [
            (pattern, pattern.members) for pattern in patterns if pattern.members is not None
        ]
        self._of_numbers = [
            (pattern, pattern.has_number) for pattern in patterns if pattern.has_number is not None
        ]

    def value(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(value)
        if isinstance(value, dict):
            self.found = self.found or kind is _Repeating
            hidden = self._hidden(value)
            return {
                self._text(name): self.value(hidden.get(name, item)) for name, item in value.items()
            }
        if kind is list:
            hidden = self._hidden(value)
            return [self.value(hidden.get(at, item)) for at, item in enumerate(value)]
        if kind is int:
            return self._number(value)
        return value

    def _hidden(self, value: Any) -> Mapping[Any, Any]:
        """Return the replacements of secret members, by name or position."""
        hidden: dict[Any, Any] = {}
        for pattern, members in self._of_members:
            for name, instead in members(value).items():
                if instead != value[name]:
                    hidden[name] = instead
                    self._found(pattern)
        return hidden

    def _text(self, text: str) -> str:
        for pattern in self._patterns:
            if pattern.may_have(text):
                redacted = redact(text, self._patterns, self._tell, _NESTED_JSON)
                self.found = self.found or redacted != text
                return redacted
        return text

    def _number(self, number: int) -> int | str:
        for pattern, is_secret in self._of_numbers:
            if is_secret(number):
                self._found(pattern)
                return pattern.label
        return number

    def _found(self, pattern: Pattern) -> None:
        self.found = True
        self._tell(pattern.name)
