"""Find e-mail addresses: the pattern `emails`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from curio_persistence.redaction.pattern import Pattern, Span, label

_LOCAL_PART = re.compile(r"[\w.%+-]++")
# The last part is letters: react@18.2.0 is a package.
_DOMAIN = re.compile(r"(?:[\w-]++\.)+[^\W\d_]{2,}+")
_PROGRAMS = frozenset({"git", "hg"})
"""Users of source code hosts: `git@github.com:org/repo` is a repository."""


def _may_have(text: str) -> bool:
    return "@" in text


def _spans(text: str) -> Iterator[Span]:
    """Yield addresses from one @ to the next; a search for their starts takes six times as long."""
    begin = 0  # Behind the @ before, or the address.
    at = text.find("@")
    while at >= 0:
        local = _LOCAL_PART.match(text[begin:at][::-1])
        domain = _DOMAIN.match(text, at + 1)
        begin = at + 1
        if local and domain and text[at - local.end() : at] not in _PROGRAMS:
            begin = domain.end()
            yield at - local.end(), begin
        at = text.find("@", begin)


EMAILS = Pattern("emails", label("email"), _may_have, _spans, within_words=True)
