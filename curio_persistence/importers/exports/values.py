"""The records of an export: their fields, in whatever form a format writes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, NamedTuple

from curio_persistence.capabilities.transfers.kinds import KINDS
from curio_persistence.errors import InvalidValueError
from curio_persistence.export.formats import VERSION
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.store.codecs import decode_text, encode_tags
from curio_persistence.store.column import Kind
from curio_persistence.store.table import Table

MAX_COLUMNS = 200


class ParsedRecord(NamedTuple):
    """One record, as the fields that are set, and where it was found."""

    file: str
    line: int | None
    table: Table[Any]
    values: dict[str, Any]
    letters: int


def check_version(header: Mapping[str, Any]) -> None:
    version = header.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise InvalidValueError(
            f"This export has version {version!r}; up to {VERSION} can be read. "
            "Use a newer curio_persistence."
        )


def parsed(
    file: str, line: int | None, table: Table[Any], values: dict[str, Any], report: ReportBuilder
) -> Iterator[ParsedRecord]:
    """Yield the record that these values make, or nothing, and report a problem."""
    letters = 0
    try:
        for name, read in _readers_of(table).items():
            if (value := values.get(name)) is not None:
                values[name] = read(value)
                if type(value) is str:
                    letters += len(value)
    except (ValueError, InvalidOperation, RecursionError) as error:
        report.problem(file, line, f"has a {name} that cannot be read: {error}")
    else:
        yield ParsedRecord(file, line, table, values, letters)


def table_with(columns: list[str], table: Table[Any] | None) -> Table[Any]:
    """Return the table that has these columns."""
    if len(columns) > MAX_COLUMNS:
        raise InvalidValueError(f"has {len(columns):,} columns; no record has that many")
    named = set(columns)
    fitting = [
        each
        for each in (KINDS.values() if table is None else (table,))
        if named <= set(each.names) and {*each.stored_times, *each.required} <= named
    ]
    if len(fitting) != 1 or len(named) != len(columns):
        raise InvalidValueError(
            f"has columns that are not those of {table.name if table else 'one kind of record'}: "
            f"{', '.join(columns[:20])}"
        )
    return fitting[0]


@lru_cache
def _readers_of(table: Table[Any]) -> dict[str, Callable[[Any], Any]]:
    """Return the readers of the columns whose values are written in another form."""
    readers = {name: _READ[kind] for name, kind in table.kinds.items() if kind in _READ}
    return readers | dict.fromkeys(table.encoded_by(encode_tags), _tags)


def _time(value: Any) -> Any:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if isinstance(moment, datetime) and moment.tzinfo is None:
        raise ValueError("a time needs its offset from UTC")
    return moment


def _money(value: Any) -> Any:
    return Decimal(value) if isinstance(value, str) else value


def _text(value: Any) -> Any:
    return decode_text(value) if isinstance(value, str) else value


def _tags(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _integer(value: Any) -> Any:
    return int(value) if isinstance(value, str) else value


def _real(value: Any) -> Any:
    return float(value) if isinstance(value, str) else value


_READ: Mapping[Kind, Callable[[Any], Any]] = {
    "time": _time,
    "money": _money,
    "text": _text,
    "integer": _integer,
    "real": _real,
}
