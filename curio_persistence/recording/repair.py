"""Make a record storable that has values no table takes: an odd value costs itself only."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from numbers import Integral
from os import PathLike
from typing import Any

from curio_persistence.errors import InvalidValueError
from curio_persistence.models import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    AgentRunStatus,
    Score,
)
from curio_persistence.redaction import Redaction
from curio_persistence.store.codecs import ID_LENGTH, STATUS_LENGTH, decode_text
from curio_persistence.store.json_text import bool_as_number, json_text, nearest_json
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import EVENTS, RUNS, SCORES, USAGE

_TABLES: dict[type[Any], Table[Any]] = {
    AgentRun: RUNS,
    AgentRunEvent: EVENTS,
    AgentLLMUsage: USAGE,
    Score: SCORES,
}
_REFUSED_IN_NAMES = re.compile("[\x00\ud800-\udfff]")
_NOT_ASCII = re.compile("[^\x01-\x7f]")
_JSON_ESCAPE = re.compile(r"\\(.)")
_set = object.__setattr__
"""Sets a field of a record, also of a score, which is frozen."""
_STATUSES = {RUNS.name: AgentRunStatus.COMPLETED.value, USAGE.name: "success"}


def repairs(redaction: Redaction) -> tuple[Callable[[Any], list[str]], ...]:
    """Return the changes that make a record storable, the smallest first.

    Each returns the names of the fields that it changed.
    """
    return (
        _repair,
        partial(_spell_out, redaction=redaction),
        partial(_spell_out_names, redaction=redaction),
    )


def _repair(record: Any) -> list[str]:
    """Change the fields that the record's table refuses, and return their names.

    Text takes the place of what is not text, a name that is too long is cut, a number is read from
    text or left out.
    """
    table = _TABLES[type(record)]
    refused = [name for name in table.names if not _is_accepted(table, name, getattr(record, name))]
    for name in refused:
        _set(record, name, _nearest_accepted(table, name, getattr(record, name)))
    return refused


def _spell_out(record: Any, redaction: Redaction) -> list[str]:
    """Spell out what is not ASCII, as JSON does, and return the names of the fields that had it.

    There are databases whose encoding lacks most characters. Texts are redacted before, because a
    redactor might not recognise what is spelled out.
    """
    table = _TABLES[type(record)]
    row = redaction.encoder(table)(record)
    texts = {n: v for n, v in row.items() if isinstance(v, str) and not v.isascii()}
    found = [name for name in table.names if name in texts]
    for name in found:
        _set(record, name, _in_ascii(table, name, decode_text(texts[name]) or ""))
    return found


def _spell_out_names(record: Any, redaction: Redaction) -> list[str]:
    """Spell out names that are extracted from JSON, and return the names of the fields with them.

    JSON reads `\\u6771` as the character that it spells, so the backslash is doubled.
    """
    if not isinstance(record, AgentRunEvent):
        return []
    row = redaction.encoder(EVENTS)(record)
    if all(str(row.get(name)).isascii() for name in EVENTS.extracted):
        return []
    data = row["data"] or as_json_text(record.data)  # Without words, names are kept.
    spelt = _spelt(decode_text(str(data)) or "")
    record.data = _JSON_ESCAPE.sub(lambda it: rf"\{it[0]}" if it[1] == "u" else it[0], spelt)
    return ["data"]


def spelt_row(table: Table[Any], row: Row) -> Row:
    """Return an encoded row, with what is not ASCII spelled out; extracted names too."""
    return {
        name: table.encode_value(name, _in_ascii(table, name, decode_text(stored) or ""))
        if isinstance(stored, str) and not stored.isascii()
        else stored
        for name, stored in row.items()
    }


def _in_ascii(table: Table[Any], name: str, text: str) -> str | list[str]:
    if name == "tags":
        return [_spelt(tag)[:ID_LENGTH] for tag in json.loads(text)]
    spelt = _spelt(text)
    lengths = (len(spelt), ID_LENGTH, STATUS_LENGTH)
    return next(spelt[:n] for n in lengths if _is_accepted(table, name, spelt[:n]))


def _spelt(text: str) -> str:
    return _NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)


def _nearest_accepted(table: Table[Any], name: str, value: Any) -> Any:
    nearest = _nearest(table, name, value)
    return next((value for value in nearest if _is_accepted(table, name, value)), None)


def _is_accepted(table: Table[Any], name: str, value: Any) -> bool:
    try:
        table.encode_value(name, value)
    except InvalidValueError:
        return False
    return True


def _nearest(table: Table[Any], name: str, value: Any) -> Iterator[Any]:
    """Yield values to store in place of a refused one, the nearest first."""
    kind = table.kind_of(name)
    if name == "tags":
        yield as_tags(value)
    elif kind == "text":
        yield as_text(value)
    elif kind == "name":
        text = _REFUSED_IN_NAMES.sub("\ufffd", as_text(value))
        yield _cut(text, ID_LENGTH)
        yield _cut(text, STATUS_LENGTH)
        yield _STATUSES.get(table.name) if name == "status" else None
    elif kind in ("integer", "money"):
        yield as_number(value, whole=kind == "integer")
    elif kind == "real":
        yield as_number(bool_as_number(value), whole=False)


def as_text(value: Any) -> str:
    """Return a value as text: what its JSON says, without the quotation marks of a string."""
    nearest = nearest_json(value)
    return nearest if isinstance(nearest, str) else json_text(nearest)


def as_json_text(value: Any) -> str | None:
    """Return text as it is, and any other value as JSON."""
    return value if value is None or isinstance(value, str) else json_text(value)


def as_id(value: Any) -> Any:
    """Return the text of a UUID, an integer or a path; anything else as it is."""
    if value is None or isinstance(value, str | bool):
        return value
    is_id = hasattr(type(value), "hex") and hasattr(type(value), "urn")  # A UUID, not imported.
    return str(value) if is_id or isinstance(value, Integral | PathLike) else value


def as_tags(value: Any) -> list[str] | None:
    """Return one tag or several as a list of texts; what cannot be a tag is left out."""
    if value is None:
        return None
    if isinstance(value, str):
        value = [value]
    tags = (_cut(as_text(tag), ID_LENGTH) for tag in value if tag is not None)
    return [_REFUSED_IN_NAMES.sub("\ufffd", tag) for tag in tags if tag] or None


def as_number(value: Any, *, whole: bool) -> int | Decimal | None:
    """Return the number that a value means: `900.0` and `"900"` are 900, NaN is None."""
    try:
        number = Decimal(str(value))
        return round(number) if whole else number
    except (ArithmeticError, ValueError):
        return None


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
