"""Define a pattern: how it finds secrets, and the label that replaces them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

Span = tuple[int, int]
"""Start and end of a part of a text."""

_LABEL = "[redacted:{}]"
LABELED = r"\[redacted:[\w-]+\]"


@cache
def compiled(expression: str) -> re.Pattern[str]:
    """Return a compiled expression; compiling takes about a millisecond, so it waits for a text."""
    return re.compile(expression)


def label(what: str) -> str:
    """Return the text that replaces a secret."""
    return _LABEL.format(what)


class Pattern(NamedTuple):
    """One kind of secret.

    `may_have` checks quickly whether a text may contain one. `spans` finds them, in any order, and
    spans may overlap. Spans of a pattern `within_words` contain no quotation mark at which a JSON
    string ends. For parsed JSON, `members` returns replacements for secret members of an object or
    a list, by name or position, and `has_number` tells whether an integer is a secret.
    """

    name: str
    label: str
    may_have: Callable[[str], bool]
    spans: Callable[[str], Iterable[Span]]
    within_words: bool
    members: Callable[[Any], Mapping[Any, Any]] | None = None
    has_number: Callable[[int], bool] | None = None

    def redact(self, text: str) -> tuple[str, int]:
        """Return the redacted text, and the number of labels in it that are new."""
        return replaced(text, self.spans(text), self.label)


def replaced(text: str, spans: Iterable[Span], label: str) -> tuple[str, int]:
    """Return a text with a label for each span, and their number. Overlapping spans are merged."""
    parts: list[str] = []
    at = -1  # End of the last span; -1 before the first.
    for begin, end in sorted(spans):
        if begin > at or at == -1:
            parts += text[max(at, 0) : begin], label
        at = max(at, end)
    if at == -1:
        return text, 0
    return "".join((*parts, text[at:])), len(parts) // 2
