"""Deletes expired trees in small transactions, with pauses in which other writers work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any, Protocol

from curio_persistence.capabilities.chains import EVENT_CHAINS, Chains
from curio_persistence.capabilities.deletions import EMBEDDING_LOCK, audit, bury
from curio_persistence.capabilities.lifecycle.expired_totals import ExpiredTotals
from curio_persistence.capabilities.lifecycle.report import ExpireReport
from curio_persistence.capabilities.lifecycle.settings import Lease
from curio_persistence.capabilities.lifecycle.trees import Forest, Member, Tree
from curio_persistence.capabilities.search.indexing import Indexing
from curio_persistence.capabilities.transfers.kinds import KINDS_OF_FEW_ROWS
from curio_persistence.clock import Clock
from curio_persistence.store.base import Partition, Store
from curio_persistence.store.filters import COUNT, Filter, Order, Where
from curio_persistence.store.table import Table
from curio_persistence.tables import EMBEDDINGS, EVENTS, RUNS, SESSIONS, SPANS, USAGE

IdsByRun = dict[Table[Any], defaultdict[str, list[int]]]

BATCH = 400
"""The rows that one transaction deletes, or strips, if other writers wait for it."""
_LARGE_BATCH = 4_000
"""The rows that one transaction deletes if none does: four times as fast on PostgreSQL."""
_BATCHES = 5
"""The batches after which space is returned: less than what a step returns becomes empty."""
_COUNTED = ("runs", "events", "usage", *KINDS_OF_FEW_ROWS)
_LONGEST_PAUSE = 20.0
"""Seconds, less than a lease lasts."""


class Steps:
    """The transactions of an expiry.

    Each prolongs the lease. Writers may be kept waiting for a share of the time only: after each
    transaction the thread sleeps for the rest of it; where writers do not wait for each other, it
    does not. Every few of them, some empty pages go back
    to the disk, up to the share of the file that is left for the next records.
    """

    def __init__(self, store: Store, lease: Lease, share: float, left: float) -> None:
        self._store = store
        self._lease = lease
        self._idle = 1 / share - 1 if store.writers_wait else 0
        self.batch = BATCH if store.writers_wait else _LARGE_BATCH
        self._left = left
        self._done = 0
        self._bytes_freed = 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do one step of the work in a transaction, then pause."""
        with self._paced():
            yield
        self._done += 1
        if self._idle and self._done % _BATCHES == 0:
            self._release_space()

    def give_space_back(self) -> int:
        """Return empty pages to the disk, step by step; return how many bytes since the begin."""
        while self._release_space():
            pass
        return self._bytes_freed

    def _release_space(self) -> int:
        with self._paced():
            freed = self._store.release_space(self._left)
        self._bytes_freed += freed
        return freed

    @contextmanager
    def _paced(self) -> Iterator[None]:
        with self._store.transaction():
            self._lease.renew()
            begin = monotonic()  # Other writers wait for us from here on.
            yield
        self._store.checkpoint()
        if self._idle:
            sleep(min((monotonic() - begin) * self._idle, _LONGEST_PAUSE))


class Archiver(Protocol):
    """Stores trees elsewhere before they are deleted here."""

    @property
    def location(self) -> str:
        """The archive, as tombstones name it."""

    @property
    def id(self) -> str:
        """The id of the archive, under whatever name; known once something was stored."""

    def unfinished(self) -> list[str]:
        """Complete what a killed archiver began; return the roots of the trees it stored."""

    def store(self, trees: Sequence[Tree], lease: Lease) -> object:
        """Store trees, and prolong the lease meanwhile."""

    def unchanged(self, trees: list[Tree]) -> list[Tree]:
        """Return the trees that are archived as they are now; called in a transaction."""

    def done(self) -> None:
        """Forget the trees: they were deleted."""


class Expiry:
    """One deletion of expired trees."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        forest: Forest,
        steps: Steps,
        report: ExpireReport,
        archiver: Archiver | None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._forest = forest
        self._steps = steps
        self._report = report
        self._archiver = archiver
        self._indexing = Indexing(store)
        self._batch: list[Tree] = []
        self._buried: set[str] = set()
        self._rows = 0
        self._chains = Chains(store, clock, EVENT_CHAINS)
        self._deleted: list[str] = []
        """The runs that the current transaction has deleted."""
        self._totals = ExpiredTotals(store)
        """The numbers of the rows that it deletes."""

    @contextmanager
    def _deletion(self, run_id: str | None = None) -> Iterator[None]:
        """Do one step in a transaction, and add a line to the audit log of what it has deleted.

        `run_id` is the run of which only rows are deleted.
        """
        with self._steps.transaction():
            before, self._deleted = self._counts(), []
            # An archive has an id since something was stored in it.
            archive_id = self._archiver.id if self._archiver else ""
            self._totals = ExpiredTotals(self._store, archive=archive_id)
            yield
            self._totals.store()
            after = self._counts()
            counts = {name: after[name] - before[name] for name in after}
            if any(counts.values()):
                archive = {} if self._archiver is None else {"archive": self._archiver.location}
                action = "archive" if archive else "expire"
                about = {**counts, **archive, "run_ids": self._deleted}
                audit(self._store, self._clock, action, run_id or "", "runs", run_id, **about)

    def _counts(self) -> dict[str, int]:
        return {name: getattr(self._report, name) for name in _COUNTED}

    def delete(self, tree: Tree, rows: int) -> None:
        """Delete a tree with this many rows, soon: small trees are gathered into a batch."""
        if max(rows, len(tree.runs)) > self._steps.batch:
            tree = self._without_most(tree)
        self._batch.append(tree)
        self._rows += rows + len(tree.runs)
        if self._rows >= self._steps.batch:
            self.flush()

    def flush(self) -> None:
        """Delete the trees of the batch in one transaction."""
        trees, self._batch, self._rows = self._batch, [], 0
        if not trees:
            return
        with self._deletion():
            # Before the trees are compared with the archive: later rows are not deleted.
            ids = self._ids_of([run for tree in trees for run in tree.runs])
            trees = self._confirmed(trees)
            runs = [run for tree in trees for run in tree.runs]
            if runs:
                self._delete_runs(runs, ids)
        self._report.trees += len(trees)

    def _confirmed(self, trees: list[Tree]) -> list[Tree]:
        """Return the trees that still expire, and are archived as they are if they are archived."""
        trees = self._forest.confirmed(trees)
        return trees if self._archiver is None else self._archiver.unchanged(trees)

    def _without_most(self, tree: Tree) -> Tree:
        """Delete most of a large tree, batch by batch; return the rest of it."""
        for table in (EVENTS, USAGE, SPANS):
            for run in tree.runs:
                while self._delete_batch(tree, table, run.run_id):
                    pass
        while len(tree.runs) > self._steps.batch:
            rest = Tree(
                tree.runs[: -self._steps.batch]
            )  # Those that were started last, without children.
            with self._deletion():
                ids = self._ids_of(tree.runs[-self._steps.batch :])
                if not self._confirmed([tree]):
                    break
                self._delete_runs(tree.runs[-self._steps.batch :], ids)
            tree = rest
        return tree

    def _delete_batch(self, tree: Tree, table: Table[Any], run_id: str) -> bool:
        """Delete a full batch of rows; return False if there are fewer, or the tree has changed."""
        ids = self._some_ids(table, table.where(run_id=run_id))
        if len(ids) < self._steps.batch:
            return False
        with self._deletion(run_id):
            if not self._confirmed([tree]):
                return False
            self._delete_rows(table, ids)
            if self._archiver is not None:  # Its readers learn that rows are only there now.
                self._bury([run_id])
        return True

    def _ids_of(self, runs: Sequence[Member]) -> IdsByRun:
        """Return the ids of the events and model calls of runs, by table and run."""
        where: Where = (Filter("run_id", "in", tuple(run.run_id for run in runs)),)
        found: IdsByRun = {EVENTS: defaultdict(list), USAGE: defaultdict(list)}
        for table, of_runs in found.items():
            for run_id, ident in self._store.select_columns(table, ("run_id", "id"), where):
                of_runs[run_id].append(ident)
        return found

    def _delete_runs(self, runs: Sequence[Member], ids: IdsByRun) -> None:
        """Delete runs with what belongs to them, inside a transaction."""
        where: Where = (Filter("run_id", "in", tuple(run.run_id for run in runs)),)
        for table in (USAGE, EVENTS):
            self._delete_rows(table, [each for run in runs for each in ids[table][run.run_id]])
        self._totals.add_runs(where)
        few = KINDS_OF_FEW_ROWS.items()
        self._report.count({name: self._store.delete(table, where) for name, table in few})
        self._indexing.forget(RUNS, [run.id for run in runs])
        self._report.runs += self._store.delete(RUNS, where)
        run_ids = [run.run_id for run in runs]
        self._bury(run_ids)
        self._chains.anchor(run_ids)
        self._deleted += run_ids
        sessions = {run.session_id for run in runs if run.session_id is not None}
        self._end_sessions(sessions - runs_of_sessions(self._store, sessions).keys())

    def _end_sessions(self, sessions: Collection[str]) -> None:
        """Delete sessions of which no run is left; an archive needs them still."""
        self._report.sessions += len(sessions)
        if self._archiver is None and sessions:
            self._store.delete(SESSIONS, (Filter("session_id", "in", tuple(sessions)),))

    def _bury(self, run_ids: Sequence[str]) -> None:
        """Store the tombstones of runs that have none of this expiry yet."""
        archive = None if self._archiver is None else self._archiver.location
        new = [run_id for run_id in run_ids if run_id not in self._buried]
        bury(self._store, self._clock, new, "expired", archive)
        self._buried.update(new)

    def empty(
        self, part: Partition, run_ids: Sequence[str], is_unchanged: Callable[[], bool]
    ) -> None:
        """Delete all rows of a partition at once, if it is as it was when it was judged."""
        with self._deletion():
            self._store.advisory_lock(EMBEDDING_LOCK)  # Else vectors of these texts could be made.
            self._store.lock_partition(part)
            if not is_unchanged():
                return
            self._add_to_totals(part, run_ids)
            self._forget(part)
            deleted = self._store.count(part.table, part.where)
            self._store.empty_partition(part)
            self._count_deleted(part.table, deleted)

    def _add_to_totals(self, part: Partition, run_ids: Sequence[str]) -> None:
        if part.table is EVENTS:
            self._totals.add_events(part.where)
            return
        self._totals.add_calls(part.where)
        for first in range(0, len(run_ids), _LARGE_BATCH):
            some = Filter("run_id", "in", tuple(run_ids[first : first + _LARGE_BATCH]))
            self._totals.add_calls_of_runs((*part.where, some))

    def _forget(self, part: Partition) -> None:
        """Remove the records of a partition from the search index, and their vectors."""
        has_vectors = self._store.select_columns(EMBEDDINGS, ("id",), (), 1)
        if self._indexing.metadata().version is None and not has_vectors:
            return
        ids = part.table.part("id", part.table.ages_by)
        at = ids.names.index("id")
        order = (Order("id"),)
        for rows in self._store.stream(ids, part.where, order=order, size=_LARGE_BATCH):
            self._indexing.forget(part.table, [int(ident) for ident in rows[at]])

    def delete_calls(self, where: Where) -> None:
        """Delete model calls that belong to no run."""
        while ids := self._some_ids(USAGE, where):
            with self._deletion():
                self._store.advisory_lock(EMBEDDING_LOCK)  # No run of theirs can be locked.
                self._delete_rows(USAGE, ids)

    def delete_spans(self, where: Where) -> None:
        """Delete spans that belong to no run."""
        while ids := self._some_ids(SPANS, where):
            with self._deletion():
                self._delete_rows(SPANS, ids)

    def _some_ids(self, table: Table[Any], where: Where) -> list[int]:
        """Return the ids of a batch of rows."""
        return [
            ident
            for (ident,) in self._store.select_columns(table, ("id",), where, self._steps.batch)
        ]

    def _delete_rows(self, table: Table[Any], ids: list[int]) -> None:
        """Delete spans, or events or model calls, which are added to the totals."""
        if not ids:
            return
        where = (Filter("id", "in", tuple(ids)),)
        if table is SPANS:
            self._report.spans += self._store.delete(table, where)
            return
        if table is EVENTS:
            self._totals.add_events(where)
        else:
            self._totals.add_calls(where)
            self._totals.add_calls_of_runs(where)
        self._indexing.forget(table, ids)
        self._count_deleted(table, self._store.delete(table, where))

    def _count_deleted(self, table: Table[Any], deleted: int) -> None:
        if table is EVENTS:
            self._report.events += deleted
        else:
            self._report.usage += deleted


def runs_of_sessions(store: Store, sessions: Collection[str]) -> dict[str, int]:
    """Return how many runs each of the sessions has; those without a run are left out."""
    where = (Filter("session_id", "in", tuple(sessions)),)
    return dict(store.aggregate(RUNS, (COUNT,), where, group_by=("session_id",)))
