"""Find secrets by their names: the pattern `keys`, and its hints."""

from __future__ import annotations

import re

from curio_persistence.redaction.members import Members
from curio_persistence.redaction.names import Names
from curio_persistence.redaction.pattern import Pattern, label
from curio_persistence.redaction.values import PASSWORD_IN_URL, USER_OF_CURL, Values

# Text after the last word of a name, and after a quoted name that is an item or a value itself.
_BEHIND = (
    r"""[_-]?[0-9]{0,3}(?:[_-]?value)?"""
    r"""(?:["'\\ \t\]]{0,8}(?:[:=>]|%3[ad])|[ ](?:is|was|to)[ ])"""
)
_QUOTED = r"""["'\\]{1,8},"""
_HINTS = tuple(
    re.compile(hint, re.VERBOSE)
    for hint in (
        rf"""k (?: (?<=cook) ie
                 | (?<=tok) en (?: (?<=[\w"'-]token) (?: [ ] | {_QUOTED} )
                                 | {_BEHIND} (?! \s* \d ) | s {_BEHIND} \s* \[ )
                 | ey (?: (?<=[i_-]key) (?: [ ] | {_QUOTED} ) | s? {_BEHIND} ) )""",
        rf"p (?: ass (?: w | phrase | code | {_BEHIND} ) | w (?: d | {_BEHIND} ) | in {_BEHIND} )",
        r"c (?: (?<=sec) ret | redential )",
        rf"u (?<=au) th (?: orization | {_BEHIND} )",
        rf"sess (?: ion )? (?: id )? {_BEHIND}",
        rf"bearer {_BEHIND}",
        rf"jwt {_BEHIND}",
    )
)
"""Parts of names, each from a letter that is not too frequent.

A search for an expression that starts with one literal is five times as fast as a search for one
that starts with any of several.
"""


def keys(names: Names) -> Pattern:
    """Return the pattern for these names."""
    return Pattern(
        "keys",
        label("key"),
        _may_have,
        Values(names).spans,
        within_words=False,
        members=Members(names),
    )


def _may_have(text: str) -> bool:
    """Return whether a text may contain the name of a secret."""
    if text.isidentifier():
        return False  # Most names and many values in JSON are.
    lowered = text.lower()
    for hint in _HINTS:
        if hint.search(lowered):
            return True
    if "=" in text and "sig=" in lowered:
        return True
    if "@" in text and PASSWORD_IN_URL.search(text):
        return True
    return "/" in text and "curl" in text and USER_OF_CURL.search(text) is not None
