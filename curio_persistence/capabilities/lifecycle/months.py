"""Empties partitions whose runs have all expired, which returns their space to the disk at once."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from datetime import datetime, timedelta

from curio_persistence.capabilities.lifecycle.expiring import Expiry
from curio_persistence.capabilities.lifecycle.trees import Forest
from curio_persistence.errors import AccessDeniedError, BusyError
from curio_persistence.store.base import Partition, Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Select
from curio_persistence.store.table import StoredValue
from curio_persistence.tables import EVENTS, RUNS, USAGE

_MARGIN = timedelta(hours=1)
"""The difference that clocks of programs may have."""


class Months:
    """The partitions of events and model calls, which are emptied before trees are deleted.

    If others use a partition all the time, or change its runs, its rows are deleted with their
    runs, as everywhere else.
    """

    def __init__(self, store: Store, now: datetime, forest: Forest, expiry: Expiry) -> None:
        self._store = store
        self._forest = forest
        self._expiry = expiry
        self._lately = encode_time(now - _MARGIN)

    def empty(self) -> None:
        """Empty the partitions in which nothing is kept, and drop the oldest of them."""
        if self._forest.cutoff is None:
            return
        cutoff = encode_time(self._forest.cutoff)
        for table in (EVENTS, USAGE):
            for part in self._store.partitions(table, cutoff):
                with suppress(BusyError, AccessDeniedError):
                    self._empty_if_expired(part)
        with suppress(BusyError, AccessDeniedError):
            self._store.drop_empty_partitions(cutoff)

    def _empty_if_expired(self, part: Partition) -> None:
        run_ids = self._store.runs_of_partition(part)
        named = [str(run_id) for run_id in run_ids if run_id is not None]
        if run_ids and self._loose_calls_expire(part, run_ids) and self._forest.takes(named):
            self._expiry.empty(part, named, lambda: self._is_unchanged(part))

    def _loose_calls_expire(self, part: Partition, run_ids: Collection[StoredValue]) -> bool:
        if None not in run_ids:
            return True
        loose = (*part.where, Filter("run_id", "is null"))
        agents = self._store.aggregate(part.table, (), loose, group_by=("agent_id",))
        cutoffs = [self._forest.cutoff_of_calls(agent_id) for (agent_id,) in agents]
        return all(cutoff is not None and cutoff >= part.end for cutoff in cutoffs)

    def _is_unchanged(self, part: Partition) -> bool:
        """Return whether nothing has changed lately that could keep some of the rows."""
        runs = Select(part.table, "run_id", (*part.where, Filter("run_id", "is not null")))
        changed = (Filter("updated_at", ">=", self._lately),)
        return (
            self._forest.holds_are_the_same()
            and not self._store.count(RUNS, (*changed, Filter("run_id", "in", runs)))
            and not self._store.count(RUNS, (*changed, Filter("parent_run_id", "in", runs)))
            # Long texts that other rows share go one by one.
            and not self._store.count(
                part.table, (*part.where, Filter("content_scope", "is not null"))
            )
        )
