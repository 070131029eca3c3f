"""Copies runs to an archive, and keeps them here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from curio_persistence.archive.archiver import Archiver
from curio_persistence.capabilities.lifecycle import EXPIRING, ExpireReport, RetentionPolicy
from curio_persistence.capabilities.lifecycle.settings import Settings
from curio_persistence.capabilities.lifecycle.sizes import Sizes
from curio_persistence.capabilities.lifecycle.trees import Forest, Holds, Tree, counted
from curio_persistence.persistence import Persistence
from curio_persistence.progress import Progress
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Where

_ROWS = 100_000
"""About how many rows are copied together."""
_NO_HOLDS = Holds(frozenset(), frozenset())


def copy_trees(
    persistence: Persistence,
    archiver: Archiver,
    policies: list[RetentionPolicy],
    where: Where,
    *,
    dry_run: bool,
    progress: Progress | None,
) -> ExpireReport:
    """Copy the trees that the policies would delete, holds or not, whose first run passes filters.

    What is in the archive as it is stored here is left out, and not counted.
    """
    store, settings = persistence._store, Settings(persistence._store, persistence.clock)
    forest = Forest(store, persistence.clock.now(), policies, lambda: _NO_HOLDS, Sizes(store))
    report = ExpireReport(dry_run, forest.cutoff, kept=True)
    if dry_run:
        for trees in _groups(store, forest.expired(where)):
            _count(store, archiver.missing(trees), report, progress)
        return report
    with settings.lease(EXPIRING) as lease:
        archiver.unfinished()
        archiver.done()
        for trees in _groups(store, forest.expired(where)):
            lease.keep()
            new = archiver.store(trees, lease)
            archiver.done()
            _count(store, new, report, progress)
    report.unfinished = forest.unfinished
    return report


def _groups(store: Store, trees: Iterator[Tree]) -> Iterator[list[Tree]]:
    """Yield trees, some at a time."""
    group: list[Tree] = []
    rows = 0
    for tree, counts in counted(store, trees):
        group.append(tree)
        rows += sum(counts.values()) + len(tree.runs)
        if rows >= _ROWS:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _count(
    store: Store, trees: Iterable[Tree], report: ExpireReport, progress: Progress | None
) -> None:
    for tree, rows in counted(store, trees):
        report.trees += 1
        report.runs += len(tree.runs)
        report.count(rows)
    if progress is not None:
        progress(report.runs, None)
