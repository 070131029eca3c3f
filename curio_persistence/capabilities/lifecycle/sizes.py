"""How many bytes records take, for policies by bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from curio_persistence.errors import InvalidValueError
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Order, checked_count
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, SCORES, USAGE

_TABLES: Mapping[str, Table[Any]] = {
    "runs": RUNS,
    "events": EVENTS,
    "usage": USAGE,
    "scores": SCORES,
}
_SAMPLE = 500
"""Rows at either end of a table, the oldest and the newest, whose size is measured."""
_PIECE = 50
_ENOUGH = 8_000_000
"""Bytes after which fewer rows are measured."""
_OVERHEAD = 350
"""Bytes of a row besides its values, most of them in indexes; measured on PostgreSQL 18."""
_OF_NUMBER, _OF_OTHERS = 8, 3
"""Bytes of a number, and of a character of text that is not ASCII."""
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([KMGT]?)(i?)B", re.IGNORECASE | re.ASCII)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def checked_bytes(name: str, value: Any) -> int:
    """Return a number of bytes, given as such or as text: `500MB`, `1.5GB`, `2GiB`."""
    if isinstance(value, str):
        if (said := _SIZE.fullmatch(value)) is None:
            raise InvalidValueError(
                f"{name} is a number of bytes, or text such as '500MB' or '2GiB', not {value!r}.",
                field=name,
            )
        base = 1024 if said[3] else 1000
        return int(float(said[1]) * base ** _POWERS[said[2].upper()])
    return checked_count(name, value)


class Sizes:
    """The size of a database, and of the records in it, measured once.

    A row counts as much as the rows of its table do on average: the oldest and the newest are
    measured. Where a database says how many bytes it uses, the averages are scaled to add up to
    that; PostgreSQL does not return space, so that the size of its files tells nothing.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def measure(self) -> None:
        """Measure now."""
        _ = self.used, self._of_row

    @cached_property
    def used(self) -> int:
        """The bytes in use."""
        stored = self._store.used_bytes()
        return self._estimated if stored is None else stored

    def of(self, rows: Mapping[str, int]) -> float:
        """Return about how many bytes so many rows take, by the names of their tables."""
        share = self.used / self._estimated if self._estimated else 1
        return share * sum(count * self._of_row[name] for name, count in rows.items())

    @cached_property
    def _estimated(self) -> int:
        counts = {name: self._store.count(table) for name, table in _TABLES.items()}
        return int(sum(count * self._of_row[name] for name, count in counts.items()))

    @cached_property
    def _of_row(self) -> dict[str, float]:
        return {name: self._average(table) for name, table in _TABLES.items()}

    def _average(self, table: Table[Any]) -> float:
        """Return the average size of a table's rows; 0 without any."""
        if (average := self._store.average_size(table, _SAMPLE)) is not None:
            return _OVERHEAD + average
        ends = [self._measured(table, Order("id", descending=end)) for end in (False, True)]
        rows = sum(rows for rows, _ in ends)
        return _OVERHEAD + sum(octets for _, octets in ends) / rows if rows else 0

    def _measured(self, table: Table[Any], order: Order) -> tuple[int, int]:
        """Return how many rows were measured from one end of a table, and their bytes."""
        rows = octets = 0
        for columns in self._store.stream(table, order=(order,), size=_PIECE, snapshot=False):
            rows += len(columns[0])
            octets += sum(_octets(value) for values in columns for value in values)
            if rows >= _SAMPLE or octets >= _ENOUGH:
                break
        return rows, octets


def _octets(value: object) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else _OF_OTHERS * len(value)
    return 0 if value is None else _OF_NUMBER
