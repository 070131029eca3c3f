"""Rows in dictionaries: for unit tests, and as the reference for the databases.

Rows are stored encoded, as in SQLite, so that nothing aliases and times, JSON and limits behave as
in the databases.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from itertools import count
from math import inf
from typing import Any, Concatenate, ParamSpec, TypeVar

from curio_persistence.backends.memory.rows import Rows, columns_of, in_chunks, in_order, no_rows
from curio_persistence.backends.memory.search import MemorySearchIndex
from curio_persistence.backends.sql import health
from curio_persistence.concurrency import forking
from curio_persistence.concurrency.fair_lock import FairLock, Ticket
from curio_persistence.concurrency.time_limit import check_reading_time
from curio_persistence.content.store import SharedContent
from curio_persistence.errors import AccessDeniedError, ClosedError
from curio_persistence.store.aggregates import aggregate_rows
from curio_persistence.store.base import HealthCheck, conflict, missing_reference
from curio_persistence.store.filters import (
    Filter,
    GroupKey,
    Measure,
    Where,
    matches,
    with_selected,
)
from curio_persistence.store.query import Query, ReadRows
from curio_persistence.store.table import Columns, Row, Table
from curio_persistence.store.transaction import (
    ThreadTransaction,
    Transaction,
    TransactionalStore,
    left_elsewhere,
)
from curio_persistence.tables import CHANGES, RUNS, TABLES, TABLES_OF_RUNS, USAGE
from curio_persistence.tables.changes import KEPT, WATCHED

P = ParamSpec("P")
T = TypeVar("T")

_REFERENCES = {
    target: [
        (t, t.references.column) for t in TABLES if t.references and t.references.table is target
    ]
    for target in TABLES
}
"""For each table, the tables and columns that refer to its rows."""


def _exclusive(
    method: Callable[Concatenate[MemoryRows, P], T],
) -> Callable[Concatenate[MemoryRows, P], T]:
    """Make each call of a method a transaction, or a part of the thread's own."""

    @wraps(method)
    def call(self: MemoryRows, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._alone(partial(method, self), *args, **kwargs)

    return call


class MemoryRows(TransactionalStore, forking.Forkable):
    """The rows of a memory store as they are stored."""

    dialect = "memory"

    def __init__(self, *, read_only: bool = False) -> None:
        super().__init__(ThreadTransaction())
        self.read_only = read_only
        self._lock = FairLock()
        self._undo: list[Callable[[], object]] = []
        """Functions that undo the open transaction's changes; empty while none is open."""
        self._tables: dict[str, Rows] | None = no_rows()
        self._identity = os.urandom(8).hex()
        self._search_index = MemorySearchIndex(self._alone, self._change)
        self._fork = Ticket()
        forking.follow(self)

    def __repr__(self) -> str:
        return "MemoryStore()"

    @property
    def identity(self) -> str:
        return self._identity

    def initialize(self) -> bool:
        """Do nothing: memory has no tables to create."""
        self._check_open()
        return False

    def clear(self) -> None:
        """Remove every row; ids start again from 1."""
        self.check_outside("clearing")
        with self.transaction():
            self._tables = no_rows()
            self._search_index = MemorySearchIndex(self._alone, self._change)

    @property
    def search_index(self) -> MemorySearchIndex:
        self.initialize()
        return self._search_index

    # --- transactions -------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._check_writable()
        with super().transaction():
            yield

    def _alone(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a call while no other thread is inside. If it raises, nothing of it is left."""
        with super().transaction():
            transaction = self._mine.required()
            with transaction.lock:
                if transaction.ended:
                    raise left_elsewhere()
                return call(*args, **kwargs)

    def _enter(self, transaction: Transaction) -> None:
        self._lock.acquire(transaction, inf)
        self._check_open()

    def _commit(self, transaction: Transaction) -> None:
        self._undo.clear()

    def _finish(self, transaction: Transaction) -> None:
        with transaction.lock:
            if self._lock.is_held_by(transaction):
                roll_back(self._undo)
        self._lock.release(transaction)
        self._lock.wake()

    def _set_savepoint(self, transaction: Transaction, depth: int) -> int:
        return len(self._undo)

    def _release_savepoint(self, transaction: Transaction, savepoint: int) -> None:
        pass  # The outermost transaction undoes all.

    def _return_to_savepoint(self, transaction: Transaction, savepoint: int) -> None:
        with transaction.lock:
            roll_back(self._undo, savepoint)

    def _change(self, do: Callable[[], object], undo: Callable[[], object]) -> None:
        self._check_writable()
        self._alone(self._do, do, undo)

    def _do(self, do: Callable[[], object], undo: Callable[[], object]) -> None:
        self._undo.append(undo)
        do()

    # --- rows ---------------------------------------------------------------------------------

    @_exclusive
    def insert(self, table: Table[Any], row: Row) -> int:
        self._check_writable()
        rows = self._rows(table)
        if any(rows.having(key, row) for key in table.unique):
            raise conflict(table, row)
        target = table.references
        if target and not self._rows(target.table).contains("run_id", row[target.column]):
            raise missing_reference(table, row)
        ident = int(row.get("id") or next(rows.ids))
        if ident in rows.by_id:
            raise conflict(table, row)
        row = {**table.filled, **row, "id": ident}
        self._do(partial(rows.put, ident, row), partial(rows.remove, ident, row))
        self._make_others(table, None, row)
        return ident

    def _make_others(self, table: Table[Any], before: Row | None, after: Row) -> None:
        """Make the rows of other tables that a row makes, or widen the times of stored ones."""
        for maker in table.makes:
            if not maker.is_due(before, after):
                continue
            made = maker.row_of(after)
            where = (Filter(maker.column, "=", made[maker.column]),)
            stored = self._matching(maker.table, where)
            if not stored:
                self.insert(maker.table, made)
            elif changes := maker.changes(stored[0], made):
                self.update(maker.table, where, changes)

    def _note_change(self, table: Table[Any], ident: int) -> None:
        line = self.insert(CHANGES, {"table_name": table.name, "row_id": ident})
        rows = self._rows(CHANGES)
        if old := rows.by_id.get(line - KEPT):
            self._do(partial(rows.remove, line - KEPT, old), partial(rows.put, line - KEPT, old))

    def select_query(self, query: Query, limit: int | None, offset: int) -> Columns:
        self._check_time()
        end = None if limit is None else offset + limit
        rows = in_order(self._matching(query.table, query.where), query)
        return columns_of(query.table, rows[offset:end])

    def stream_query(self, query: Query, size: int) -> Iterator[Columns]:
        # Rows are replaced, never changed.
        rows = in_order(self._matching(query.table, query.where), query)
        for columns in in_chunks(query.table, rows, size):
            self._check_open()
            yield columns

    @_exclusive
    def _matching(self, table: Table[Any], where: Where) -> list[Row]:
        rows = self._rows(table)
        return [rows.by_id[ident] for ident in self._ids(table, where)]

    def _ids(self, table: Table[Any], where: Where) -> list[int]:
        where = with_selected(where, lambda other: self._rows(other).by_id.values())
        return self._rows(table).matching(where)

    @contextmanager
    def snapshot(self) -> Iterator[ReadRows]:
        yield partial(_read, self._copied())

    @_exclusive
    def _copied(self) -> dict[str, list[Row]]:
        # Rows are replaced, never changed.
        return {name: list(rows.by_id.values()) for name, rows in self._check_open().items()}

    @_exclusive
    def reserve_ids(self, table: Table[Any], last: int) -> None:
        self._check_writable()
        rows = self._rows(table)
        rows.ids = count(max(next(rows.ids), last + 1))

    @_exclusive
    def update(
        self, table: Table[Any], where: Where, changes: Row, *, returning: tuple[str, ...] = ("id",)
    ) -> list[tuple[Any, ...]]:
        self._check_writable()
        rows = self._rows(table)
        matching = self._ids(table, where)
        for ident in matching:
            before = rows.by_id[ident]
            after = {**before, **changes}
            self._do(
                partial(rows.replace, ident, before, after),
                partial(rows.replace, ident, after, before),
            )
            self._make_others(table, before, after)
            if table.name in WATCHED and "updated_at" in changes:
                self._note_change(table, ident)
        return [tuple(map(rows.by_id[ident].get, returning)) for ident in matching]

    @_exclusive
    def delete(self, table: Table[Any], where: Where, limit: int | None = None) -> int:
        self._check_writable()
        rows = self._rows(table)
        matching = self._ids(table, where)[:limit]
        for ident in matching:
            row = rows.by_id[ident]
            self._do(partial(rows.remove, ident, row), partial(rows.put, ident, row))
            for other, reference in _REFERENCES.get(table, ()):
                self.delete(other, (Filter(reference, "=", row["run_id"]),))
        return len(matching)

    def aggregate(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where = (),
        *,
        group_by: tuple[GroupKey, ...] = (),
    ) -> list[tuple[Any, ...]]:
        self._check_time()
        return aggregate_rows(self._matching(table, where), measures, group_by)

    def compact(self) -> None:
        """Check that no transaction is open; deleted rows leave nothing behind."""
        self.initialize()
        self.check_outside("compact()")

    @_exclusive
    def used_bytes(self) -> int:
        found = (size for table in TABLES_OF_RUNS for size in self.sizes(table).values())
        return sum(rows * self.row_overhead + octets for rows, octets in found)

    def diagnose(self, *, deep: bool = False) -> list[HealthCheck]:
        rows = ", ".join(f"{len(self._rows(t).by_id)} {t.name}" for t in TABLES)
        calls = self._without_run(USAGE, "run_id")
        children = self._without_run(RUNS, "parent_run_id")
        return [
            HealthCheck("memory", "ok", f"{rows}; gone when the process ends"),
            health.orphans(0, None, calls, children),
        ]

    def _without_run(self, table: Table[Any], column: str) -> int:
        """Count the rows whose run does not exist."""
        runs = self._rows(RUNS)
        named = (row.get(column) for row in self._rows(table).by_id.values())
        return sum(run is not None and not runs.contains("run_id", run) for run in named)

    def close(self) -> None:
        self.check_outside("close()")
        if self._tables is not None:
            with super().transaction():
                self._tables = None

    def before_fork(self) -> None:
        if not self._is_inside():
            self._lock.acquire(self._fork, inf)

    def after_fork(self, *, in_child: bool) -> None:
        if in_child:
            self._lock.start_again()
        self._lock.release(self._fork)
        self._lock.wake()

    def _check_writable(self) -> None:
        if self.read_only:
            raise AccessDeniedError("This in-memory persistence was opened read-only: it is empty.")

    def _check_time(self) -> None:
        if not self._is_inside():
            check_reading_time()

    def _rows(self, table: Table[Any]) -> Rows:
        return self._check_open()[table.name]

    def _check_open(self) -> dict[str, Rows]:
        if self._tables is None:
            raise ClosedError("This in-memory persistence was closed. Open a new one.")
        return self._tables


class MemoryStore(SharedContent, MemoryRows):
    """One lock around everything; a transaction keeps an undo list."""


def roll_back(undo: list[Callable[[], object]], start: int = 0) -> None:
    """Undo all changes but the first `start`, the last one first. It can be called again."""
    while len(undo) > start:
        undo[-1]()
        undo.pop()


def _read(tables: dict[str, list[Row]], query: Query, size: int) -> Iterator[Columns]:
    """Yield the rows of a stream from copied tables."""
    where = with_selected(query.where, lambda table: tables[table.name])
    found = [row for row in tables[query.table.name] if matches(row, where)]
    return in_chunks(query.table, in_order(found, query), size)
