"""Deletes expired trees in small transactions, with pauses in which other writers work."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

from curio_persistence.capabilities.deletions import bury
from curio_persistence.capabilities.lifecycle.expired_totals import ExpiredTotals
from curio_persistence.capabilities.lifecycle.report import ExpireReport
from curio_persistence.capabilities.lifecycle.settings import Lease
from curio_persistence.capabilities.lifecycle.trees import Member, Tree, unchanged
from curio_persistence.capabilities.search.documents import NUMBERS
from curio_persistence.clock import Clock
from curio_persistence.store.base import Store
from curio_persistence.store.filters import COUNT, Filter, Where
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, SCORES, USAGE

BATCH = 400
"""The rows that one transaction deletes."""
_LONGEST_PAUSE = 5.0
"""Seconds, far less than a lease lasts."""


class Pace:
    """Holds the writers' lock for a share of the time only, and sleeps for the rest of it."""

    def __init__(self, share: float) -> None:
        self._idle = 1 / share - 1

    @contextmanager
    def step(self) -> Iterator[None]:
        """Do one step of the work, then pause in proportion to the time that it took."""
        begin = monotonic()
        yield
        sleep(min((monotonic() - begin) * self._idle, _LONGEST_PAUSE))


class Expiry:
    """One deletion of expired trees."""

    def __init__(
        self, store: Store, clock: Clock, lease: Lease, pace: Pace, report: ExpireReport
    ) -> None:
        self._store = store
        self._clock = clock
        self._lease = lease
        self._pace = pace
        self._report = report
        self._batch: list[Tree] = []
        self._rows = 0

    def delete(self, tree: Tree, rows: int) -> None:
        """Delete a tree with this many rows, soon: small trees are gathered into a batch."""
        if max(rows, len(tree.runs)) > BATCH:
            tree = self._without_most(tree)
        self._batch.append(tree)
        self._rows += rows + len(tree.runs)
        if self._rows >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Delete the trees of the batch in one transaction."""
        trees, self._batch, self._rows = self._batch, [], 0
        if not trees:
            return
        with self._transaction():
            trees = unchanged(self._store, trees)
            runs = [run for tree in trees for run in tree.runs]
            if runs:
                self._delete_runs(runs)
        self._report.trees += len(trees)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._pace.step():
            with self._store.transaction():
                self._lease.renew()
                yield
            self._store.checkpoint()

    def _without_most(self, tree: Tree) -> Tree:
        """Delete most of a large tree, batch by batch; return the rest of it."""
        for table in (EVENTS, USAGE):
            where = (Filter("run_id", "in", tuple(run.run_id for run in tree.runs)),)
            while self._delete_batch(tree, table, where):
                pass
        while len(tree.runs) > BATCH:
            rest = Tree(tree.runs[:-BATCH])  # Those that were started last, without children.
            with self._transaction():
                if not unchanged(self._store, [tree]):
                    break
                self._delete_runs(tree.runs[-BATCH:])
            tree = rest
        return tree

    def _delete_batch(self, tree: Tree, table: Table[Any], where: Where) -> bool:
        """Delete a full batch of rows; return False if there are fewer, or the tree has changed."""
        ids = self._store.select(table, where, limit=BATCH)[table.names.index("id")]
        if len(ids) < BATCH:
            return False
        with self._transaction():
            if not unchanged(self._store, [tree]):
                return False
            self._delete_rows(table, (Filter("id", "in", tuple(ids)),))
        return True

    def _delete_runs(self, runs: Sequence[Member]) -> None:
        """Delete runs with all that belongs to them, inside a transaction."""
        where: Where = (Filter("run_id", "in", tuple(run.run_id for run in runs)),)
        self._delete_rows(USAGE, where)
        self._delete_rows(EVENTS, where)
        totals = ExpiredTotals(self._store)
        totals.add_runs(where)
        totals.store()
        self._report.scores += self._store.delete(SCORES, where)
        self._forget(RUNS, [run.id for run in runs])
        self._report.runs += self._store.delete(RUNS, where)
        bury(self._store, self._clock, (run.run_id for run in runs), "expired")
        sessions = {run.session_id for run in runs if run.session_id is not None}
        self._report.sessions += len(sessions) - len(runs_of_sessions(self._store, sessions))

    def _delete_rows(self, table: Table[Any], where: Where) -> None:
        """Delete events or model calls, and add them to the totals."""
        totals = ExpiredTotals(self._store)
        if table is EVENTS:
            totals.add_tools(where)
        else:
            totals.add_calls(where)
            totals.add_calls_of_runs(where)
        totals.store()
        self._forget(
            table, [ident for (ident,) in self._store.select_columns(table, ("id",), where)]
        )
        deleted = self._store.delete(table, where)
        if table is EVENTS:
            self._report.events += deleted
        else:
            self._report.usage += deleted

    def _forget(self, table: Table[Any], ids: Sequence[int]) -> None:
        """Remove records from the search index, and leave their words to be removed later."""
        if ids:
            self._store.search_index.remove(NUMBERS[table], ids, {})


def runs_of_sessions(store: Store, sessions: Collection[str]) -> dict[str, int]:
    """Return how many runs each of the sessions has; those without a run are left out."""
    where = (Filter("session_id", "in", tuple(sessions)),)
    return dict(store.aggregate(RUNS, (COUNT,), where, group_by=("session_id",)))


def count_rows(store: Store, trees: Sequence[Tree]) -> list[dict[str, int]]:
    """Return how many rows of each table each tree has."""
    ids = tuple(run.run_id for tree in trees for run in tree.runs)
    where = (Filter("run_id", "in", ids),)
    counts: dict[str, dict[str, int]] = {}
    for name, table in (("events", EVENTS), ("usage", USAGE), ("scores", SCORES)):
        groups = store.aggregate(table, (COUNT,), where, group_by=("run_id",))
        counts[name] = dict(groups)
    return [
        {
            name: sum(of_run.get(run.run_id, 0) for run in tree.runs)
            for name, of_run in counts.items()
        }
        for tree in trees
    ]


def give_space_back(store: Store, pace: Pace, lease: Lease) -> int:
    """Return empty pages to the disk, step by step; return how many bytes."""
    freed = 0
    while True:
        with pace.step(), store.transaction():
            lease.renew()
            step = store.release_space()
        if not step:
            return freed
        freed += step
