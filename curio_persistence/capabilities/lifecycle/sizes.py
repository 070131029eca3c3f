"""How many bytes records take, for policies by bytes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from curio_persistence.errors import InvalidValueError
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Measure, Where, checked_count
from curio_persistence.store.table import Table
from curio_persistence.tables import TABLES_OF_RUNS

_PIECES, _PIECE = 100, 100
"""How many times how many rows are measured."""
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
    """The size of a database, measured once, and that of trees of runs.

    A row takes the bytes of its values, and some more. Where a database does not say how many bytes
    it uses, as PostgreSQL, whose files keep the space of deleted rows, that is the number of rows
    times their average size, which is that of a sample.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @cached_property
    def used(self) -> int:
        """The bytes in use."""
        stored = self._store.used_bytes()
        return sum(map(self._estimated, TABLES_OF_RUNS)) if stored is None else stored

    def of_trees(self, trees: Sequence[Sequence[str]]) -> list[int]:
        """Return about how many bytes trees take, each given as the ids of its runs."""
        where = (Filter("run_id", "in", tuple(run_id for tree in trees for run_id in tree)),)
        of_run: defaultdict[str | None, int] = defaultdict(int)
        for table in TABLES_OF_RUNS:
            for run_id, (rows, octets) in self._store.sizes(table, where).items():
                of_run[run_id] += octets + rows * self._store.row_overhead
        return [sum(of_run[run_id] for run_id in tree) for tree in trees]

    def _estimated(self, table: Table[Any]) -> int:
        """Return about how many bytes a table takes."""
        rows = octets = 0
        for where in self._sample(table):
            for some, octets_of_some in self._store.sizes(table, where).values():
                rows, octets = rows + some, octets + octets_of_some
        average = self._store.row_overhead + octets / rows if rows else 0
        return int(self._store.count(table) * average)

    def _sample(self, table: Table[Any]) -> Iterator[Where]:
        """Yield filters for rows that are spread evenly over a table; for all if it is small."""
        measures = (Measure("min", "id"), Measure("max", "id"))
        [(first, last)] = self._store.aggregate(table, measures)
        if first is None:
            return
        step = max((last - first) // _PIECES, _PIECE)
        for begin in range(first, last + 1, step):
            yield (Filter("id", ">=", begin), Filter("id", "<", begin + _PIECE))
