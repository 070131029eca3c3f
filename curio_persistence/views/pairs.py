"""The events that belong together: the begin and the end of a tool call or span."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Order, Where
from curio_persistence.store.query import Position
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS
from curio_persistence.views.brief import EVENT_LINES, EVENT_WORDS, EventRow
from curio_persistence.views.telling import BEGINS, ENDS, KINDS, told_by
from curio_persistence.views.values import parsed

_BEGIN, _END = Filter("event_type", "in", BEGINS), Filter("event_type", "in", ENDS)
_EITHER = Filter("event_type", "in", (*BEGINS, *ENDS))
_UNNAMED = Filter("span_id", "is null")

Key = tuple[str, str | None]
"""The kind of a tool call or span, and its span_id."""


class Pairs:
    """The pairs of one run.

    A begin is ended by the first end with its span_id after it, and an end that has such a begin
    before it is no step of its own. Events without a span_id are paired by name and arguments: all
    of them are read for that, if there is a begin among them.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._of_run: Where = (Filter("run_id", "=", run_id),)

    def ends(self, rows: Iterable[EventRow]) -> Mapping[int, EventRow]:
        """Return the ends of those rows that are begins, by the ids of these.

        The rows are neighbours, in the order of time: their ends are mostly among them.
        """
        found: dict[int, EventRow] = {}
        waiting: dict[Key, list[EventRow]] = {}
        for row in rows:
            if row.event_type in BEGINS and row.span_id is None:
                if row.id in self._unnamed:
                    found[row.id] = self._unnamed[row.id]
            elif row.event_type in BEGINS:
                waiting.setdefault(_key(row), []).append(row)
            elif waiting and row.event_type in ENDS:
                found |= {begun.id: row for begun in waiting.pop(_key(row), ())}
        if waiting:
            found |= self._later_ends(waiting)
        return found

    def _later_ends(self, waiting: dict[Key, list[EventRow]]) -> dict[int, EventRow]:
        """Return the ends of begins of which none is among their neighbours."""
        found: dict[int, EventRow] = {}
        first = min(begun[:2] for each in waiting.values() for begun in each)
        for row in self._search(_END, waiting, first, newest_first=False):
            begun = waiting.pop(_key(row), [])
            found |= {each.id: row for each in begun if each[:2] < row[:2]}
            if left := [each for each in begun if each[:2] > row[:2]]:
                waiting[_key(row)] = left
            if not waiting:
                break
        return found

    def ended(self, rows: Sequence[EventRow]) -> set[int]:
        """Return the ids of those rows that end what began before them."""
        begun: set[Key] = set()
        found: set[int] = set()
        without: dict[Key, list[int]] = {}
        for row in rows:
            if row.event_type in BEGINS:
                begun.add(_key(row))
            elif row.event_type in ENDS and row.span_id is None:
                found |= {row.id} & self._ended
            elif row.event_type in ENDS and _key(row) in begun:
                found.add(row.id)
            elif row.event_type in ENDS:
                without.setdefault(_key(row), []).append(row.id)
        if without:
            for row in self._search(_BEGIN, without, rows[0][:2], newest_first=True):
                found.update(without.pop(_key(row), ()))
                if not without:
                    break
        return found

    def place_of(self, row: EventRow) -> tuple[str, int]:
        """Return the time and id of the begin that an event ends, or its own."""
        if row.event_type in ENDS and row.span_id is None:
            begins = {end.id: ident for ident, end in self._unnamed.items()}
            where = (Filter("id", "=", begins.get(row.id, row.id)),)
            return next(iter(self._read(EVENT_LINES, where)))[:2]
        if row.event_type in ENDS:
            for begun in self._search(_BEGIN, {_key(row): []}, row[:2], newest_first=True):
                if _key(begun) == _key(row):
                    return begun[:2]
        return row[:2]

    def _search(
        self,
        types: Filter,
        sought: Mapping[Key, Any],
        start: tuple[str, int],
        *,
        newest_first: bool,
    ) -> Iterator[EventRow]:
        """Yield begins or ends with the span_ids that are sought, from a place on.

        As many are read at once as are sought: they are near, if they are there.
        """
        where = (*self._of_run, types, Filter("span_id", "in", tuple({each for _, each in sought})))
        after: Position | None = start
        size = len(sought)
        while after is not None:
            rows = self._read(EVENT_LINES, where, newest_first, after, size)
            yield from rows
            after = rows[-1][:2] if len(rows) == size else None

    # --- events without a span_id -----------------------------------------------------------------

    @cached_property
    def _unnamed(self) -> Mapping[int, EventRow]:
        """The ends of all begins without a span_id, by the ids of these."""
        of_run = (*self._of_run, _UNNAMED)
        if not self._store.select_columns(EVENTS, ("id",), (*of_run, _BEGIN), 1):
            return {}
        open_ones: dict[tuple[str, str], list[int]] = {}
        found: dict[int, EventRow] = {}
        for row in self._read(EVENT_WORDS, (*of_run, _EITHER)):
            told = told_by(row.event_type, parsed(row.data), row.message)
            args = json.dumps(told.parts.get("args"), sort_keys=True)
            of_same = open_ones.setdefault((told.name, args), [])
            if row.event_type in BEGINS:
                of_same.append(row.id)
            elif of_same:
                found[of_same.pop()] = row
        return found

    @cached_property
    def _ended(self) -> set[int]:
        return {end.id for end in self._unnamed.values()}

    def _read(
        self,
        table: Table[Any],
        where: Where,
        newest_first: bool = False,
        after: Position | None = None,
        limit: int | None = None,
    ) -> list[EventRow]:
        order = (Order("timestamp", newest_first), Order("id", newest_first))
        columns = self._store.select(table, where, order=order, after=after, limit=limit)
        return list(map(EventRow._make, zip(*columns, strict=True)))


def _key(row: EventRow) -> Key:
    return KINDS[row.event_type], row.span_id
