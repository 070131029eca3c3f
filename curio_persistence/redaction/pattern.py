"""What a pattern is: how it is found, and the label that takes the place of what it finds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

Span = tuple[int, int]
"""Where something begins in a text, and where it ends."""

_LABEL = "[redacted:{}]"
LABELED = r"\[redacted:[\w-]+\]"


@cache
def compiled(expression: str) -> re.Pattern[str]:
    """Return an expression, compiled when a text first needs it: that takes a millisecond."""
    return re.compile(expression)


def label(what: str) -> str:
    """Return what is kept in the place of a secret."""
    return _LABEL.format(what)


class Pattern(NamedTuple):
    """One kind of secret.

    `may_have` is a quick look at a text; `spans` finds the secrets in it, in any order, overlapping
    ones too. What is found `within_words` never reaches over a quotation mark. In JSON that was
    read, `members` returns what takes the place of an object's or a list's secret members, by name
    or position, and `has_number` tells whether an integer is a secret.
    """

    name: str
    label: str
    may_have: Callable[[str], bool]
    spans: Callable[[str], Iterable[Span]]
    within_words: bool
    members: Callable[[Any], Mapping[Any, Any]] | None = None
    has_number: Callable[[int], bool] | None = None

    def redact(self, text: str) -> tuple[str, int]:
        """Return the text with labels in it, and the number of labels put there."""
        return replaced(text, self.spans(text), self.label)


def replaced(text: str, spans: Iterable[Span], label: str) -> tuple[str, int]:
    """Return a text with a label for each span, and their number; spans that overlap are one."""
    parts: list[str] = []
    at = -1  # Behind the last span; it is -1 as long as there was none.
    for begin, end in sorted(spans):
        if begin > at or at == -1:
            parts += text[max(at, 0) : begin], label
        at = max(at, end)
    if at == -1:
        return text, 0
    return "".join((*parts, text[at:])), len(parts) // 2
