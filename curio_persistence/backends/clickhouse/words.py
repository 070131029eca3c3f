"""First tests of texts by their words, for which ClickHouse has indexes of text.

An index has the words of ASCII in a text, and the parts of CamelCase ones. A row whose texts have
other letters, or escapes, `is_odd`: it passes each test, and the caller reads the text itself.
"""

from __future__ import annotations

import re
from typing import Any

from curio_persistence.store.payload_match import read_pattern

Test = tuple[str, tuple[Any, ...]]
"""A condition, and the values that it binds."""
INDEXED_PAYLOAD = "data"
"""The payload whose words an index has."""
_WORDS = re.compile("[a-z0-9]+")


def having_one(column: str, words: tuple[tuple[str, bool], ...]) -> Test:
    """Return the test for texts that have one of several words, or of beginnings of words."""
    ascii_words = [(word, begins) for word, begins in words if word.isascii()]
    whole = [word for word, begins in ascii_words if not begins]
    parts = [word for word, begins in ascii_words if begins]
    tests = [f"hasAnyTokens({column}, %s)"] if whole else []
    tests += [f"{column} ILIKE %s"] * len(parts)
    values = ([whole] if whole else []) + [f"%{part}%" for part in parts]
    return f"({' OR '.join([*tests, 'is_odd'])})", tuple(values)


def having_words_of(column: str, pattern: str) -> Test:
    """Return the test for payloads that have the words of a pattern."""
    path, value = read_pattern(pattern)
    texts = [*path, value] if isinstance(value, str) else [*path]
    # A text with other letters makes its row odd.
    words = {word for text in texts if text.isascii() for word in _WORDS.findall(text.lower())}
    if column != INDEXED_PAYLOAD or not words:
        return f"{column} IS NOT NULL", ()
    return f"(hasAllTokens({column}, %s) OR is_odd)", (sorted(words),)
