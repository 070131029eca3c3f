"""Ids of runs in tables: of a UUID its first part, by which people know it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import takewhile

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHORT = len("01a2283b-870b")
"""A UUIDv7 begins with its time: its first eight digits are the same for a minute."""


def short_ids(ids: Iterable[str | None]) -> Mapping[str, str]:
    """Return each id as a table shows it: a UUID cut to where it differs from the others shown."""
    known = sorted({each for each in ids if each is not None})
    return {
        each: each[: max(_SHORT, _shared(before, each) + 1, _shared(each, after) + 1)]
        if _UUID.fullmatch(each)
        else each
        for before, each, after in zip(["", *known], known, [*known[1:], ""], strict=False)
    }


def _shared(one: str, other: str) -> int:
    """Return the length of the beginning that two ids share."""
    alike = (left == right for left, right in zip(one, other, strict=False))
    return sum(takewhile(bool, alike))
