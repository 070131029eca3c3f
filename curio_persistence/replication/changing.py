"""Send rows again that have changed, and delete those that are gone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from curio_persistence.backends.clickhouse.sink import Noted, Sink
from curio_persistence.replication.rows import BY_NAME, parts, ranges_of, rows_in
from curio_persistence.store.base import Store
from curio_persistence.store.change_feed import Watermark, packed, unpacked
from curio_persistence.store.filters import COUNT, Filter, Where, total
from curio_persistence.store.table import Columns, Table

_AT_ONCE = 20_000
_BLOCK = 1 << 16
"""The ids of which the rows are compared together."""


class Changing:
    """Makes rows of a replica what they are in the source now."""

    def __init__(self, store: Store, sink: Sink, changed: Counter[str]) -> None:
        self._store = store
        self._sink = sink
        self._changed = changed

    def refresh(self, table: Table[Any], ids: Collection[int]) -> Iterator[Columns]:
        """Send rows with versions once more, and yield them; those that are gone stay."""
        for some in parts(sorted(ids), _AT_ONCE):
            rows = rows_in(self._store, table, ranges_of(some))
            self._sink.insert(table, rows)
            self._changed[table.name] += len(rows[0])
            yield rows

    def replace(self, table: Table[Any], ids: Collection[int]) -> None:
        """Delete rows, and insert those that the source has.

        The ids are noted before: after a crash this is done again.
        """
        for some in parts(sorted(ids), _AT_ONCE):
            intent = json.dumps(packed(ranges_of(some)))
            self._sink.note({_name(table): Noted(intent=intent)})
            self._replace(table, some)
            self._sink.note({_name(table): Noted()})

    def finish(self, table: Table[Any]) -> None:
        """Finish what a killed process has begun to replace."""
        if intent := self._sink.noted(_name(table)).intent:
            ranges = unpacked(json.loads(intent))
            self.replace(table, [each for first, end in ranges for each in range(first, end)])

    def _replace(self, table: Table[Any], ids: Collection[int]) -> None:
        self._sink.delete(table, ids)
        rows = rows_in(self._store, table, ranges_of(ids))
        self._sink.insert(table, rows)
        self._changed[table.name] += len(rows[0])

    def differs(self, marks: Mapping[str, Watermark]) -> list[str]:
        """Return those of the tables, each up to a mark, of which a replica has other rows."""
        here = self._sink.totals({name: mark.upto for name, mark in marks.items()})
        return [
            name
            for name, mark in marks.items()
            if here[name] != self._sums(BY_NAME[name], 0, mark.upto + 1)
        ]

    def differing(self, table: Table[Any], passed: Watermark, *columns: str) -> set[int]:
        """Return the ids, up to a mark, of rows that only one of both has.

        With columns, also of those that differ in one of them.
        """
        here = self._sink.sums(table, passed.upto, _BLOCK)
        found = set[int]()
        for block in range(passed.upto // _BLOCK + 1):
            first, end = block * _BLOCK, min((block + 1) * _BLOCK, passed.upto + 1)
            if columns or here.get(block, (0, 0)) != self._sums(table, first, end):
                found |= self._differing_between(table, first, end, columns)
        return {*filter(passed.has_passed, found)}

    def _sums(self, table: Table[Any], first: int, end: int) -> tuple[int, int]:
        [(count, ids)] = self._store.aggregate(table, (COUNT, total("id")), _between(first, end))
        return count, ids or 0

    def _differing_between(
        self, table: Table[Any], first: int, end: int, columns: tuple[str, ...]
    ) -> set[int]:
        there = self._store.select_columns(table, ("id", *columns), _between(first, end))
        here = self._sink.rows_between(table, ("id", *columns), first, end)
        return {row[0] for row in {*there} ^ {*here}}


def _between(first: int, end: int) -> Where:
    return (Filter("id", ">=", first), Filter("id", "<", end))


def _name(table: Table[Any]) -> str:
    return f"replaced {table.name}"
