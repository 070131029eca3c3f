"""Delete a run with all that belongs to it, so that other writers get their turn in between."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from curio_persistence.capabilities.chains import EVENT_CHAINS, Chains
from curio_persistence.capabilities.deletions import audit, bury
from curio_persistence.capabilities.search.indexing import Indexing, Words
from curio_persistence.clock import Clock
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.query import Position, position_of_last
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, SMALL_TABLES_OF_RUNS, SPANS, USAGE

_BATCH, _SMALLEST_BATCH = 250, 50
"""The rows that a deletion changes in one transaction: fewer where that is slow."""
_LONG = 0.05
"""Seconds that such a transaction should keep other writers waiting, at most."""


class RunDeletion:
    """The deletion of one run, by its run_id and its id.

    Events and model calls come first, in batches that are committed one by one. The run itself is
    deleted last, so that an interrupted deletion can be repeated. Each transaction locks the run
    before what belongs to it, as retention does: in another order, the two could deadlock.
    """

    def __init__(self, store: Store, clock: Clock, run_id: str, ident: int) -> None:
        self._store = store
        self._clock = clock
        self._run_id = run_id
        self._ident = ident
        self._indexing = Indexing(store)

    def delete(self) -> bool:
        """Delete the run; return False if another thread or process has done so."""
        of_run, children = RUNS.where(run_id=self._run_id), RUNS.where(parent_run_id=self._run_id)
        self._in_batches(EVENTS, of_run, self._delete_events)
        self._in_batches(USAGE, of_run, self._detach_calls)
        self._in_batches(SPANS, of_run, self._delete_spans)
        self._in_batches(RUNS, children, self._detach_children)
        with self._store.transaction():
            if not self._delete_rest(of_run, children):
                return False
            bury(self._store, self._clock, [self._run_id], "erased")
            Chains(self._store, self._clock, EVENT_CHAINS).forget([self._run_id])
            audit(self._store, self._clock, "delete", self._run_id, "run", self._run_id)
        self._store.sweep_texts()
        return True

    def _delete_rest(self, of_run: Where, children: Where) -> bool:
        """Delete the run and its remaining records; return False if the run does not exist."""
        if not self._store.lock_rows(RUNS, [self._ident], wait=True):
            return False
        self._delete_events(of_run, self._words(EVENTS, of_run))
        self._indexing.remove(RUNS, self._words(RUNS, of_run))
        for table in SMALL_TABLES_OF_RUNS:
            self._store.delete(table, of_run)
        if not self._store.delete(RUNS, of_run):
            return False  # Where locks are of the whole database.
        self._detach_calls(of_run, self._words(USAGE, of_run))
        self._detach_children(children, {})
        return True

    def _in_batches(
        self, table: Table[Any], where: Where, change: Callable[[Where, Words], object]
    ) -> None:
        """Apply a change to all full batches of rows, each in a transaction that locks the run."""
        after: Position | None = None
        size = _BATCH
        while True:
            columns = self._store.select(table, where, after=after, limit=size)
            ids = columns[table.names.index("id")]
            if len(ids) < size:
                return
            # Before the transaction, which other writers wait for: this is half of the work.
            words = self._indexing.words(table, columns)
            begin = monotonic()
            with self._store.transaction():
                self._store.lock_rows(RUNS, [self._ident], wait=True)
                change((Filter("id", "in", tuple(ids)),), words)
            if monotonic() - begin > _LONG:
                size = max(size // 2, _SMALLEST_BATCH)
            self._store.checkpoint()
            # Not from the beginning, where the database may have to skip deleted rows.
            after = position_of_last(table, table.order, columns)

    def _words(self, table: Table[Any], where: Where) -> Words:
        return self._indexing.words(table, self._store.select(table, where))

    def _delete_events(self, where: Where, words: Words) -> None:
        self._indexing.remove(EVENTS, words)
        self._store.delete(EVENTS, where)

    def _delete_spans(self, where: Where, _: Words) -> None:
        self._store.delete(SPANS, where)

    def _detach_calls(self, where: Where, words: Words) -> None:
        """Strip model calls of their texts and their run, and leave their numbers stored."""
        slots = self._indexing.remove(USAGE, words)
        self._store.update(USAGE, where, {**USAGE.content, "run_id": None})
        # The update may have waited for an indexer, which stored their words.
        late = self._indexing.remove(USAGE, words)
        self._indexing.put_again(USAGE, {**slots, **late})

    def _detach_children(self, where: Where, _: Words) -> None:
        self._store.update(RUNS, where, {"parent_run_id": None})
