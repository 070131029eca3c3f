"""The kinds of columns of the tables, and the reader of stored payloads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, TypeGuard

from curio_persistence.store import codecs
from curio_persistence.store.column import REQUIRED, Column
from curio_persistence.store.table import StoredValue


def identifier(name: str) -> Column:
    return Column(name, codecs.encode_id, default=REQUIRED, repeats=True)


def optional_identifier(name: str, *, optional: bool = True, repeats: bool = True) -> Column:
    return Column(name, codecs.encode_optional_id, optional=optional, repeats=repeats)


def event_identifier() -> Column:
    return Column("event_id", codecs.encode_optional_id, optional=True)


def name(name: str) -> Column:
    return Column(name, codecs.encode_name, default="", repeats=True)


def status(name: str) -> Column:
    return Column(name, codecs.encode_status, default=REQUIRED, repeats=True)


def _nothing(stored: str) -> None:
    """Return None: without its words, nothing is left of a text."""


def text(name: str, default: str | None = None, *, optional: bool = False) -> Column:
    encode, decode = codecs.encode_text, codecs.decode_texts
    return Column(name, encode, decode, default, optional, without_content=_nothing)


def json_text(name: str, *, optional: bool = False) -> Column:
    encode, decode = codecs.encode_json, codecs.decode_texts
    return Column(name, encode, decode, optional=optional, without_content=_nothing)


def integer(name: str, default: int | None = None, *, optional: bool = False) -> Column:
    return Column(name, codecs.encode_integer, default=default, optional=optional)


def count(name: str, *, optional: bool = False) -> Column:
    """Return a column for a number that is not negative."""
    return Column(name, codecs.encode_count, optional=optional)


def time(name: str) -> Column:
    return Column(name, codecs.encode_time, codecs.decode_times)


def stored_time(name: str) -> Column:
    """Return a column for a time that every stored row has."""
    return Column(name, codecs.encode_time, codecs.decode_stored_times)


def content_scope() -> Column:
    """Return the internal column for the scope of the long texts that a row does not hold itself.

    Stores fill it in; see `curio_persistence.content`.
    """
    return Column("content_scope", codecs.encode_name, optional=True)


LINKS = ("chain_position", "content_hash", "prev_hash", "hash")
"""The columns of a record that is a link of a hash chain."""


def links() -> tuple[Column, ...]:
    """Return the columns `LINKS`."""
    position, *hashes = LINKS
    return (
        Column(position, codecs.encode_count, optional=True),
        *(optional_identifier(name, repeats=False) for name in hashes),
    )


def object_in(stored: StoredValue) -> Mapping[str, Any]:
    """Return the JSON object of a stored text; an empty one if it is not an object."""
    if not isinstance(stored, str):
        return {}
    try:
        value = json.loads(codecs.decode_text(stored) or "")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def finite_number(value: Any) -> int | float | None:
    """Return a number that a double can hold, also from the text of one; None for anything else.

    A Decimal in a payload is stored as text, so that none of its digits is lost.
    """
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    return value if is_finite(value) else None


def is_finite(value: Any) -> TypeGuard[int | float]:
    """Return whether a value is a number that a double can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return isfinite(value)
    except OverflowError:
        return False
