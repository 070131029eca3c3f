"""Ask a payload for several values at once: to read it as jsonb takes longer than all else."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import lru_cache
from typing import Any

from curio_persistence.store.filters import Where
from curio_persistence.store.payload_match import read_pattern

_NO_OBJECT = "[]"
"""A pattern that no object contains."""


def as_one(where: Where) -> Where:
    """Return the filters with one pattern, of all values, in place of several for a payload."""
    asked = [f for f in where if f.op == "contains"]
    if len(asked) < 2:
        return where
    others = tuple(f for f in where if f.op != "contains")
    patterns = tuple(f.value for f in asked)
    # Where only the text of the statement is built there are no values.
    return (*others, asked[0]._replace(value=_merged(patterns) if all(patterns) else None))


@lru_cache
def _merged(patterns: tuple[str, ...]) -> str:
    whole: dict[str, Any] = {}
    for pattern in patterns:
        (*path, last), value = read_pattern(pattern)
        inner = whole
        for key in path:
            inner = inner.setdefault(key, {})
            if not isinstance(inner, dict):
                return _NO_OBJECT
        there = inner.setdefault(last, value)
        if type(there) is not type(value) or there != value:
            return _NO_OBJECT
    return _written(whole)


def _written(value: Any) -> str:
    if isinstance(value, dict):
        members = (f"{_written(key)}: {_written(each)}" for key, each in value.items())
        return f"{{{', '.join(members)}}}"
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)
