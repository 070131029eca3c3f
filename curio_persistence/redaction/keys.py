"""Secrets by the names they stand under: the name `keys`, and the quick look at a text for it."""

from __future__ import annotations

import re

from curio_persistence.redaction.members import Members
from curio_persistence.redaction.names import Names
from curio_persistence.redaction.pattern import Pattern, label
from curio_persistence.redaction.values import PASSWORD_IN_URL, USER_OF_CURL, Values

# What may stand behind the last word of a name.
_BEHIND = (
    r"""[_-]?[0-9]{0,3}(?:[_-]?value)?"""
    r"""(?:["'\\ \t\]]{0,8}(?:[:=>]|%3[ad])|["'\\]{1,8},|[ ](?:is|was|to)[ ])"""
)
# One search by letters that are not too frequent, for 20 words, takes the time of a dozen `in`.
_HINTS = re.compile(
    rf"""
      k (?: (?<=cook) ie
          | (?<=tok) en (?: [ ] (?<=[\w-]token[ ]) | {_BEHIND} (?! \s* \d ) | s {_BEHIND} \s* \[ )
          | eys? (?: [ ] (?<=[i_-]key[ ]) | {_BEHIND} ) )
    | p (?: ass (?: w | phrase | code | {_BEHIND} ) | wd | in {_BEHIND} )
    | c (?: (?<=sec) ret | redential )
    | u (?<=au) th (?: orization | {_BEHIND} )
    | b (?=ea) earer {_BEHIND}
    | j (?=wt) wt {_BEHIND}
    """,
    re.VERBOSE,
)
_SESSION = re.compile(rf"sess(?:ion)?(?:id)?{_BEHIND}")


def keys(names: Names) -> Pattern:
    """Return the pattern that goes by these names."""
    return Pattern(
        "keys",
        label("key"),
        _may_have,
        Values(names).spans,
        within_words=False,
        members=Members(names),
    )


def _may_have(text: str) -> bool:
    """Return whether something in a text may name a secret."""
    lowered = text.lower()
    if _HINTS.search(lowered) or ("sess" in lowered and _SESSION.search(lowered)):
        return True
    if "=" in text and "sig=" in lowered:
        return True
    if "@" in text and PASSWORD_IN_URL.search(text):
        return True
    return "/" in text and "curl" in text and USER_OF_CURL.search(text) is not None
