"""Answer SQL that people write: encode its parameters, decode its rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from curio_persistence.errors import InvalidValueError
from curio_persistence.results.sql import SQLResult
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import decode_text, encode_integer, encode_text
from curio_persistence.store.filters import checked_count


def ask(store: Store, query: Any, params: Any, limit: int | None) -> SQLResult:
    """Return the answer to one reading statement; see `Persistence.sql`."""
    if not isinstance(query, str):
        raise InvalidValueError(f"query is SQL, not {type(query).__name__}.", field="query")
    if isinstance(params, str | bytes) or not isinstance(params, Sequence):
        raise InvalidValueError(
            f"params is a sequence of values, not one {type(params).__name__}.", field="params"
        )
    values = tuple(_encoded(at, value) for at, value in enumerate(params, start=1))
    count = None if limit is None else checked_count("limit", limit)
    # One more row tells whether there are more.
    most = None if count is None else count + 1
    columns, rows = store.sql(encode_text(query), values, most)
    decoded = [tuple(map(_decoded, row)) for row in rows[:count]]
    return SQLResult(columns, decoded, has_more=len(rows) > len(decoded))


def _encoded(at: int, value: Any) -> Any:
    match value:
        case str():
            return encode_text(value)
        case datetime():
            return value.astimezone(UTC)
        case None | bool() | float():
            return value
    try:
        return encode_integer(value)
    except (TypeError, ValueError):
        raise InvalidValueError(
            f"params: ${at} is a number, a text, a bool, a datetime or None, not {value!r}.",
            field="params",
        ) from None


def _decoded(value: Any) -> Any:
    return decode_text(value) if isinstance(value, str) else value
