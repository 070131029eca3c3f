"""Delete in a replica what was deleted in its source, and words that were removed there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from curio_persistence.backends.clickhouse.sink import Noted, Sink
from curio_persistence.replication.changing import Changing
from curio_persistence.replication.feeds import Feed
from curio_persistence.replication.lines import Lines
from curio_persistence.replication.rows import BY_NAME, ids_with, rows_with, stored_of
from curio_persistence.store.base import Store
from curio_persistence.store.change_feed import Watermark
from curio_persistence.store.table import Table
from curio_persistence.tables import (
    AGENTS,
    APPROVALS,
    AUDIT_LOG,
    EXPIRED_TOTALS,
    RUNS,
    SCORES,
    SESSIONS,
    SNAPSHOTS,
    SOURCES,
    SPANS,
    TABLES_OF_RUNS,
    TOMBSTONES,
    USAGE,
)
from curio_persistence.tables.columns import object_in

_SINGLY = (
    SCORES,
    APPROVALS,
    SNAPSHOTS,
    SPANS,
    SOURCES,
    SESSIONS,
    AGENTS,
    TOMBSTONES,
    EXPIRED_TOTALS,
)
"""The tables of which single rows may be deleted, besides runs."""
_PRICE = ("cost_usd", "price_version")


class Deleting:
    """Follows deletions, all since the last time together: each takes ClickHouse seconds."""

    def __init__(
        self, store: Store, sink: Sink, feeds: Mapping[str, Feed], changing: Changing
    ) -> None:
        self._store = store
        self._sink = sink
        self._feeds = feeds
        self._changing = changing
        self._stones = Lines(store, sink, TOMBSTONES)
        self._deeds = Lines(store, sink, AUDIT_LOG)
        self.runs = 0
        """The runs whose deletion was followed."""

    def begin(self) -> dict[str, Noted]:
        """Return the positions to be noted before the first row is sent."""
        return {**self._stones.begin(), **self._deeds.begin()}

    def follow(self) -> None:
        """Delete what is gone."""
        marks = {table.name: self._feeds[table.name].mark for table in (RUNS, *_SINGLY)}
        for stones in self._stones.read():
            self._bury({stone["run_id"] for stone in stones})
            self._feeds[EXPIRED_TOTALS.name].start_again()
        for deeds in self._deeds.read():
            self._follow_deeds(deeds)
        for name in self._changing.differs(marks):
            self._compare(name, marks[name])

    def _compare(self, name: str, passed: Watermark, *columns: str) -> None:
        """Make the rows of a table those that the source has."""
        table = BY_NAME[name]
        differing = self._changing.differing(table, passed, *columns)
        if name == RUNS.name:  # Some went without a tombstone, and with what belonged to them.
            found = self._sink.rows_with(table, ("run_id",), "id", differing)
            self._bury({run_id for (run_id,) in found})
        self._changing.replace(table, differing)

    # --- runs ---------------------------------------------------------------------------------

    def _bury(self, run_ids: Collection[str]) -> None:
        """Delete runs. Those that were stored again since then have new rows, which stay."""
        found = rows_with(self._store, RUNS, ("run_id",), "run_id", sorted(run_ids))
        again = {run_id for (run_id,) in found}
        dead = sorted({*run_ids} - again)
        for table in TABLES_OF_RUNS:
            self._bury_rows(BY_NAME[table.name], dead)
            self._delete_former_rows(BY_NAME[table.name], sorted(again))
        children = self._sink.ids_with(RUNS, "parent_run_id", dead)
        self._changing.replace(BY_NAME[RUNS.name], children)
        self.runs += len(dead)

    def _bury_rows(self, table: Table[Any], dead: list[str]) -> None:
        """Delete the rows of deleted runs; those that are stored still are so without the run."""
        here = self._sink.ids_with(table, "run_id", dead)
        stored = stored_of(self._store, table, here)
        self._changing.replace(table, stored)
        if here - stored:
            self._sink.delete_with(table, "run_id", dead)

    def _delete_former_rows(self, table: Table[Any], run_ids: list[str]) -> None:
        """Delete the rows that belong to the former runs of these ids."""
        here = self._sink.ids_with(table, "run_id", run_ids)
        self._changing.replace(table, here - ids_with(self._store, table, "run_id", run_ids))

    def _passed(self, name: str) -> Watermark:
        return self._feeds[name].mark

    # --- deeds --------------------------------------------------------------------------------

    def _follow_deeds(self, deeds: list[dict[str, Any]]) -> None:
        """Follow what the audit log tells, besides deletions of runs."""
        stripped = defaultdict[str, set[str]](set)
        actions = {deed["action"] for deed in deeds}
        for deed in deeds:
            if deed["action"] == "redact" and deed["run_id"] is not None:
                stripped[str(object_in(deed["metadata"]).get("table"))].add(deed["run_id"])
        for name in BY_NAME.keys() & stripped.keys():  # Programs may add lines of any kind.
            run_ids = stripped[name]
            ids = ids_with(self._store, BY_NAME[name], "run_id", sorted(run_ids))
            self._changing.replace(BY_NAME[name], [*filter(self._passed(name).has_passed, ids)])
        if "reprice" in actions:
            self._compare(USAGE.name, self._passed(USAGE.name), *_PRICE)
        if any("expir" in action for action in actions):
            self._compare(USAGE.name, self._passed(USAGE.name))
            self._feeds[EXPIRED_TOTALS.name].start_again()
