"""Rows in dictionaries: for unit tests, and as the reference that databases are compared with.

Rows are kept encoded, as in SQLite, so that nothing aliases and times, JSON and limits behave as
in the databases.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from operator import itemgetter
from threading import RLock
from typing import Any

from curio_persistence.backends.memory.search import MemoryWords
from curio_persistence.backends.sql import health
from curio_persistence.concurrency import forking
from curio_persistence.errors import ClosedError, UnsupportedError
from curio_persistence.store.aggregates import aggregate_rows
from curio_persistence.store.base import (
    STREAM_ROWS,
    Finding,
    Position,
    Snapshot,
    Store,
    conflict,
    current_task,
    interleaved,
    missing_reference,
)
from curio_persistence.store.filters import Filter, GroupKey, Measure, Order, Where, by_run, matches
from curio_persistence.store.table import Columns, Row, Table
from curio_persistence.tables import RUNS, TABLES, USAGE

_REFERENCES = {
    target: [
        (t, t.references.column) for t in TABLES if t.references and t.references.table is target
    ]
    for target in TABLES
}
"""For each table, the tables and columns that refer to its rows."""


class _Rows:
    """One table's rows by id, and for each of its lookup columns the ids by value."""

    def __init__(self, table: Table[Any]) -> None:
        self.by_id: dict[int, Row] = {}
        self.lookups: dict[str, dict[Any, dict[int, None]]] = {
            column: defaultdict(dict) for column in table.lookups
        }
        self.ids = count(1)

    def put(self, ident: int, row: Row) -> None:
        self.by_id[ident] = row
        for column, ids in self.lookups.items():
            if (value := row.get(column)) is not None:
                ids[value][ident] = None

    def take(self, ident: int) -> Row:
        row = self.by_id.pop(ident)
        for column, lookup in self.lookups.items():
            ids = lookup.get(row.get(column))
            if ids is not None:
                ids.pop(ident, None)
                if not ids:
                    del lookup[row[column]]
        return row

    def replace(self, ident: int, row: Row) -> None:
        """Put another row in its place; an interrupt (Ctrl-C) finds either the old or the new."""
        before = self.by_id[ident]
        self.put(ident, row)
        for column, ids in self.lookups.items():
            if (value := before.get(column)) is not None and value != row.get(column):
                ids[value].pop(ident, None)

    def holds(self, column: str, value: Any) -> bool:
        return bool(self.lookups[column].get(value))

    def matching(self, where: Where) -> list[int]:
        """The ids of matching rows, found by a lookup where a filter allows it."""
        candidates: Any = self.by_id
        for column, op, value, _ in where:
            if op in ("=", "in") and column in self.lookups:
                ids = self.lookups[column]
                wanted = (value,) if op == "=" else dict.fromkeys(value)
                candidates = [ident for each in wanted for ident in ids.get(each, ())]
                break
        # A copy, because a signal handler may add to them meanwhile.
        return [ident for ident in list(candidates) if matches(self.by_id[ident], where)]


class MemoryStore(Store):
    """One lock around everything; a transaction keeps an undo list."""

    dialect = "memory"

    def __init__(self) -> None:
        self._lock = RLock()
        self._undo: list[Callable[[], object]] | None = None
        self._depth = 0
        self._task: object = None
        self._tables: dict[str, _Rows] | None = _no_rows()
        self._identity = os.urandom(8).hex()
        self._words = MemoryWords(self._lock, self._change)
        forking.follow(self)

    def __repr__(self) -> str:
        return "MemoryStore()"

    @property
    def identity(self) -> str:
        return self._identity

    def initialize(self) -> None:
        """There is nothing to create."""
        with self._lock:
            self._check_open()

    def clear(self) -> None:
        """Forget every row; ids start again from 1."""
        with self._lock:
            self._check_open()
            if self._undo is not None:
                raise UnsupportedError("A transaction is open: end it before clearing.")
            self._tables = _no_rows()
            self._words = MemoryWords(self._lock, self._change)

    @property
    def words(self) -> MemoryWords:
        with self._lock:
            self._check_open()
            return self._words

    def _change(self, do: Callable[[], object], undo: Callable[[], object]) -> None:
        with self._lock:
            self._check_open()
            do()
            if self._undo is not None:
                self._undo.append(undo)

    def insert(self, table: Table[Any], row: Row) -> int:
        with self._lock:
            rows = self._rows(table)
            if table.unique and rows.holds(table.unique, row.get(table.unique)):
                raise conflict(table, row)
            target = table.references
            if target and not self._rows(target.table).holds("run_id", row[target.column]):
                raise missing_reference(table, row)
            ident = int(row.get("id") or next(rows.ids))
            if ident in rows.by_id:
                raise conflict(table, row)
            rows.put(ident, {**table.filled, **row, "id": ident})
            if self._undo is not None:
                self._undo.append(lambda: rows.take(ident))
            return ident

    def select(
        self,
        table: Table[Any],
        where: Where = (),
        *,
        order: tuple[Order, ...] | None = None,
        after: Position | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Columns:
        order = table.order if order is None else order
        with self._lock:
            rows = self._rows(table)
            found = [rows.by_id[ident] for ident in rows.matching(self._by_run(where))]
        if after is not None:
            found = [row for row in found if _comes_after(row, after, order)]
        _sort(found, order)
        end = None if limit is None else offset + limit
        return _columns(table, found[offset:end])

    def _by_run(self, where: Where) -> Where:
        return by_run(where, partial(_runs_of, self._rows(RUNS).by_id.values()))

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        with self._lock:
            tables = self._check_open()
            # Rows are replaced, never changed.
            copied = {name: list(rows.by_id.values()) for name, rows in tables.items()}
        yield _Snapshot(copied)

    def reserve_ids(self, table: Table[Any], last: int) -> None:
        with self._lock:
            rows = self._rows(table)
            rows.ids = count(max(next(rows.ids), last + 1))

    def update(
        self, table: Table[Any], where: Where, changes: Row, *, returning: tuple[str, ...] = ("id",)
    ) -> list[tuple[Any, ...]]:
        with self._lock:
            rows = self._rows(table)
            matching = rows.matching(where)
            for ident in matching:
                self._replace(rows, ident, {**rows.by_id[ident], **changes})
            return [tuple(map(rows.by_id[ident].get, returning)) for ident in matching]

    def _replace(self, rows: _Rows, ident: int, row: Row) -> None:
        before = rows.by_id[ident]
        if self._undo is not None:
            self._undo.append(lambda: rows.replace(ident, before))
        rows.replace(ident, row)

    def delete(self, table: Table[Any], where: Where) -> int:
        with self._lock:
            rows = self._rows(table)
            matching = rows.matching(where)
            for ident in matching:
                before = self._remove(rows, ident)
                for other, reference in _REFERENCES.get(table, ()):
                    self.delete(other, (Filter(reference, "=", before["run_id"]),))
            return len(matching)

    def _remove(self, rows: _Rows, ident: int) -> Row:
        before = rows.take(ident)
        if self._undo is not None:
            self._undo.append(lambda: rows.put(ident, before))
        return before

    def aggregate(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where = (),
        *,
        group_by: tuple[GroupKey, ...] = (),
    ) -> list[tuple[Any, ...]]:
        with self._lock:
            rows = self._rows(table)
            found = [rows.by_id[ident] for ident in rows.matching(self._by_run(where))]
        return aggregate_rows(found, measures, group_by)

    def compact(self) -> None:
        """What was deleted is gone."""
        with self._lock:
            self._check_open()
            if self._undo is not None:
                raise UnsupportedError("A transaction is open: end it before compact().")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._lock:
            self._check_open()
            depth = self._depth
            if self._undo is None:
                self._undo, self._task = [], current_task()
            undo, start = self._undo, len(self._undo)
            self._depth = depth + 1
            try:
                yield
                if self._depth != depth + 1:
                    raise interleaved()
            except BaseException:
                if self._depth > depth:  # Else an outer one has ended before, and undone this too.
                    while len(undo) > start:
                        undo.pop()()
                raise
            finally:
                self._depth = min(self._depth, depth)
                if not self._depth:
                    self._undo = None

    def diagnose(self, *, deep: bool = False) -> list[Finding]:
        with self._lock:
            rows = ", ".join(f"{len(self._rows(t).by_id)} {t.name}" for t in TABLES)
            calls = self._without_run(USAGE, "run_id")
            children = self._without_run(RUNS, "parent_run_id")
        return [
            Finding("memory", "ok", f"{rows}; gone when the process ends"),
            health.orphans(0, None, calls, children),
        ]

    def _without_run(self, table: Table[Any], column: str) -> int:
        """How many rows name a run that is not there."""
        runs = self._rows(RUNS)
        named = (row.get(column) for row in self._rows(table).by_id.values())
        return sum(run is not None and not runs.holds("run_id", run) for run in named)

    def close(self) -> None:
        with self._lock:
            if self._undo is not None:
                raise UnsupportedError(
                    "A transaction is open in this thread: end it before close()."
                )
            self._tables = None

    def before_fork(self) -> None:
        self._lock.acquire()

    def after_fork(self, *, in_child: bool) -> None:
        self._lock.release()

    def _rows(self, table: Table[Any]) -> _Rows:
        return self._check_open()[table.name]

    def _check_open(self) -> dict[str, _Rows]:
        if self._tables is None:
            raise ClosedError("This in-memory persistence was closed. Open a new one.")
        if self._undo is not None and self._task is not current_task():
            raise interleaved()
        return self._tables


class _Snapshot:
    """The rows there were at one moment."""

    def __init__(self, tables: dict[str, list[Row]]) -> None:
        self._tables = tables

    def stream(
        self,
        table: Table[Any],
        where: Where = (),
        *,
        order: tuple[Order, ...] | None = None,
        size: int = STREAM_ROWS,
    ) -> Iterator[Columns]:
        where = by_run(where, partial(_runs_of, self._tables[RUNS.name]))
        found = [row for row in self._tables[table.name] if matches(row, where)]
        _sort(found, table.order if order is None else order)
        for first in range(0, len(found), size):
            yield _columns(table, found[first : first + size])


def _runs_of(runs: Iterable[Row], session_id: str) -> tuple[Any, ...]:
    return tuple(run["run_id"] for run in runs if run.get("session_id") == session_id)


def _sort(rows: list[Row], order: tuple[Order, ...]) -> None:
    for column, descending in reversed(order):
        rows.sort(key=itemgetter(column), reverse=descending)


def _columns(table: Table[Any], rows: list[Row]) -> Columns:
    return [[row.get(name) for row in rows] for name in table.names]


def _no_rows() -> dict[str, _Rows]:
    return {table.name: _Rows(table) for table in TABLES}


def _comes_after(row: Row, position: Position, order: tuple[Order, ...]) -> bool:
    place: Any = tuple(row[column] for column, _ in order)
    return bool(place < position if order[0].descending else place > position)
